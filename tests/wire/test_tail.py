"""Section 2, `tail`: the last matching events first."""

from __future__ import annotations

import pytest

from asgi_forum import Limits
from tests.wire.conftest import OpenBoard
from tests.wire.host import Board
from tests.wire.readers import TRANSPORTS, Transport


def begin(board: Board, transport: str, tail: int, **params: str) -> list[int]:
    """The sequences that a page, or a stream until it is live, begins with."""
    if transport == "page":
        return board.sequences(tail=tail, limit=1000, **params)
    reader = board.live(
        "sse" if transport == "sse" else "websocket" if transport == "websocket" else "socket", tail=tail, **params
    )
    reader.close()
    assert reader.of("forum.reset") == []
    return [event["sequence"] for event in reader.events]


@pytest.mark.parametrize("transport", ["page", *TRANSPORTS])
def test_the_last_events_come_first(board: Board, transport: str) -> None:
    """`tail=N` begins with the last N events, or with all where there are fewer; 0 is `latest`."""
    assert begin(board, transport, 5) == []
    board.fill(1200)
    for tail in (0, 1, 7, 999, 1000):
        assert begin(board, transport, tail) == list(range(1201 - tail, 1201))


@pytest.mark.parametrize("transport", ["page", *TRANSPORTS])
def test_the_last_events_that_match_are_counted(board: Board, transport: str) -> None:
    """With a filter the last N matching events come, however far back they lie."""
    board.publish({"ticket": "T-2"}, {"ticket": "T-2"}, {}, {"ticket": "T-2"})
    board.fill(1500)
    board.publish({"ticket": "T-2"}, {})
    for tail, expected in ((0, []), (1, [1505]), (2, [4, 1505]), (3, [2, 4, 1505]), (9, [1, 2, 4, 1505])):
        assert begin(board, transport, tail, ticket="t-2") == expected


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_live_events_follow(board: Board, transport: Transport) -> None:
    """After the tail the stream goes on, without a gap and with one `forum.live`."""
    board.fill(20)
    reader = board.live(transport, tail=3)
    board.fill(3)
    reader.take(3)
    assert [event["sequence"] for event in reader.events] == [18, 19, 20, 21, 22, 23]
    assert len(reader.of("forum.live")) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_tail_that_found_nothing_is_live_from_the_end(board: Board, transport: Transport) -> None:
    """Where nothing matches, the position is the end: what matches later comes."""
    board.fill(5)
    reader = board.open(transport, tail=3, ticket="T-2")
    position = reader.until("forum.live")["next_cursor"]
    board.publish({}, {"ticket": "T-2"})
    assert [event["sequence"] for event in reader.take(1)] == [7]
    assert board.sequences(cursor=position) == [6, 7]


def test_a_page_of_a_tail_goes_on_from_its_cursor(board: Board) -> None:
    """A page's `limit` counts from the first of the tail; the rest is on the next page."""
    board.fill(20)
    page = board.page(tail=10, limit=4)
    assert [event["sequence"] for event in page["events"]] == [11, 12, 13, 14]
    assert page["has_more"] is True
    assert board.sequences(cursor=page["next_cursor"]) == list(range(15, 21))


@pytest.mark.parametrize("transport", ["page", *TRANSPORTS])
def test_a_tail_looks_back_over_a_bounded_number_of_entries(open_board: OpenBoard, transport: str) -> None:
    """Matches that lie further back than the setting are not found; that is no error."""
    board = open_board(limits=Limits(lookback=50))
    board.fill(1, ticket="T-2")
    board.fill(48)
    assert begin(board, transport, 1, ticket="T-2") == [1]
    board.fill(200)
    assert begin(board, transport, 1, ticket="T-2") == []
    assert begin(board, transport, 5) == [245, 246, 247, 248, 249]


@pytest.mark.parametrize("tail", ["-1", "1001", "x", "", "1.5", "1e2", "9" * 5000])
@pytest.mark.parametrize("path", ["/events", "/stream"])
def test_a_tail_that_is_off_is_refused(shared_board: Board, path: str, tail: str) -> None:
    """`tail` is an integer from 0 to 1000; the message says so, and what it got."""
    answer = shared_board.get(path, tail=tail)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_tail"
    for part in ("tail", "1000", tail[:20]):
        assert part in answer.json()["error"]["message"]


@pytest.mark.parametrize("cursor", ["latest", "earliest", "0", "3"])
@pytest.mark.parametrize("tail", ["0", "5"])
@pytest.mark.parametrize("path", ["/events", "/stream"])
def test_a_tail_with_a_cursor_is_refused(shared_board: Board, path: str, tail: str, cursor: str) -> None:
    """Both say where to start: giving both is a mistake."""
    answer = shared_board.get(path, tail=tail, cursor=cursor)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_tail"
