"""Refusals: JSON before anything begins, in the form that each kind of client can take."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from asgi_forum.errors import (
    ConfigurationError,
    Forbidden,
    ForumError,
    InvalidEvent,
    MethodNotAllowed,
    ShuttingDown,
    SourceUnavailable,
    TooManyConnections,
    Unauthorized,
)
from asgi_forum.streams.refusals import (
    answer_json,
    error_body,
    error_response,
    refuse_http,
    refuse_sse,
    refuse_websocket,
    retry_line,
)

pytestmark = pytest.mark.anyio

ERRORS: list[ForumError] = [
    Unauthorized(),
    Forbidden(),
    MethodNotAllowed("PUT", ["GET"]),
    InvalidEvent([{"loc": [0], "msg": "x"}]),
    TooManyConnections("full"),
    SourceUnavailable(outcome="unknown", event_ids=["a"]),
    ShuttingDown(),
]
WILL_PASS = ERRORS[-3:]


class Wire:
    """What an application sent, as an HTTP answer."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.messages: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:
        """Keep a message."""
        self.messages.append(message)

    async def receive(self) -> dict[str, Any]:
        """Say that a WebSocket wants to open."""
        return {"type": "websocket.connect"}

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        """The answer's body."""
        return b"".join(message.get("body", b"") for message in self.messages[1:])


def scope(method: str = "GET", accept: bytes = b"*/*", **others: Any) -> dict[str, Any]:
    """A request."""
    return {"type": "http", "method": method, "headers": [(b"accept", accept)], **others}


@pytest.mark.parametrize("error", ERRORS)
async def test_a_refusal_is_json_with_a_code(error: ForumError) -> None:
    """With its status, its headers, what programs need, and no leave to keep it."""
    wire = Wire()
    await refuse_http(scope(), wire.send, error)
    assert wire.status == error.status
    assert json.loads(wire.body) == {"error": {"code": error.code, "message": error.message, **error.extra()}}
    assert wire.headers["content-type"] == "application/json"
    assert wire.headers["content-length"] == str(len(wire.body))
    assert wire.headers["cache-control"] == "no-store, no-transform"
    assert error.headers().items() <= wire.headers.items()


@pytest.mark.parametrize("answer", ["json", "sse"])
async def test_head_gets_the_headers_alone(answer: str) -> None:
    """The same ones, and no body."""
    get, head = Wire(), Wire()
    for wire, method in ((get, "GET"), (head, "HEAD")):
        if answer == "json":
            await answer_json(scope(method), wire.send, b"{}")
        else:
            await refuse_sse(scope(method, b"text/event-stream"), wire.send, TooManyConnections("full"))
    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")
    assert get.body


@pytest.mark.parametrize("error", WILL_PASS)
async def test_an_event_source_is_told_to_come_back(error: ForumError) -> None:
    """A browser gives up for ever on anything but a 200: so it gets one, with `retry:`, `forum.error`, and the end."""
    wire = Wire()
    await refuse_sse(scope(accept=b"Text/Event-Stream, */*"), wire.send, error)
    retry, event, data = wire.body.decode().strip().replace("\n\n", "\n").split("\n")
    assert (wire.status, event) == (200, "event: forum.error")
    assert (
        int(error.headers()["retry-after"]) * 1000
        <= int(retry.removeprefix("retry: "))
        <= int(error.headers()["retry-after"]) * 3000
    )
    assert json.loads(data.removeprefix("data: ")) == {
        "type": "forum.error",
        "code": error.code,
        "message": error.message,
    }
    assert wire.headers["content-type"].startswith("text/event-stream")
    assert wire.headers["retry-after"] == error.headers()["retry-after"]
    assert not wire.messages[-1].get("more_body")


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("accept", [b"*/*", b"application/json"])
async def test_others_are_refused_plainly(error: ForumError, accept: bytes) -> None:
    """A program that did not ask for an event stream gets the status itself."""
    wire = Wire()
    await refuse_sse(scope(accept=accept), wire.send, error)
    assert wire.status == error.status


@pytest.mark.parametrize("error", ERRORS[:-3])
async def test_what_will_not_pass_is_refused_plainly(error: ForumError) -> None:
    """400, 401 and 403 stay what they are, for an EventSource too: coming back would change nothing."""
    wire = Wire()
    await refuse_sse(scope(accept=b"text/event-stream"), wire.send, error)
    assert wire.status == error.status


@pytest.mark.parametrize("error", ERRORS)
async def test_an_upgrade_is_refused_over_http_where_the_server_can(error: ForumError) -> None:
    """By the extension of ASGI, with all that an HTTP answer has."""
    wire = Wire()
    await refuse_websocket(
        {"type": "websocket", "extensions": {"websocket.http.response": {}}}, wire.receive, wire.send, error
    )
    assert [message["type"] for message in wire.messages] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert wire.status == error.status
    assert wire.body == error_body(error)
    assert error.headers().items() <= wire.headers.items()


@pytest.mark.parametrize("extensions", [None, {}, {"tls": {}}])
@pytest.mark.parametrize("error", ERRORS)
async def test_an_upgrade_is_closed_where_the_server_can_not(
    error: ForumError, extensions: dict[str, Any] | None
) -> None:
    """1013 for what will pass by itself, 1008 for the rest; the reason is the code."""
    wire = Wire()
    await refuse_websocket({"type": "websocket", "extensions": extensions}, wire.receive, wire.send, error)
    (message,) = wire.messages
    assert message["type"] == "websocket.close"
    assert message["code"] == (1013 if isinstance(error, TooManyConnections | SourceUnavailable) else 1008)
    assert message["reason"] == error.code


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}])
@pytest.mark.parametrize("sent", [0, 1])
async def test_an_upgrade_that_is_over_is_refused_no_more(extensions: dict[str, Any], sent: int) -> None:
    """A server that stops answers it by itself, and then has an error of its own for who answers too."""
    wire = Wire()

    async def send(message: Any) -> None:
        if len(wire.messages) == sent:
            raise RuntimeError("the connection is closed")
        await wire.send(message)

    await refuse_websocket({"type": "websocket", "extensions": extensions}, wire.receive, send, ShuttingDown())
    assert len(wire.messages) == sent


@pytest.mark.parametrize("least", [1.0, 5.0])
def test_clients_come_back_at_different_times(least: float) -> None:
    """At least so many seconds, at most three times that, and hardly two the same."""
    delays = [int(retry_line(least).decode().removeprefix("retry: ")) for _ in range(200)]
    assert least * 1000 <= min(delays)
    assert max(delays) <= least * 3000
    assert len(set(delays)) > 100


@pytest.mark.parametrize("error", ERRORS)
async def test_a_route_of_the_hosts_own_refuses_the_same(error: ForumError) -> None:
    """Status, headers and body are those of the forum's own addresses."""
    own, wire = Wire(), Wire()
    await error_response(HTTPConnection(scope()), error)(scope(), own.receive, own.send)
    await refuse_http(scope(), wire.send, error)
    assert (own.status, own.headers, own.body) == (wire.status, wire.headers, wire.body)


@pytest.mark.parametrize("error", [ConfigurationError("off"), ValueError("a bug")])
async def test_what_is_no_refusal_is_raised_again(error: Exception) -> None:
    """A client is not told of it, and the host's log is."""
    with pytest.raises(type(error)):
        error_response(HTTPConnection(scope()), error)
