"""Section 3: the frames of a stream, over every transport."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.wire.conftest import OpenBoard
from tests.wire.exchange import Exchange
from tests.wire.host import Board
from tests.wire.readers import TRANSPORTS, Frame, Transport

FIELDS: dict[str, set[str]] = {
    "forum.live": {"type", "mode", "next_cursor", "sent_at"},
    "heartbeat": {"type", "next_cursor", "sent_at"},
    "forum.reset": {"type", "reason", "next_cursor", "sent_at"},
    "forum.error": {"type", "code", "message"},
}


def check(frame: Frame) -> None:
    """A frame has the fields of its type and no other."""
    assert frame.keys() == FIELDS[frame["type"]]
    if "sent_at" in frame:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", frame["sent_at"])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_history_comes_before_live_and_live_comes_once(open_board: OpenBoard, transport: Transport) -> None:
    """Events of the past, one `forum.live` of mode `push`, then events as they are published."""
    board = open_board(heartbeat=0.1)
    board.fill(3)
    reader = board.open(transport, cursor="earliest")
    live = reader.until("forum.live")
    check(live)
    assert live["mode"] == "push"
    assert [event["sequence"] for event in reader.events] == [1, 2, 3]
    for _ in range(3):
        board.fill(1)
        reader.take(1)
        reader.until("heartbeat")
    assert len(reader.of("forum.live")) == 1


@pytest.mark.parametrize("transport", ["websocket", "socket"])
def test_an_events_frame(board: Board, transport: Transport) -> None:
    """It has events, oldest first, the position after them and the time."""
    board.fill(3)
    reader = board.live(transport, cursor="earliest", limit=2)
    for frame in reader.of("forum.events"):
        assert frame.keys() == {"type", "events", "next_cursor", "sent_at"}
        assert 1 <= len(frame["events"]) <= 2
        assert frame["next_cursor"] == frame["events"][-1]["cursor"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_heartbeats_come_while_nothing_else_does(open_board: OpenBoard, transport: Transport) -> None:
    """A quiet stream gets a heartbeat each interval, neither earlier nor much later."""
    board = open_board(heartbeat=0.3)
    reader = board.live(transport)
    began = time.monotonic()
    for _ in range(3):
        beat = reader.next()
        check(beat)
        assert beat["type"] == "heartbeat"
    assert 0.7 < time.monotonic() - began < 3


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_busy_stream_gets_no_heartbeat(open_board: OpenBoard, transport: Transport) -> None:
    """A heartbeat waits for a whole interval without any other frame."""
    board = open_board(heartbeat=0.8)
    reader = board.live(transport)
    began = time.monotonic()
    while time.monotonic() - began < 1.2:
        board.fill(1)
        assert reader.next()["type"] == "forum.events"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_heartbeat_moves_past_what_the_filter_left_out(open_board: OpenBoard, transport: Transport) -> None:
    """The position of a quiet stream keeps up with the log, so that coming back is cheap and nothing is trimmed under it."""
    board = open_board(heartbeat=0.1)
    reader = board.live(transport, ticket="mine")
    before = reader.frames[-1]["next_cursor"]
    end = board.fill(50, ticket="other")[-1].sequence
    assert board.sequences(cursor=before) == list(range(1, end + 1))
    reader.until("heartbeat")
    later = reader.until("heartbeat")["next_cursor"]
    assert board.sequences(cursor=later) == []
    board.publish({"ticket": "mine"})
    assert reader.take(1)[0]["sequence"] == end + 1
    assert reader.events == board.page(cursor=later)["events"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_heartbeat_never_moves_past_a_match(open_board: OpenBoard, transport: Transport) -> None:
    """Each heartbeat's position lies before every matching event that has not come yet."""
    board = open_board(heartbeat=0.01)
    reader = board.live(transport, ticket="mine")
    for number in range(40):
        board.publish({"ticket": "other"}, {"ticket": "mine", "payload": {"n": number}}, {"ticket": "other"})
    reader.take_to(119)
    reader.until("heartbeat")
    reader.close()
    assert [event["payload"]["n"] for event in reader.events] == list(range(40))
    seen = 0
    for frame in reader.frames:
        seen += len(frame.get("events", ()))
        if frame["type"] == "heartbeat":
            ahead = board.page(cursor=frame["next_cursor"], ticket="mine", limit=1000)["events"]
            assert [event["payload"]["n"] for event in ahead] == list(range(seen, 40))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_reset_has_its_fields(board: Board, transport: Transport) -> None:
    """It has a reason and the position to go on from."""
    check(board.open(transport, cursor="7").next())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_last_frame_says_that_the_server_stops(board: Board, transport: Transport) -> None:
    """Draining ends every stream, with `forum.error` as the last frame, and a close code that says: come back."""
    board.fill(2)
    reader = board.live(transport, cursor="earliest")
    board.host.run(board.forum.drain())
    end = reader.to_the_end()
    assert end.code == (None if transport == "sse" else 1012)
    last = reader.frames[-1]
    check(last)
    assert last["code"] == "shutting_down"
    assert last["message"]
    assert len(reader.of("forum.error")) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_draining_forum_delivers_or_can_be_resumed_but_never_lies(board: Board, transport: Transport) -> None:
    """What was published before draining and did not come lies after the last position that the stream gave."""
    reader = board.live(transport)
    board.fill(500)
    board.host.run(board.forum.drain())
    reader.to_the_end()
    sequences = [event["sequence"] for event in reader.events]
    assert sequences == list(range(1, len(sequences) + 1))


def test_many_streams_end_soon(board: Board) -> None:
    """Draining ends all streams within seconds."""
    readers = [board.live(TRANSPORTS[number % 3]) for number in range(60)]
    began = time.monotonic()
    board.host.run(board.forum.drain())
    for reader in readers:
        reader.to_the_end()
        assert reader.frames[-1]["code"] == "shutting_down"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("path", ["/stream", "/events?wait=5&cursor=latest"])
def test_a_forum_that_drains_before_anybody_came_refuses_too(board: Board, path: str) -> None:
    """The signal to stop may be the first thing that a process hears."""
    board.host.run(board.forum.drain())
    answer = Exchange(board.url + path)
    assert answer.status == 503
    assert json.loads(answer.read_all())["error"]["code"] == "shutting_down"
    answer.close()
