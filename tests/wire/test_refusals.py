"""Section 8: what is refused, how, and before any stream begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from websockets.exceptions import InvalidStatus

from asgi_forum import Limits
from tests.wire.conftest import OpenBoard
from tests.wire.exchange import Exchange
from tests.wire.host import Board
from tests.wire.readers import open_websocket

DRAFT = {"event_type": "forum.post.added", "ticket": "T-1"}


def error_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The error of an answer, which has the form of a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    assert "no-store" in answer.headers["cache-control"]
    document = answer.json()
    assert document.keys() == {"error"}
    error: dict[str, Any] = document["error"]
    assert error["code"] == code
    assert isinstance(error["message"], str)
    assert error["message"]
    assert "Traceback" not in error["message"]
    return error


@pytest.mark.parametrize("path", ["/events", "/stream"])
@pytest.mark.parametrize(
    ("query", "code", "parts"),
    [
        ("cursor=none", "invalid_cursor", ["cursor", "none", "latest"]),
        ("tail=many", "invalid_tail", ["tail", "many", "1000"]),
        ("tail=1&cursor=0", "invalid_tail", ["tail", "cursor"]),
        ("limit=none", "invalid_limit", ["limit", "none", "1000"]),
        ("ticket=", "invalid_filter", ["ticket"]),
        ("run_id=%20", "invalid_filter", ["run_id"]),
        ("thread_id=a&thread_id=", "invalid_filter", ["thread_id"]),
        ("type=", "invalid_filter", ["type"]),
        ("limit=0&limit=5", "invalid_limit", ["limit"]),
    ],
)
def test_a_parameter_that_is_off_is_named(
    shared_board: Board, path: str, query: str, code: str, parts: list[str]
) -> None:
    """400; the message names the parameter, what it got and what it takes."""
    message = error_of(shared_board.host.http.get(f"{shared_board.url}{path}?{query}"), 400, code)["message"]
    for part in parts:
        assert part in message


def test_a_message_never_repeats_much_of_what_it_got(shared_board: Board) -> None:
    """A megabyte of nonsense is not sent back, nor are its control characters."""
    message = error_of(shared_board.get(cursor="x\n" * 2000), 400, "invalid_cursor")["message"]
    assert len(message) < 500
    assert "\n" not in message


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/events/1", "/stream/x/y", "/EVENTS", "/event", "/eventss", "//events"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_other_addresses_are_not_found(shared_board: Board, path: str, method: str) -> None:
    """404 as JSON, for every method."""
    answer = shared_board.host.http.request(method, shared_board.url + path)
    if method == "HEAD":
        assert answer.status_code == 404
    else:
        error_of(answer, 404, "not_found")


@pytest.mark.parametrize(
    ("path", "methods", "allowed"),
    [
        ("/stream", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"], {"GET", "HEAD"}),
        ("/events", ["PUT", "PATCH", "DELETE", "OPTIONS"], {"GET", "HEAD", "POST"}),
        ("/health", ["POST", "PUT", "DELETE"], {"GET", "HEAD"}),
    ],
)
def test_other_methods_are_not_allowed(shared_board: Board, path: str, methods: list[str], allowed: set[str]) -> None:
    """405 with `Allow`, which lists what the address takes."""
    for method in methods:
        answer = shared_board.host.http.request(method, shared_board.url + path)
        error_of(answer, 405, "method_not_allowed")
        assert {name.strip() for name in answer.headers["allow"].split(",")} == allowed


def test_a_socket_takes_no_plain_request(shared_board: Board) -> None:
    """`socket` is for WebSockets only: a GET gets a clear refusal, not a hang."""
    answer = shared_board.get("/socket")
    assert answer.status_code in (404, 405, 426)
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/events/", "/health/", "/stream/"])
def test_a_trailing_slash_is_the_same_address(shared_board: Board, path: str) -> None:
    """Some frameworks add one: there is no redirect, which would lose the mount."""
    answer = Exchange(shared_board.url + path)
    assert answer.status == 200
    answer.close()


@pytest.mark.parametrize("path", ["/stream/", "/socket/"])
def test_a_trailing_slash_is_the_same_address_for_websockets(shared_board: Board, path: str) -> None:
    """Upgrades find it too."""
    open_websocket(shared_board.url + path).close()


def upgrade(board: Board, address: str, headers: Mapping[str, str]) -> tuple[int, str | None]:
    """Try to open a WebSocket; return the status of the answer and the code of a refusal."""
    try:
        open_websocket(f"{board.url}/{address}", list(headers.items())).close()
    except InvalidStatus as refusal:
        return refusal.response.status_code, json.loads(refusal.response.body or b"{}")["error"]["code"]
    return 101, None


def post(board: Board, headers: Mapping[str, str]) -> tuple[int, str | None]:
    """Publish with these headers; return the status and the code of a refusal."""
    answer = board.post(DRAFT, headers)
    return answer.status_code, answer.json().get("error", {}).get("code")


def host_of(board: Board) -> str:
    """The host and port that clients write into `Host`."""
    return board.url.split("/")[2]


FOREIGN = [
    "http://example.com",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "https://evil.{host}",
    "http://{host}.evil",
    "null",
    "",
    "{host}",
    "http://",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_origin_is_refused(shared_board: Board, origin: str) -> None:
    """Another host, another port, `null` and nonsense: 403 for upgrades and for POST."""
    headers = {"Origin": origin.format(host=host_of(shared_board))}
    assert upgrade(shared_board, "stream", headers) == (403, "origin_not_allowed")
    assert upgrade(shared_board, "socket", headers) == (403, "origin_not_allowed")
    assert post(shared_board, headers) == (403, "origin_not_allowed")


@pytest.mark.parametrize("origin", ["http://{host}", "https://{host}", "HTTP://{host}", None])
def test_a_page_of_the_same_host_passes(shared_board: Board, origin: str | None) -> None:
    """The scheme is ignored, for TLS mostly ends at a proxy; a program sends no Origin."""
    headers = {} if origin is None else {"Origin": origin.format(host=host_of(shared_board))}
    assert upgrade(shared_board, "stream", headers)[0] == 101
    assert upgrade(shared_board, "socket", headers)[0] == 101
    assert post(shared_board, headers)[0] == 201


def test_the_host_counts_as_it_was_written(shared_board: Board) -> None:
    """Behind a proxy that passes `Host` on, the public name is what Origin is held against."""
    good = {"Host": "forum.example:8443", "Origin": "https://forum.example:8443"}
    assert post(shared_board, good)[0] == 201
    for origin in ("https://forum.example", "https://forum.example:8444", f"http://{host_of(shared_board)}"):
        assert post(shared_board, {**good, "Origin": origin})[0] == 403
    assert post(shared_board, {"Host": "forum.example", "Origin": "https://forum.example"})[0] == 201


@pytest.mark.parametrize("path", ["/events", "/health"])
def test_reading_over_http_is_the_matter_of_cors(shared_board: Board, path: str) -> None:
    """A GET with another Origin is answered: whether a page may see it, the host's CORS headers say."""
    assert shared_board.get(path, headers={"Origin": "http://example.com"}).status_code == 200


