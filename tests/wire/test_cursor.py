"""Section 2, where to read from: `cursor`, `tail` and `Last-Event-ID`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from asgi_forum import Limits
from tests.wire.conftest import OpenBoard
from tests.wire.host import Board
from tests.wire.readers import TRANSPORTS, Reader, Transport

SMALL = Limits(tail_bytes=1)
"""Nothing is kept beside the log: what it has trimmed is gone."""

GARBAGE = [
    "abc",
    "-1",
    "+1",
    "1.5",
    "1e3",
    "0x10",
    "a.b.c.d",
    "a.1",
    ".1.",
    " ",
    "1 2",
    "EARLIEST!",
    "x" * 200,
    "ünï.1.c",
    "a.-1.c",
]


def numbers(reader: Reader) -> list[int]:
    """The sequences of the events that a reader has read."""
    return [event["sequence"] for event in reader.events]


def history(board: Board, transport: Transport, **params: Any) -> list[int]:
    """What a stream delivers before it is live; it must not begin with a reset."""
    reader = board.live(transport, **params)
    assert reader.of("forum.reset") == []
    reader.close()
    return numbers(reader)


def shifted(cursor: str, board: Board, by: int) -> str:
    """A cursor as this forum would make it for another sequence, had it no check: the number in it, moved."""
    sequence = board.page(cursor=cursor, limit=1)["events"][0]["sequence"] - 1
    found = re.fullmatch(rf"(.*\.){sequence}(\..*)", cursor)
    assert found, cursor
    return f"{found[1]}{sequence + by}{found[2]}"


@pytest.mark.parametrize(("cursor", "first"), [("earliest", 1), ("0", 1), (None, 1), ("1", 2), ("9", 10), ("12", None)])
def test_a_page_starts_where_the_cursor_says(board: Board, cursor: str | None, first: int | None) -> None:
    """`earliest`, `0` and nothing at all start at the beginning, a number N after sequence N."""
    board.fill(12)
    expected = list(range(first, 13)) if first else []
    assert board.sequences(**({} if cursor is None else {"cursor": cursor})) == expected


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("cursor", "first"), [("earliest", 1), ("0", 1), ("9", 10), ("12", None), ("latest", None), (None, None)]
)
def test_a_stream_starts_where_the_cursor_says(
    board: Board, transport: Transport, cursor: str | None, first: int | None
) -> None:
    """A stream without a cursor starts at `latest`; else as a page does."""
    board.fill(12)
    assert history(board, transport, cursor=cursor) == (list(range(first, 13)) if first else [])


@pytest.mark.parametrize("transport", ["page", *TRANSPORTS])
def test_every_event_cursor_leads_to_the_next_event(board: Board, transport: str) -> None:
    """Starting from the cursor of any event gives just what comes after it."""
    for receipt in board.fill(12):
        expected = list(range(receipt.sequence + 1, 13))
        if transport == "page":
            assert board.sequences(cursor=receipt.cursor) == expected
        else:
            assert history(board, "sse" if transport == "sse" else "websocket", cursor=receipt.cursor) == expected


def test_a_cursor_may_be_a_number_on_a_socket(board: Board) -> None:
    """On `/socket` a plain number may be one of JSON's."""
    board.fill(5)
    assert history(board, "socket", cursor=3) == [4, 5]


def test_latest_is_the_end_of_the_log(board: Board) -> None:
    """`?cursor=latest` answers the position of the end, at once and without events; what comes later comes after it."""
    empty = board.page(cursor="latest")
    assert (empty["events"], empty["has_more"]) == ([], False)
    board.fill(3)
    latest = board.page(cursor="latest")
    assert (latest["events"], latest["has_more"]) == ([], False)
    board.fill(2)
    assert board.sequences(cursor=empty["next_cursor"]) == [1, 2, 3, 4, 5]
    assert board.sequences(cursor=latest["next_cursor"]) == [4, 5]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_latest_is_fixed_when_the_stream_begins(board: Board, transport: Transport) -> None:
    """Who leaves before the first event came, and comes back from `forum.live`'s position, misses nothing."""
    board.fill(3)
    reader = board.open(transport)
    position = reader.until("forum.live")["next_cursor"]
    reader.close()
    board.fill(2)
    assert history(board, transport, cursor=position) == [4, 5]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_latest_is_fixed_before_the_client_knows_that_the_stream_began(board: Board, transport: Transport) -> None:
    """Whoever publishes right after the answer's head, the upgrade, or `subscribed` gets that event."""
    for number in range(1, 31):
        reader = board.open(transport)
        board.fill(1)
        assert reader.take(1)[0]["sequence"] == number
        reader.close()


@pytest.mark.parametrize("cursor", GARBAGE)
@pytest.mark.parametrize("path", ["/events", "/stream"])
def test_a_cursor_that_can_not_be_read_is_refused(shared_board: Board, path: str, cursor: str) -> None:
    """What is no cursor is a 400 that names the parameter."""
    answer = shared_board.get(path, cursor=cursor)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_cursor"
    assert "cursor" in answer.json()["error"]["message"]


Start = Callable[[Board, OpenBoard], str]


def number(text: str) -> Start:
    """A plain number."""

    def make(board: Board, open_board: OpenBoard) -> str:
        return text

    return make


def of_another_log(board: Board, open_board: OpenBoard) -> str:
    """The cursor of an event of another forum, at a sequence that this one has too."""
    return open_board().fill(2)[1].cursor


def of_a_longer_log(board: Board, open_board: OpenBoard) -> str:
    """The cursor of an event of another forum, at a sequence that this one has not reached."""
    return open_board().fill(50)[49].cursor


