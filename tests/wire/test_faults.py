"""Sources with worse faults than being away: silent, lagging, with a bug, with entries that nobody can read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from asgi_forum import ForumEvent
from asgi_forum.sources import MemorySource
from tests.wire.conftest import OpenBoard
from tests.wire.exchange import DEADLINE
from tests.wire.host import TYPE, Board
from tests.wire.readers import (
    TRANSPORTS,
    Reader,
    Refused,
    Transport,
    open_reader,
    open_websocket,
    receive_json,
    receive_to_the_end,
)
from tests.wire.sources import DistantSource


def numbers(reader: Reader) -> list[int]:
    """The sequences of all events that a reader got."""
    return [event["sequence"] for event in reader.events]


def status_of(refused: Exception) -> int:
    """The answer's status."""
    assert isinstance(refused, Refused | InvalidStatus)
    return refused.status if isinstance(refused, Refused) else refused.response.status_code


def draft(**fields: Any) -> ForumEvent:
    """An event for a log that is written to behind the forum's back."""
    return ForumEvent.model_validate({"event_type": TYPE, "ticket": "T-1", **fields})


@pytest.fixture
def source() -> DistantSource:
    """A log behind a network that works."""
    return DistantSource()


@pytest.fixture
def distant(open_board: OpenBoard, source: DistantSource) -> Board:
    """A forum on that log that has started, with quick heartbeats and three events."""
    board = open_board(source, heartbeat=0.2, allow_publish=True)
    board.fill(3)
    return board


# A source that does not answer


@pytest.fixture
def mute(distant: Board, source: DistantSource) -> Iterator[None]:
    """From now on reads are not answered; they are when the test is over, so that the forum can be closed."""
    distant.host.call(source.fall_mute)
    yield
    distant.host.call(source.speak)


@pytest.mark.usefixtures("mute")
@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_heartbeats_come_while_a_read_is_not_answered(
    distant: Board, source: DistantSource, transport: Transport
) -> None:
    """A stream that waits for history is not silent, and gets all of it when the source answers at last."""
    reader = distant.open(transport, cursor="earliest")
    for _ in range(3):
        assert reader.until("heartbeat", 3)
    distant.host.call(source.speak)
    reader.until("forum.live")
    assert numbers(reader) == [1, 2, 3]


@pytest.mark.usefixtures("mute")
@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_stream_that_waits_for_the_source_ends_when_the_server_stops(distant: Board, transport: Transport) -> None:
    """Draining does not wait for a source that does not answer."""
    reader = distant.open(transport, cursor="earliest")
    began = time.monotonic()
    distant.host.run(distant.forum.drain())
    assert time.monotonic() - began < 2.5
    end = reader.to_the_end(3)
    assert reader.frames[-1]["code"] == "shutting_down"
    assert end.code == (None if transport == "sse" else 1012)


@pytest.mark.usefixtures("mute")
@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_stream_that_has_not_begun_is_refused_when_the_server_stops(distant: Board, transport: Transport) -> None:
    """At once, with 503: a server that stops would answer an upgrade that is still open with a 500 of its own."""
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(open_reader, transport, distant.url, {"cursor": "latest"})
        distant.wait_for_streams(**{transport: 1})
        distant.host.run(distant.forum.drain())
        with pytest.raises((Refused, InvalidStatus)) as refused:
            opening.result(DEADLINE)
    assert status_of(refused.value) == 503


@pytest.mark.usefixtures("mute")
@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_client_that_leaves_while_a_read_is_not_answered_is_noticed(distant: Board, transport: Transport) -> None:
    """Its stream is open no more, though the source still owes the answer."""
    distant.open(transport, cursor="earliest").close()
    distant.wait_for_streams(sse=0, websocket=0)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("params", [{}, {"cursor": "latest"}, {"tail": 0}, {"tail": 1}])
def test_latest_is_fixed_before_the_client_hears_that_the_stream_began(
    open_board: OpenBoard, transport: Transport, params: dict[str, Any]
) -> None:
    """However long the source takes: who publishes after the answer's head, the upgrade or `subscribed` gets that event."""
    board = open_board(DistantSource(latency=0.05))
    board.fill(1)
    reader = board.open(transport, **params)
    board.fill(1)
    reader.take_to(2)
    assert numbers(reader)[-2:] == [2] or params == {"tail": 1}


