"""Section 8, at twice each limit: what is over it is refused or waits, is told so, and is counted; the rest goes on."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection

from asgi_forum import Forum, Limits, Subscription
from tests.wire.conftest import OpenBoard
from tests.wire.exchange import DEADLINE
from tests.wire.host import Board, Host
from tests.wire.readers import Reader, SseReader, WebSocketReader, open_websocket, receive_json, receive_to_the_end


def known(connection: HTTPConnection, subscription: Subscription) -> Subscription | bool:
    """The rule of these tests: a client says who it is, and who does not gets nothing."""
    name = connection.headers.get("x-name") or connection.query_params.get("name")
    return Subscription(subscription.filter, identity=name) if name else False


def hits(board: Board) -> dict[str, int]:
    """How often each limit was reached."""
    limits: dict[str, int] = board.host.call(board.forum.stats)["limits"]
    return limits


def wait_for(board: Board, streams: dict[str, int]) -> None:
    """Wait until these streams are open, and no others; health does not show it to everybody here."""
    deadline = time.monotonic() + DEADLINE
    while (found := board.host.call(board.forum.stats)["streams"]) != streams:
        assert time.monotonic() < deadline, found


def subscribed(connection: ClientConnection, name: str) -> dict[str, Any]:
    """Subscribe on a connection of `/socket`; the answer to it."""
    connection.send(json.dumps({"type": "subscribe", "id": name}))
    while True:
        frame = receive_json(connection)
        if frame.get("id") == name and frame["type"] in ("subscribed", "forum.error"):
            return frame


@pytest.mark.parametrize("limit", ["streams", "streams_per_address", "streams_per_identity"])
def test_twice_as_many_streams(open_board: OpenBoard, limit: str) -> None:
    """Whatever they come over, those over it get 429 with a time to come back; those within it lose nothing."""
    settings: dict[str, Any] = {limit: 4}
    board = open_board(authorize=known, limits=Limits(**settings))
    name = [("X-Name", "ann")]
    readers: list[Reader] = [board.open(kind, headers=name) for kind in ("sse", "websocket", "socket", "sse")]
    for path in ("/stream", "/events?cursor=latest&wait=5"):
        answer = board.host.http.get(board.url + path, headers=name)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_connections")
        assert int(answer.headers["retry-after"]) > 0
    answer = board.host.http.get(board.url + "/stream", headers=[*name, ("Accept", "text/event-stream")])
    assert (answer.status_code, "too_many_connections" in answer.text) == (200, True)
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(f"{board.url}/stream", name)
    assert refused.value.response.status_code == 429
    assert hits(board) == {limit: 4}
    assert board.get(headers={"X-Name": "ann"}).status_code == 200  # a page at once holds no place
    board.fill(3)
    for reader in readers:
        assert [event["sequence"] for event in reader.take(3)] == [1, 2, 3]
    for reader in readers:
        reader.close()
    wait_for(board, {})
    board.live("sse", name="ann")


def test_a_connection_is_its_identitys_once_it_has_a_subscription(open_board: OpenBoard) -> None:
    """Over its limit the command is refused, and the connection stays; another identity has its own."""
    board = open_board(authorize=known, limits=Limits(streams_per_identity=1))
    with ExitStack() as stack:
        ann, again, bob = (
            stack.enter_context(open_websocket(f"{board.url}/socket", [("X-Name", each)]))
            for each in ("ann", "ann", "bob")
        )
        assert subscribed(ann, "a")["type"] == "subscribed"
        assert subscribed(ann, "b")["type"] == "subscribed"
        assert subscribed(again, "a")["code"] == "too_many_connections"
        assert subscribed(bob, "a")["type"] == "subscribed"
        ann.close()
        wait_for(board, {"websocket": 2})
        assert subscribed(again, "a")["type"] == "subscribed"


def test_connections_that_may_read_nothing_make_room(open_board: OpenBoard) -> None:
    """Whoever is granted nothing can't keep out those who are: the oldest of them is told so, and closed."""
    board = open_board(authorize=known, limits=Limits(streams=3))
    with ExitStack() as stack:
        strangers = [stack.enter_context(open_websocket(f"{board.url}/socket")) for _ in range(3)]
        assert subscribed(strangers[0], "a")["code"] == "forbidden"
        streams = [board.live("sse", name="ann") for _ in range(2)]
        for stranger in strangers[:2]:
            frames, code = receive_to_the_end(stranger)
            assert (frames[-1]["code"], code) == ("too_many_connections", 1013)
        strangers[2].send('{"type": "ping"}')
        assert receive_json(strangers[2])["type"] == "pong"
        board.fill(1)
        for stream in streams:
            assert stream.take(1)[0]["sequence"] == 1


def test_twice_as_many_subscriptions(open_board: OpenBoard) -> None:
    """Each one over it is refused by its id, and the others go on."""
    board = open_board(limits=Limits(subscriptions=3))
    with open_websocket(f"{board.url}/socket") as connection:
        answers = [subscribed(connection, str(number)) for number in range(6)]
        assert [answer["type"] for answer in answers] == ["subscribed"] * 3 + ["forum.error"] * 3
        assert {answer["code"] for answer in answers[3:]} == {"too_many_subscriptions"}
        assert hits(board) == {"subscriptions": 3}


