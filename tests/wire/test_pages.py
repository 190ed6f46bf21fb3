"""Section 6: `GET events`, one page of JSON, and long polling."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from asgi_forum import Limits
from tests.wire.conftest import OpenBoard
from tests.wire.exchange import DEADLINE, Exchange, ask
from tests.wire.host import Board


def test_the_form_of_a_page(board: Board) -> None:
    """A page has its events, the position after them, whether there is more, and the headers of a stream."""
    board.fill(2)
    answer = board.get()
    assert answer.json().keys() == {"events", "next_cursor", "has_more"}
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    assert answer.headers["cache-control"] == "no-store, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"


def test_head_has_the_headers_of_the_page(board: Board) -> None:
    """HEAD answers like GET, without the body."""
    board.fill(2)
    asked = Exchange(f"{board.url}/events", method="HEAD")
    assert asked.status == 200
    assert asked.headers["cache-control"] == "no-store, no-transform"
    assert asked.headers["content-type"].split(";")[0] == "application/json"
    assert asked.rest(0.05) == b""
    asked.close()


def test_an_empty_log_has_an_empty_page(board: Board) -> None:
    """There is a position also before the first event, and it is good for ever."""
    page = board.page()
    assert (page["events"], page["has_more"]) == ([], False)
    board.fill(2)
    assert board.sequences(cursor=page["next_cursor"]) == [1, 2]


@pytest.mark.parametrize("params", [{}, {"ticket": "T-2"}, {"ticket": "T-2", "type": "forum"}, {"ticket": "T-3"}])
@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_pages_chain_without_gap_or_repetition(board: Board, params: dict[str, Any], limit: int) -> None:
    """Following next_cursor while has_more says so gives every matching event once, in order."""
    board.publish(*({"ticket": f"T-{1 + number % 2}"} for number in range(40)))
    everything = board.page(limit=1000, **params)["events"]
    found: list[Any] = []
    page: dict[str, Any] = {"next_cursor": "earliest", "has_more": True}
    while page["has_more"]:
        page = board.page(limit=limit, cursor=page["next_cursor"], **params)
        assert len(page["events"]) <= limit
        found.extend(page["events"])
    assert found == everything
    assert len(found) == {"T-2": 20, "T-3": 0}.get(params.get("ticket", ""), 40)
    assert board.page(cursor=page["next_cursor"])["has_more"] is False


def test_has_more_is_false_just_at_the_end(board: Board) -> None:
    """A page that holds the last event, or has looked at it, has no more to come; one that stopped before it has."""
    board.publish({"ticket": "T-2"}, {"ticket": "T-2"}, {}, {})
    assert board.page(limit=4)["has_more"] is False
    assert board.page(limit=3)["has_more"] is True
    assert board.page(ticket="T-2", limit=1)["has_more"] is True
    for limit in (1, 2, 3, 4, 5):
        page = board.page(ticket="T-2", limit=limit)
        assert page["has_more"] is bool(board.page(cursor=page["next_cursor"])["events"])


def test_a_page_is_filled_as_far_as_its_bounds_allow(board: Board) -> None:
    """Few matches among many entries still come on one page: it ends at its limit, the log's end, or the entries it may examine."""
    for _ in range(5):
        board.publish({"ticket": "T-2"})
        board.fill(1500)
    page = board.page(ticket="T-2")
    assert [event["sequence"] for event in page["events"]] == [1, 1502, 3003, 4504, 6005]
    assert page["has_more"] is False
    assert board.sequences(ticket="T-2", limit=3) == [1, 1502, 3003]


def test_the_position_moves_past_what_the_filter_left_out(board: Board) -> None:
    """A page without events has a position all the same: the end that it has looked up to."""
    board.fill(30)
    page = board.page(ticket="nothing")
    assert (page["events"], page["has_more"]) == ([], False)
    board.fill(1)
    assert board.sequences(cursor=page["next_cursor"]) == [31]