def test_an_event_stream_of_another_origin_is_the_matter_of_cors(shared_board: Board) -> None:
    """So it is with SSE."""
    shared_board.live("sse")
    answer = Exchange(f"{shared_board.url}/stream", headers=[("Origin", "http://example.com")])
    assert answer.status == 200
    answer.close()


def test_an_allowed_origin_passes(open_board: OpenBoard) -> None:
    """Those that the app lists pass, and no others."""
    board = open_board(allow_publish=True, allowed_origins=["https://app.example", "http://localhost:3000"])
    for origin in ("https://app.example", "http://localhost:3000", f"http://{host_of(board)}"):
        assert upgrade(board, "stream", {"Origin": origin})[0] == 101
        assert post(board, {"Origin": origin})[0] == 201
    for origin in ("http://localhost", "http://localhost:3001", "https://app.example.evil", "null"):
        assert upgrade(board, "stream", {"Origin": origin})[0] == 403
        assert post(board, {"Origin": origin})[0] == 403


def test_too_many_connections(open_board: OpenBoard) -> None:
    """429 with Retry-After for the one over the limit; pages still answer."""
    board = open_board(limits=Limits(streams=2))
    board.live("sse")
    board.live("websocket")
    answer = board.get("/stream")
    error_of(answer, 429, "too_many_connections")
    assert int(answer.headers["retry-after"]) >= 1
    assert board.get().status_code == 200


def test_too_many_connections_of_one_address(open_board: OpenBoard) -> None:
    """Where the app wants it, each client address has a limit of its own."""
    board = open_board(limits=Limits(streams_per_address=1))
    reader = board.live("sse")
    error_of(board.get("/stream"), 429, "too_many_connections")
    reader.close()
    board.wait_for_streams(sse=0)
    board.live("sse")


@pytest.mark.parametrize(("method", "path"), [("GET", "/stream"), ("GET", "/events"), ("POST", "/events")])
def test_a_stopping_forum_refuses(open_board: OpenBoard, method: str, path: str) -> None:
    """503 with Retry-After: another process, or this one in a moment, goes on."""
    board = open_board(allow_publish=True)
    board.fill(1)
    board.host.run(board.forum.aclose())
    answer = board.host.http.request(method, board.url + path, json=DRAFT if method == "POST" else None)
    error_of(answer, 503, "shutting_down")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("path", ["/events?cursor=x", "/nothing", "/events?limit=0"])
def test_a_refused_head_has_no_body(shared_board: Board, path: str) -> None:
    """HEAD is refused by its status alone."""
    answer = Exchange(shared_board.url + path, method="HEAD")
    assert answer.status in (400, 404)
    assert answer.rest(0.05) == b""
    answer.close()
