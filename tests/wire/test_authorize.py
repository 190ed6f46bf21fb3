"""Section 8, the app's own authorization: who may read what, and for how long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from starlette.requests import HTTPConnection
from websockets.exceptions import InvalidStatus

from asgi_forum import Forum, ForumError, ForumEvent, Subscription
from asgi_forum.errors import ConfigurationError, Forbidden, Unauthorized
from tests.wire.conftest import OpenBoard
from tests.wire.exchange import DEADLINE, Exchange
from tests.wire.host import Board
from tests.wire.readers import TRANSPORTS, Reader, SseReader, Transport, open_websocket, receive_json


async def by_token(connection: HTTPConnection, subscription: Subscription) -> Subscription | bool:
    """The rule of these tests: the token says who it is, and what that one may see."""
    token = connection.headers.get("x-token", connection.query_params.get("token", ""))
    if not token:
        raise Unauthorized("who are you?")
    if token == "root":
        return True
    if token == "brief":
        return Subscription(subscription.filter, expires_at=time.time() + 0.6)
    if token == "over":
        return Subscription(subscription.filter, expires_at=time.time() - 1)
    if token.startswith("only:"):
        return subscription.narrow(ticket=token.removeprefix("only:").split(","))
    if token == "nothing":
        return subscription.narrow(ticket=[])
    return False


def may_publish(connection: HTTPConnection, events: Sequence[ForumEvent]) -> bool:
    """The rule of these tests for publishing: a writer writes to its own ticket."""
    token = connection.headers.get("x-token", "")
    if not token:
        raise Unauthorized
    return all(token == f"writer:{event.ticket}" for event in events)


@pytest.fixture
def guarded(open_board: OpenBoard) -> Board:
    """A forum with these rules, and an event each of four tickets."""
    board = open_board(authorize=by_token, allow_publish=True, authorize_publish=may_publish)
    board.publish({"ticket": "A"}, {"ticket": "B"}, {"ticket": "a"}, {"ticket": "C"}, {"ticket": "A", "run_id": "r"})
    return board


def open_as(board: Board, transport: Transport, token: str, **params: Any) -> Reader:
    """Open a stream with a token."""
    return board.open(transport, headers=[("X-Token", token)], **params)


REFUSED = [("", 401, "unauthorized"), ("over", 401, "unauthorized"), ("other", 403, "forbidden")]


@pytest.mark.parametrize(("token", "status", "code"), REFUSED)
@pytest.mark.parametrize("path", ["/events", "/stream", "/events?wait=1"])
def test_the_app_may_refuse(guarded: Board, path: str, token: str, status: int, code: str) -> None:
    """Before anything is sent: 401 and 403 as JSON, for a browser's event stream as well."""
    for accept in ("*/*", "text/event-stream"):
        answer = guarded.host.http.get(guarded.url + path, headers={"X-Token": token, "Accept": accept})
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == code
        assert answer.json()["error"]["message"]


def test_the_message_of_a_refusal_is_the_apps(guarded: Board) -> None:
    """What the app says reaches the client."""
    assert "who are you?" in guarded.get().json()["error"]["message"]


@pytest.mark.parametrize(("token", "status", "code"), REFUSED)
def test_an_upgrade_may_be_refused(guarded: Board, token: str, status: int, code: str) -> None:
    """A refusal comes instead of the upgrade, as plain HTTP."""
    with pytest.raises(InvalidStatus) as refusal:
        open_websocket(f"{guarded.url}/stream", [("X-Token", token)])
    assert refusal.value.response.status_code == status
    assert json.loads(refusal.value.response.body or b"{}")["error"]["code"] == code