def test_a_page_examines_at_most_20000_entries(board: Board) -> None:
    """Behind that bound a page is empty, but says that there is more, and the next one finds it."""
    board.fill(20_000)
    board.publish({"ticket": "T-2"})
    page = board.page(ticket="T-2")
    assert (page["events"], page["has_more"]) == ([], True)
    assert [event["sequence"] for event in board.page(ticket="T-2", cursor=page["next_cursor"])["events"]] == [20_001]
    assert board.sequences(ticket="T-2", cursor="1") == [20_001]


def test_the_bound_of_a_page_is_a_setting(open_board: OpenBoard) -> None:
    """With a bound of 10 entries, pages still chain to the end."""
    board = open_board(limits=Limits(page_scan=10))
    board.fill(25)
    board.publish({"ticket": "T-2"})
    cursor, pages = "earliest", 0
    while (page := board.page(ticket="T-2", cursor=cursor))["has_more"]:
        assert page["events"] == []
        cursor, pages = page["next_cursor"], pages + 1
    assert [event["sequence"] for event in page["events"]] == [26]
    assert pages == 2


@pytest.mark.parametrize("wait", ["-1", "60.01", "61", "x", "", "nan", "inf", "1e3", "-0.5", "1,5", "NaN", "0x1"])
def test_a_wait_that_is_off_is_refused(shared_board: Board, wait: str) -> None:
    """`wait` is a number of seconds from 0 to 60; the message says so, and what it got."""
    answer = shared_board.get(wait=wait)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid_wait"
    for part in ("wait", "60", wait):
        assert part in error["message"]


@contextmanager
def waiting(board: Board, **params: Any) -> Generator[Future[httpx2.Response]]:
    """Ask for a page that waits, and go on once the forum has it open as a stream."""
    with ThreadPoolExecutor(1) as pool, httpx2.Client(timeout=30, trust_env=False) as client:
        answer = pool.submit(client.get, f"{board.url}/events", params=params)
        yield answer


@pytest.mark.parametrize("cursor", ["latest", "earliest", "0"])
def test_a_waiting_page_answers_when_something_matches(board: Board, cursor: str) -> None:
    """The first matching event ends the wait; others don't."""
    with waiting(board, wait=25, cursor=cursor, ticket="T-2") as answer:
        began = time.monotonic()
        while not answer.done():  # until the request has arrived there is nothing that an event could end
            board.publish({}, {"ticket": "T-2"}, {})
            assert time.monotonic() - began < DEADLINE
        page = answer.result().json()
    assert page["events"]
    assert {event["envelope"]["ticket"] for event in page["events"]} == {"T-2"}
    following = board.page(cursor=page["next_cursor"], ticket="T-2", limit=1000)["events"]
    sequences = [event["sequence"] for event in page["events"] + following]
    assert sequences == list(range(sequences[0], sequences[-1] + 1, 3))


def test_a_waiting_page_answers_at_once_where_there_is_something(board: Board) -> None:
    """History needs no wait."""
    board.fill(3)
    began = time.monotonic()
    assert board.sequences(wait=30) == [1, 2, 3]
    assert board.sequences(wait=30, tail=2) == [2, 3]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("wait", ["0.3", "0.5"])
@pytest.mark.parametrize(
    "params", [{"cursor": "latest"}, {"tail": 0}, {"cursor": "3"}, {"cursor": "earliest", "ticket": "T-2"}]
)
def test_a_waiting_page_answers_when_the_time_is_over(board: Board, wait: str, params: dict[str, Any]) -> None:
    """Without a match the answer comes after just that time, fractions included, with the position of the end."""
    board.fill(3)
    began = time.monotonic()
    page = board.page(wait=wait, **params)
    assert float(wait) - 0.02 <= time.monotonic() - began < float(wait) + 2
    assert (page["events"], page["has_more"]) == ([], False)
    board.fill(1)
    assert board.sequences(cursor=page["next_cursor"]) == [4]


@pytest.mark.parametrize("wait", ["0", "0.0"])
def test_no_wait_is_an_answer_at_once(board: Board, wait: str) -> None:
    """`wait=0` is a page like any other."""
    assert board.page(wait=wait)["events"] == []