@pytest.mark.usefixtures("mute")
def test_a_socket_whose_subscription_waits_ends_when_the_server_stops(distant: Board) -> None:
    """One `forum.error` without an id, and 1012, whatever its subscriptions wait for."""
    with open_websocket(f"{distant.url}/socket") as connection:
        connection.send(json.dumps({"type": "subscribe", "id": "a", "cursor": "earliest"}))
        connection.send(json.dumps({"type": "ping"}))
        while receive_json(connection)["type"] != "pong":
            pass
        distant.host.run(distant.forum.drain())
        frames, code = receive_to_the_end(connection, 3)
    assert code == 1012
    assert (frames[-1]["type"], frames[-1]["code"], "id" in frames[-1]) == ("forum.error", "shutting_down", False)


@pytest.mark.parametrize("params", [{"cursor": "earliest"}, {"tail": 5}, {"cursor": 2}])
def test_one_subscription_that_waits_does_not_hold_up_the_connection(
    distant: Board, source: DistantSource, request: pytest.FixtureRequest, params: dict[str, Any]
) -> None:
    """While one waits for the source, another one of the same socket gets its events, and commands are answered."""
    with open_websocket(f"{distant.url}/socket") as connection:
        connection.send(json.dumps({"type": "subscribe", "id": "live"}))
        while receive_json(connection)["type"] != "forum.live":
            pass
        request.getfixturevalue("mute")
        connection.send(json.dumps({"type": "subscribe", "id": "history", **params}))
        connection.send(json.dumps({"type": "ping"}))
        distant.host.run(source.append(draft()))
        seen: set[str] = set()
        while not seen >= {"pong", "forum.events"}:
            frame = receive_json(connection, 3)
            seen.add(frame["type"])
            assert frame["type"] != "forum.events" or frame["id"] == "live"


# A worker that lags behind the log