@pytest.mark.parametrize(
    ("token", "params", "expected"),
    [
        ("root", {}, [1, 2, 3, 4, 5]),
        ("only:A", {}, [1, 5]),
        ("only:A,C", {}, [1, 4, 5]),
        ("only:a", {}, [3]),
        ("only:A", {"ticket": "a"}, [1, 5]),
        ("only:A", {"ticket": ["B", "C"]}, []),
        ("only:A", {"run_id": "R"}, [5]),
        ("nothing", {}, []),
        ("nothing", {"ticket": "A"}, []),
    ],
)
def test_the_app_may_narrow(guarded: Board, token: str, params: dict[str, Any], expected: list[int]) -> None:
    """What is allowed is compared exactly, whatever the client asks for, on pages and all streams, past and present."""
    headers = {"X-Token": token}
    page = guarded.get(headers=headers, **params).json()
    assert [event["sequence"] for event in page["events"]] == expected
    tail = guarded.get(headers=headers, tail=100, **params).json()
    assert [event["sequence"] for event in tail["events"]] == expected
    for transport in TRANSPORTS:
        past = open_as(guarded, transport, token, cursor="earliest", **params)
        past.until("forum.live")
        assert [event["sequence"] for event in past.events] == expected


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_live_events_are_narrowed_too(guarded: Board, transport: Transport) -> None:
    """Readers of one filter with different rights share nothing that one of them must not see."""
    tokens = {"only:A": ["A"], "only:a": ["a"], "only:A,B": ["A", "B"], "root": ["A", "B", "a", "C"]}
    readers = {token: open_as(guarded, transport, token) for token in tokens}
    for reader in readers.values():
        reader.until("forum.live")
    drafts = [{"ticket": ticket} for ticket in "BaCA"] * 5
    guarded.publish(*drafts, {"ticket": "A"})
    for token, allowed in tokens.items():
        expected = [draft["ticket"] for draft in [*drafts, {"ticket": "A"}] if draft["ticket"] in allowed]
        assert [event["envelope"]["ticket"] for event in readers[token].take(len(expected))] == expected


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cursor_gives_no_rights(guarded: Board, transport: Transport) -> None:
    """A replay is authorized as everything is: another's cursor shows nothing of what the other may see."""
    cursor = guarded.get(headers={"X-Token": "root"}, limit=1).json()["next_cursor"]
    reader = open_as(guarded, transport, "only:C", cursor=cursor)
    reader.until("forum.live")
    assert [event["sequence"] for event in reader.events] == [4]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_authorization_expires(guarded: Board, transport: Transport) -> None:
    """At its time the stream ends, with an error that says so, and 1008 on a WebSocket; of a socket only the subscription."""
    began = time.monotonic()
    reader = open_as(guarded, transport, "brief", cursor="earliest")
    reader.until("forum.live")
    assert len(reader.events) == 5
    if transport == "socket":
        ended = reader.until("unsubscribed")
        assert ended["code"]
        assert time.monotonic() - began < 4
        return
    end = reader.to_the_end()
    assert 0.4 < time.monotonic() - began < 4
    assert end.code == (1008 if transport == "websocket" else None)
    assert reader.frames[-1]["type"] == "forum.error"
    assert "next_cursor" not in reader.frames[-1]


def test_a_subscription_that_expired_leaves_its_connection(guarded: Board) -> None:
    """The connection, its other subscriptions and the id itself go on."""
    with open_websocket(f"{guarded.url}/socket?token=brief") as connection:
        connection.send(json.dumps({"type": "subscribe", "id": "a"}))
        frames = [receive_json(connection)]
        while frames[-1]["type"] != "unsubscribed":
            frames.append(receive_json(connection))
        assert frames[-1]["id"] == "a"
        guarded.publish({"ticket": "A"})
        connection.send(json.dumps({"type": "subscribe", "id": "a", "cursor": 5}))
        assert receive_json(connection)["type"] == "subscribed"
        assert receive_json(connection)["events"][0]["sequence"] == 6


@pytest.mark.parametrize("token", ["", "other"])
def test_a_subscription_of_a_socket_may_be_refused(guarded: Board, token: str) -> None:
    """The answer names the subscription, and the connection stays."""
    with open_websocket(f"{guarded.url}/socket", [("X-Token", token)]) as connection:
        connection.send(json.dumps({"type": "subscribe", "id": "a", "cursor": "earliest"}))
        answer = receive_json(connection)
        assert (answer["type"], answer["id"]) == ("forum.error", "a")
        assert answer["code"] == ("forbidden" if token else "unauthorized")
        connection.send(json.dumps({"type": "ping"}))
        assert receive_json(connection)["type"] == "pong"


def test_each_subscription_of_a_socket_is_narrowed(guarded: Board) -> None:
    """Each is asked for, and gets what its connection may see."""
    with open_websocket(f"{guarded.url}/socket", [("X-Token", "only:A")]) as connection:
        for name, ticket in (("a", "a"), ("b", "B")):
            connection.send(json.dumps({"type": "subscribe", "id": name, "ticket": ticket, "cursor": "earliest"}))
        frames: list[Any] = []
        while sum(frame["type"] == "forum.live" for frame in frames) < 2:
            frames.append(receive_json(connection))
    found = [(frame["id"], event["sequence"]) for frame in frames for event in frame.get("events", ())]
    assert found == [("a", 1), ("a", 5)]


def broken(connection: HTTPConnection, subscription: Subscription) -> bool:
    """A rule with a bug."""
    raise ZeroDivisionError("secret")


@pytest.mark.parametrize("path", ["/events", "/stream"])
def test_a_rule_that_fails_allows_nothing(open_board: OpenBoard, path: str) -> None:
    """A bug in the app's rule shows no event, nor what the bug was; the health stays with those who may see it."""
    board = open_board(authorize=broken)
    board.fill(1)
    answer = board.get(path, cursor="earliest")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "T-1" not in answer.text