def test_a_wait_that_found_nothing_moves_past_what_came_meanwhile(board: Board) -> None:
    """Events that the filter left out while the page waited lie before its position."""
    with waiting(board, wait=0.6, cursor="latest", ticket="T-2") as answer:
        last = board.fill(1)[0].sequence
        while not answer.done():
            last = board.fill(1)[0].sequence
        page = answer.result().json()
    assert (page["events"], page["has_more"]) == ([], page["has_more"])
    left = board.sequences(cursor=page["next_cursor"], limit=1000)
    assert len(left) < last / 2
    assert left == list(range(last - len(left) + 1, last + 1))


def test_a_wait_ends_at_the_bound_of_a_page(open_board: OpenBoard) -> None:
    """A page that has examined all it may does not wait on: it says that there is more."""
    board = open_board(limits=Limits(page_scan=10))
    board.fill(25)
    began = time.monotonic()
    page = board.page(ticket="T-2", wait=30)
    assert (page["events"], page["has_more"]) == ([], True)
    assert time.monotonic() - began < 5


def test_a_waiting_page_is_answered_when_the_server_stops(open_board: OpenBoard) -> None:
    """It is not left hanging: the answer, an empty page or a 503, comes at once."""
    board = open_board(limits=Limits(streams=1))
    board.fill(1)
    with waiting(board, wait=20, cursor="latest") as answer:
        wait_for_slots(board, 0)
        board.host.run(board.forum.drain())
        assert answer.result(DEADLINE).status_code in (200, 503)


def test_a_waiting_page_whose_client_has_left_is_given_up(open_board: OpenBoard) -> None:
    """A client that cuts the connection while it waits holds no slot."""
    board = open_board(limits=Limits(streams=1))
    connection = ask(f"{board.url}/events?wait=50&cursor=latest")
    wait_for_slots(board, 0)
    connection.close()
    wait_for_slots(board, 1)


def wait_for_slots(board: Board, free: int) -> None:
    """Wait until a forum that takes one stream takes `free` more; HEAD asks without taking it."""
    deadline = time.monotonic() + DEADLINE
    while board.host.http.head(f"{board.url}/stream").status_code != (200 if free else 429):
        assert time.monotonic() < deadline


def test_a_page_over_the_limit_of_streams_is_refused_only_where_it_waits(open_board: OpenBoard) -> None:
    """A waiting page counts as an open stream, a quick one does not."""
    board = open_board(limits=Limits(streams=1))
    board.live("sse")
    assert board.get().status_code == 200
    refused = board.get(wait=5, cursor="latest")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize("frame_bytes", [1, 2000, 2**20])
def test_pages_and_frames_are_bounded_in_bytes(open_board: OpenBoard, frame_bytes: int) -> None:
    """A page or a frame holds a bounded number of bytes, at least one event, and the rest follows."""
    board = open_board(limits=Limits(frame_bytes=frame_bytes, page_bytes=frame_bytes))
    board.fill(30, size=500)
    found: list[int] = []
    page: dict[str, Any] = {"next_cursor": "0", "has_more": True}
    while page["has_more"]:
        answer = board.get(cursor=page["next_cursor"])
        page = answer.json()
        assert page["events"]
        assert len(page["events"]) == 1 or len(answer.content) < frame_bytes + 1000
        found.extend(event["sequence"] for event in page["events"])
    assert found == list(range(1, 31))
    reader = board.live("websocket", cursor="earliest")
    assert [event["sequence"] for event in reader.events] == found
    for frame in reader.of("forum.events"):
        assert len(frame["events"]) == 1 or len(json.dumps(frame)) < frame_bytes + 1000


def test_a_page_waits_no_longer_than_a_stream_may_live(open_board: OpenBoard) -> None:
    """Its answer is a page, and the client asks again, perhaps another process."""
    board = open_board(limits=Limits(max_stream_age=0.3))
    began = time.monotonic()
    assert board.page(wait=30, cursor="latest")["events"] == []
    assert 0.3 * 0.9 - 0.02 <= time.monotonic() - began < 5