@pytest.fixture
def workers(open_board: OpenBoard) -> tuple[Board, Board, DistantSource]:
    """Two processes of one server, as it were: one log, and a second worker whose live feed can lag."""
    log = MemorySource()
    behind = DistantSource(log)
    first, second = open_board(DistantSource(log), heartbeat=0.1), open_board(behind, heartbeat=0.1)
    first.fill(10)
    second.page()
    return first, second, behind


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("form", ["cursor", "number"])
def test_a_position_is_judged_by_the_logs_end_and_not_by_a_workers(
    workers: tuple[Board, Board, DistantSource], transport: Transport, form: str
) -> None:
    """A worker that has not seen an entry yet takes a position behind it, and delivers what follows, once."""
    first, second, behind = workers
    second.host.call(behind.hold_back)
    receipt = first.fill(10)[4]
    reader = second.open(transport, cursor=receipt.cursor if form == "cursor" else receipt.sequence)
    reader.until("heartbeat")
    second.host.call(behind.let_flow)
    first.fill(2)
    reader.take_to(22)
    assert numbers(reader) == list(range(16, 23))
    assert reader.of("forum.reset") == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cursor_at_the_logs_end_waits_on_a_worker_that_lags(
    workers: tuple[Board, Board, DistantSource], transport: Transport
) -> None:
    """What the worker's feed brings later and the client has had already does not come again."""
    first, second, behind = workers
    second.host.call(behind.hold_back)
    end = first.fill(10)[-1]
    reader = second.open(transport, cursor=end.cursor)
    reader.until("heartbeat")
    second.host.call(behind.let_flow)
    reader.until("heartbeat")
    first.fill(1)
    reader.take_to(21)
    assert numbers(reader) == [21]
    for frame in reader.frames:
        assert second.sequences(cursor=frame["next_cursor"]) in ([21], [])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_may_come_back_to_any_worker(
    workers: tuple[Board, Board, DistantSource], transport: Transport
) -> None:
    """Cursors of one worker are good at another, again and again, and together give every event once."""
    first, second, behind = workers
    cursor, found, end = "earliest", list[int](), 0
    for round_ in range(12):
        second.host.call((behind.hold_back, behind.let_flow)[round_ // 2 % 2])
        end = first.fill(5)[-1].sequence
        reader = (first, second)[round_ % 2].open(transport, cursor=cursor, limit=3)
        for _ in range(3):
            frame = reader.next()
            cursor = frame["next_cursor"]
            found.extend(event["sequence"] for event in frame.get("events", ()))
        reader.close()
    end = first.fill(1)[-1].sequence
    reader = second.open(transport, cursor=cursor)
    found.extend(event["sequence"] for event in reader.take_to(end))
    assert found == list(range(1, end + 1))


def test_a_page_of_a_worker_that_lags_shows_the_log(workers: tuple[Board, Board, DistantSource]) -> None:
    """Pages are read from the log itself: who has been answered 201 finds the event at any worker."""
    first, second, behind = workers
    second.host.call(behind.hold_back)
    receipt = first.fill(1)[0]
    assert second.sequences(cursor=10) == [11]
    assert second.sequences(cursor=receipt.cursor) == []
    assert second.page(cursor="latest")["next_cursor"] == receipt.cursor


# A source with a bug


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_bug_in_a_source_is_an_outage_to_its_streams(
    distant: Board, source: DistantSource, transport: Transport
) -> None:
    """An error that no source should raise kills nothing: streams wait, say that they do, and go on when it is over."""
    source.bug = ZeroDivisionError("secret")
    reader = distant.open(transport, cursor="earliest")
    while not reader.next(3).get("degraded"):
        pass
    source.bug = None
    reader.until("forum.live")
    assert numbers(reader) == [1, 2, 3]
    assert "secret" not in json.dumps(reader.frames)


def test_a_bug_in_a_source_is_refused_in_json(distant: Board, source: DistantSource) -> None:
    """A page says that something is wrong, as every refusal is said, and not what."""
    source.bug = ZeroDivisionError("secret")
    answer = distant.get()
    assert answer.status_code in (500, 503)
    assert answer.json()["error"]["code"]
    assert "secret" not in answer.text


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_live_feed_that_fails_by_a_bug_is_not_the_end_of_it(
    distant: Board, source: DistantSource, transport: Transport
) -> None:
    """A listener never dies in silence: after an error of any kind it follows again, and nothing is lost."""
    reader = distant.live(transport)

    def fail() -> None:
        source.bug = ZeroDivisionError("once")
        source.cut()

    distant.host.call(fail)
    reader.until("heartbeat")
    source.bug = None
    distant.host.run(source.append(draft()))
    assert [event["sequence"] for event in reader.take(1)] == [4]
    assert distant.sequences(cursor=3) == [4]


# Entries that can't be decoded


@pytest.mark.parametrize("hidden", [{1}, {2}, {3}, {1, 2, 3}, {2, 5}, {4, 5, 6}])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_entry_that_can_not_be_decoded_uses_up_its_number(
    open_board: OpenBoard, transport: Transport, hidden: set[int]
) -> None:
    """It is passed over, in history and live, and every position on the way is good."""
    source = DistantSource()
    source.hidden = hidden
    board = open_board(source, heartbeat=0.2)
    board.fill(3)
    reader = board.live(transport, cursor="earliest")
    board.fill(2)
    board.fill(2)
    reader.take_to(7)
    expected = [number for number in range(1, 8) if number not in hidden]
    assert numbers(reader) == expected
    assert reader.of("forum.reset") == []
    reader.until("heartbeat")
    seen = 0
    for frame in reader.frames:
        seen += len(frame.get("events", ()))
        assert board.sequences(cursor=frame["next_cursor"]) == expected[seen:]
    assert [number for start in range(7) for number in board.sequences(cursor=start, limit=1)] == [
        min(number for number in expected if number > start) for start in range(7)
    ]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_feed_that_breaks_again_and_again_loses_nothing(
    distant: Board, source: DistantSource, transport: Transport
) -> None:
    """Each time the feed is cut, with events before, during and after, all of them come, once."""
    reader = distant.live(transport, cursor="earliest")
    for _ in range(4):
        distant.fill(1)
        distant.host.call(source.cut)
        distant.host.run(source.append(draft(), draft()))
        distant.fill(1)
    reader.take_to(19)
    assert numbers(reader) == list(range(1, 20))