@pytest.mark.parametrize(
    ("token", "tickets", "status"),
    [
        ("writer:A", ["A"], 201),
        ("writer:A", ["A", "A"], 201),
        ("writer:A", ["B"], 403),
        ("writer:A", ["A", "B"], 403),
        ("", ["A"], 401),
    ],
)
def test_publishing_is_authorized(guarded: Board, token: str, tickets: list[str], status: int) -> None:
    """The app sees all events of a request, and allows or refuses them together."""
    drafts = [{"event_type": "forum.post.added", "ticket": ticket} for ticket in tickets]
    answer = guarded.post(drafts, {"X-Token": token})
    assert answer.status_code == status
    count = len(guarded.get(headers={"X-Token": "root"}).json()["events"])
    assert count == 5 + (len(tickets) if status == 201 else 0)


def test_publishing_without_its_rule_is_refused_at_the_start() -> None:
    """A forum with a rule for readers and none for writers would let everybody write: it does not start."""
    with pytest.raises(ConfigurationError):
        Forum("memory://", authorize=by_token, allow_publish=True)


@pytest.mark.parametrize(("token", "whole"), [("root", True), ("", False), ("other", False)])
def test_health_shows_its_status_only_to_those_without_rights(guarded: Board, token: str, whole: bool) -> None:
    """200 and the status for everybody, the rest for those who may read."""
    answer = guarded.get("/health", headers={"X-Token": token})
    assert answer.status_code == 200
    health = answer.json()
    assert health["status"] == "ok"
    assert (health.keys() > {"source", "streams", "cursor"}) is whole
    assert (health.keys() == {"status"}) is not whole


def test_a_stream_is_not_begun_before_it_is_authorized(guarded: Board) -> None:
    """A refused stream has the status of the refusal, and nothing of a stream."""
    answer = Exchange(f"{guarded.url}/stream", headers=[("X-Token", "other"), ("Accept", "text/event-stream")])
    assert answer.status == 403
    assert b"retry:" not in answer.read_all(DEADLINE)
    answer.close()


def test_identity_may_be_attached(open_board: OpenBoard) -> None:
    """A rule may answer with who it is; the stream goes on as usual."""

    def known(connection: HTTPConnection, subscription: Subscription) -> Subscription:
        return Subscription(subscription.filter, identity="user-1")

    board = open_board(authorize=known)
    board.fill(2)
    assert board.sequences() == [1, 2]
    reader = board.keep(SseReader(f"{board.url}/stream?cursor=0"))
    assert [event["sequence"] for event in reader.take(2)] == [1, 2]


@pytest.mark.parametrize("error", [Forbidden("no entry"), Unauthorized("no name")])
def test_errors_of_the_forum_may_be_raised(open_board: OpenBoard, error: ForumError) -> None:
    """Their code and message are the answer's."""

    def refuse(connection: HTTPConnection, subscription: Subscription) -> bool:
        raise error

    answer = open_board(authorize=refuse).get()
    assert answer.status_code == error.status
    assert answer.json()["error"] == {"code": error.code, "message": str(error)}


def test_a_page_does_not_wait_longer_than_it_is_authorized(guarded: Board) -> None:
    """What is published after an authorization's end is not shown to a page that was waiting since before."""
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(guarded.get, headers={"X-Token": "brief"}, cursor="5", wait=4)
        while time.monotonic() - began < 1.2:
            guarded.get("/health")
        guarded.publish({"ticket": "A"})
        answer = asked.result(DEADLINE)
    assert answer.status_code in (200, 401)
    assert answer.json().get("events", []) == []


def test_a_rule_that_takes_its_time_holds_up_nobody_else(open_board: OpenBoard) -> None:
    """While the app thinks about one subscription, another one of the same connection goes on."""
    started, allowed = threading.Event(), anyio.Event()

    async def slow(connection: HTTPConnection, subscription: Subscription) -> bool:
        if "slow" in subscription.filter.tickets:
            started.set()
            await allowed.wait()
        return True

    board = open_board(authorize=slow)
    with open_websocket(f"{board.url}/socket") as connection:
        connection.send(json.dumps({"type": "subscribe", "id": "quick"}))
        while receive_json(connection)["type"] != "forum.live":
            pass
        connection.send(json.dumps({"type": "subscribe", "id": "slow", "ticket": "slow"}))
        connection.send(json.dumps({"type": "ping"}))
        assert started.wait(DEADLINE)
        board.fill(1)
        seen = {receive_json(connection)["type"], receive_json(connection)["type"]}
        assert seen == {"pong", "forum.events"}
        board.host.call(allowed.set)
        assert receive_json(connection)["type"] == "subscribed"