def of_another_empty_log(board: Board, open_board: OpenBoard) -> str:
    """The position of an empty log that is not this one."""
    return str(open_board().page(cursor="latest")["next_cursor"])


def past_the_end(board: Board, open_board: OpenBoard) -> str:
    """A cursor of this log at a sequence that it has not reached."""
    return shifted(board.page(limit=1)["next_cursor"], board, 100)


def of_another_entry(board: Board, open_board: OpenBoard) -> str:
    """A cursor of this log whose entry is another one than the log has there: a fork."""
    return shifted(board.page(limit=1)["next_cursor"], board, 1)


STARTS: dict[str, tuple[str, Start]] = {
    "just past the end": ("ahead", number("4")),
    "a number that no log reaches": ("ahead", number("9" * 40)),
    "another log": ("replaced", of_another_log),
    "a longer log": ("replaced", of_a_longer_log),
    "another empty log": ("replaced", of_another_empty_log),
    "past the end": ("replaced", past_the_end),
    "another entry": ("replaced", of_another_entry),
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_position_that_is_not_in_the_log_is_reset(
    board: Board, open_board: OpenBoard, transport: Transport, start: str
) -> None:
    """A stream from such a position begins with a reset, goes on with all that is retained, is live once, and goes on."""
    board.fill(3)
    reason, make = STARTS[start]
    reader = board.open(transport, cursor=make(board, open_board))
    reset = reader.next()
    assert (reset["type"], reset["reason"]) == ("forum.reset", reason)
    reader.until("forum.live")
    board.fill(1)
    reader.take(1)
    assert numbers(reader) == [1, 2, 3, 4]
    assert len(reader.of("forum.live")) == len(reader.of("forum.reset")) == 1
    assert history(board, transport, cursor=reset["next_cursor"]) == [1, 2, 3, 4]


@pytest.mark.parametrize("start", STARTS)
def test_a_page_from_such_a_position_is_gone(board: Board, open_board: OpenBoard, start: str) -> None:
    """A page answers 410, with the reason and a cursor to go on from."""
    board.fill(3)
    reason, make = STARTS[start]
    answer = board.get(cursor=make(board, open_board))
    assert answer.status_code == 410
    error = answer.json()["error"]
    assert error["code"] == "cursor_expired"
    assert error["reason"] == reason
    assert board.sequences(cursor=error["earliest_cursor"]) == [1, 2, 3]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_zero_never_resets_not_even_an_empty_log(board: Board, transport: Transport) -> None:
    """`0` on an empty log is its beginning; `1` is past its end."""
    assert history(board, transport, cursor="0") == []
    assert board.open(transport, cursor="1").next()["reason"] == "ahead"


def trim(board: Board) -> tuple[list[str], int]:
    """Publish far more than is retained; return the cursors by sequence, and the earliest sequence that is left."""
    cursors = [str(board.page(cursor="latest")["next_cursor"]), *(receipt.cursor for receipt in board.fill(1500))]
    first = board.page(limit=1)["events"][0]["sequence"]
    assert 1 < first <= 1491
    return cursors, first


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_trimmed_events_are_announced(open_board: OpenBoard, transport: Transport) -> None:
    """A position before trimmed events is reset to just before the earliest retained one, a cursor and a number alike."""
    board = open_board(retain=10, limits=SMALL)
    cursors, first = trim(board)
    for start in (cursors[0], cursors[1], cursors[first - 2], "1", str(first - 2)):
        reader = board.open(transport, cursor=start)
        reset = reader.next()
        assert (reset["type"], reset["reason"]) == ("forum.reset", "trimmed")
        reader.until("forum.live")
        reader.close()
        assert numbers(reader) == list(range(first, 1501))
        assert history(board, transport, cursor=reset["next_cursor"]) == list(range(first, 1501))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_position_with_nothing_trimmed_after_it_is_good(open_board: OpenBoard, transport: Transport) -> None:
    """A cursor is good though its own entry is trimmed, as long as the next one is there; `0` and `earliest` always are."""
    board = open_board(retain=10, limits=SMALL)
    cursors, first = trim(board)
    for start in (cursors[first - 1], str(first - 1), "0", "earliest"):
        assert history(board, transport, cursor=start) == list(range(first, 1501))
    assert history(board, transport, tail=1000) == list(range(first, 1501))


def test_a_page_before_trimmed_events_is_gone(open_board: OpenBoard) -> None:
    """A page answers 410 with reason `trimmed`; its earliest_cursor, and cursors after it, are good."""
    board = open_board(retain=10, limits=SMALL)
    cursors, first = trim(board)
    for start in (cursors[0], cursors[first - 2], str(first - 2)):
        answer = board.get(cursor=start)
        assert answer.status_code == 410
        assert answer.json()["error"]["reason"] == "trimmed"
        assert board.sequences(cursor=answer.json()["error"]["earliest_cursor"], limit=1000) == list(range(first, 1501))
    assert board.sequences(cursor=cursors[first - 1], limit=1) == [first]


def test_the_filter_does_not_hide_that_events_were_trimmed(open_board: OpenBoard) -> None:
    """A reader whose matching events are all retained can't know that: it is reset all the same."""
    board = open_board(retain=10, limits=SMALL)
    start = board.page(cursor="latest")["next_cursor"]
    board.fill(1500, ticket="other")
    board.fill(1, ticket="mine")
    reader = board.open("sse", cursor=start, ticket="mine")
    assert reader.next()["reason"] == "trimmed"
    assert reader.take(1)[0]["sequence"] == 1501
