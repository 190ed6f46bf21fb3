"""Section 2, `Last-Event-ID`: how a browser comes back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.conftest import OpenBoard
from tests.wire.host import Board
from tests.wire.readers import Reader

UNREADABLE: list[str | bytes] = [
    "abc",
    "-1",
    "a.b.c.d",
    "x" * 5000,
    "k3f9Qx.42",
    "{}",
    b"\xff\xfe",
    "k3f9Qx.42.9d, k3f9Qx.43.9d",
]


def numbers(reader: Reader) -> list[int]:
    """The sequences of the events before the stream was live."""
    reader.until("forum.live")
    return [event["sequence"] for event in reader.events]


@pytest.mark.parametrize(
    "params", [{}, {"cursor": "earliest"}, {"cursor": "latest"}, {"cursor": "1"}, {"tail": 1}, {"tail": 0}]
)
@pytest.mark.parametrize("way", ["header", "parameter"])
def test_it_wins_over_cursor_and_tail(board: Board, way: str, params: dict[str, Any]) -> None:
    """A browser comes back with its old address and the newer id: the stream goes on from the id."""
    cursor = board.fill(5)[2].cursor
    if way == "header":
        reader = board.open("sse", headers=[("Last-Event-ID", cursor)], **params)
    else:
        reader = board.open("sse", last_event_id=cursor, **params)
    assert numbers(reader) == [4, 5]


@pytest.mark.parametrize("unreadable", UNREADABLE)
def test_one_that_can_not_be_read_is_a_reset(board: Board, unreadable: str | bytes) -> None:
    """A browser never comes back after a 400: the answer is a stream that begins with a reset, reason `replaced`."""
    board.fill(2)
    reader = board.open("sse", headers=[("Last-Event-ID", unreadable)], cursor="1")
    assert reader.next()["reason"] == "replaced"
    assert numbers(reader) == [1, 2]


def test_a_parameter_that_can_not_be_read_is_a_reset(board: Board) -> None:
    """So it is for the parameter of polyfills."""
    board.fill(2)
    reader = board.open("sse", last_event_id="abc", tail=1)
    assert reader.next()["reason"] == "replaced"
    assert numbers(reader) == [1, 2]


def test_one_of_another_log_is_a_reset(board: Board, open_board: OpenBoard) -> None:
    """An id of a log that is gone leads to a reset, as a cursor does."""
    board.fill(2)
    reader = board.open("sse", headers=[("Last-Event-ID", open_board().fill(1)[0].cursor)])
    assert reader.next()["reason"] == "replaced"
    assert numbers(reader) == [1, 2]


@pytest.mark.parametrize("way", ["header", "parameter"])
def test_an_empty_one_counts_as_none(board: Board, way: str) -> None:
    """A polyfill that has no id yet sends an empty one: it has seen nothing, and nothing is lost."""
    board.fill(3)
    if way == "header":
        reader = board.open("sse", headers=[("Last-Event-ID", "")], cursor="1")
    else:
        reader = board.open("sse", last_event_id="", cursor="1")
    assert numbers(reader) == [2, 3]
    assert reader.of("forum.reset") == []


def test_every_id_that_was_sent_can_be_resumed_from(open_board: OpenBoard) -> None:
    """Whichever message was the last that a browser saw, it gets just what came after."""
    board = open_board(heartbeat=0.1)
    board.fill(3)
    reader = board.open("sse", cursor="earliest", ticket="T-1")
    reader.until("forum.live")
    board.fill(2, ticket="other")
    reader.until("heartbeat")
    board.fill(2)
    reader.take(2)
    last = reader.until("heartbeat")
    reader.close()
    assert [frame["type"] for frame in reader.frames].count("heartbeat") >= 2
    seen = 0
    for frame in reader.frames:
        seen += len(frame.get("events", ()))
        again = board.open("sse", headers=[("Last-Event-ID", frame["next_cursor"])], ticket="T-1")
        assert [1, 2, 3, 6, 7][seen:] == numbers(again)
        assert again.of("forum.reset") == []
    assert board.page(cursor=last["next_cursor"])["events"] == []


def test_other_addresses_do_not_look_at_it(board: Board) -> None:
    """It belongs to Server-Sent Events: a page and a WebSocket begin where their parameters say."""
    cursor = board.fill(5)[2].cursor
    answer = board.get(headers={"last-event-id": cursor}, cursor="1", limit=1)
    assert answer.json()["events"][0]["sequence"] == 2
    reader = board.open("websocket", headers=[("Last-Event-ID", cursor)], cursor="1")
    assert numbers(reader) == [2, 3, 4, 5]