def test_twice_the_size(open_board: OpenBoard) -> None:
    """Of an event, and of a request: 413, nothing is published, and it is counted by which of the two it was."""
    board = open_board(allow_publish=True, limits=Limits(event_bytes=1000, request_bytes=5000))
    event = {"event_type": "a.b", "ticket": "T-1"}
    large = board.post({**event, "payload": {"text": "x" * 2000}})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "payload_too_large")
    many = board.post([{**event, "payload": {"text": "x" * 500}}] * 20)
    assert (many.status_code, many.json()["error"]["code"]) == (413, "payload_too_large")
    assert hits(board) == {"event_bytes": 1, "request_bytes": 1}
    assert board.page()["events"] == []


def test_twice_as_much_as_a_frame_or_the_tail_holds(open_board: OpenBoard) -> None:
    """It comes in several frames, and what has left the tail from the source: nothing is lost."""
    board = open_board(limits=Limits(frame_bytes=4000, tail_bytes=20_000))
    board.fill(40, size=1000)
    for transport in ("sse", "websocket", "socket"):
        reader = board.open(transport, cursor="earliest")
        assert [event["sequence"] for event in reader.take(40)] == list(range(1, 41))
        assert all(len(json.dumps(frame)) < 6000 for frame in reader.frames)
    assert hits(board)["frame_bytes"] >= 3


def test_twice_as_much_as_a_page_or_a_search_looks_at(open_board: OpenBoard) -> None:
    """A page ends there, and is followed by another; `tail` finds what lies within. Each time is counted."""
    limits = Limits(page_bytes=20_000, page_scan=200, lookback=50)
    board = open_board(limits=limits)
    board.fill(40, size=1000, ticket="large")
    board.fill(300)
    assert len(board.page(ticket="large")["events"]) < 40
    assert hits(board) == {"page_bytes": 1}
    assert board.page(ticket="none", cursor="earliest")["has_more"]
    assert hits(board) == {"page_bytes": 1, "page_scan": 1}
    assert board.open("sse", ticket="large", tail=10).take(0) == []
    assert board.page(tail=10, ticket="T-1")["events"]
    wait_for_hits(board, {"page_bytes": 1, "page_scan": 1, "lookback": 1})


def wait_for_hits(board: Board, expected: dict[str, int]) -> None:
    """Wait until limits were reached so often."""
    deadline = time.monotonic() + DEADLINE
    while hits(board) != expected:
        assert time.monotonic() < deadline, hits(board)


def test_twice_as_many_reads_of_the_source(open_board: OpenBoard) -> None:
    """They take turns: everybody gets everything."""
    board = open_board(limits=Limits(catch_up_reads=1, tail_bytes=4096))
    board.fill(600, size=100)
    readers = [board.open(kind, cursor=start) for start in (0, 90, 301) for kind in ("sse", "websocket")]
    for reader, start in zip(readers, (0, 0, 90, 90, 301, 301), strict=True):
        assert [event["sequence"] for event in reader.take(600 - start)] == list(range(start + 1, 601))
    assert board.host.call(board.forum.stats)["catch_up_reads"] == 0


class Unpaced:
    """An application on a server that does not say which version of ASGI it follows, as Daphne."""

    def __init__(self, forum: Forum) -> None:
        """Stand before the forum."""
        self.forum = forum

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what such a server would."""
        await self.forum({**scope, "asgi": {"version": "3.0"}}, receive, send)


def open_unpaced(host: Host, forum: Forum, transport: str, cursor: object) -> Reader | ClientConnection:
    """Open a stream there."""
    url = host.mount(Unpaced(forum))
    if transport == "socket":
        connection = open_websocket(f"{url}/socket")
        connection.send(json.dumps({"type": "subscribe", "id": "a", "cursor": cursor, "limit": 5}))
        return connection
    return (SseReader if transport == "sse" else WebSocketReader)(f"{url}/stream?limit=5&cursor={cursor}")


@pytest.mark.parametrize("transport", ["sse", "websocket", "socket"])
def test_where_a_server_takes_all_a_stream_has_an_end(open_board: OpenBoard, transport: str) -> None:
    """It sends as much as the setting says, and ends cleanly; who has read that comes back for the rest, and has it all."""
    board = open_board(limits=Limits(unpaced_bytes=20_000))
    board.fill(100, size=1000)
    seen: list[int] = []
    sizes: list[int] = []
    cursor: object = "earliest"
    while len(seen) < 80:
        opened = open_unpaced(board.host, board.forum, transport, cursor)
        if isinstance(opened, Reader):
            end, frames = board.keep(opened).to_the_end(), opened.frames
            code = end.code
        else:
            with opened:
                frames, code = receive_to_the_end(opened, DEADLINE)
        assert (frames[-1]["type"], frames[-1]["code"]) == ("forum.error", "shutting_down")
        assert code == (None if transport == "sse" else 1012)
        events = [event for frame in frames for event in frame.get("events", ())]
        seen += [event["sequence"] for event in events]
        sizes.append(len(json.dumps(events)))
        cursor = events[-1]["cursor"]
    assert seen == list(range(1, 81))
    assert all(20_000 < size < 30_000 for size in sizes)
    assert hits(board)["unpaced_bytes"] == len(sizes)
    assert len(board.live("sse", cursor="earliest").events) == 100  # where the server says so, there is no such end
