"""Section 2, the filters and `limit`: which events a reader gets."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.wire.conftest import OpenBoard
from tests.wire.host import Board
from tests.wire.readers import TRANSPORTS, Transport

FIELDS = ["ticket", "run_id", "thread_id"]

MIXED: list[dict[str, Any]] = [
    {"ticket": "T-1", "run_id": "run-1", "thread_id": "thr-1", "event_type": "forum.thread.opened"},
    {"ticket": "T-2", "run_id": "run-1", "event_type": "forum.threads"},
    {"ticket": "t-1", "run_id": "RUN-2", "thread_id": "Thr-1", "event_type": "forum.thread"},
    {"ticket": "T-11", "thread_id": "thr-2", "event_type": "forum.thread.closed"},
    {"ticket": "T-3", "run_id": "run-3", "event_type": "forum"},
    {"ticket": "T-1 ", "run_id": "run-1", "event_type": "deploy.forum.thread"},
]

CASES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [1, 2, 3, 4, 5, 6]),
    ({"ticket": "T-1"}, [1, 3, 6]),
    ({"ticket": "t-1"}, [1, 3, 6]),
    ({"ticket": "  T-1 "}, [1, 3, 6]),
    ({"ticket": ["T-1", "T-2"]}, [1, 2, 3, 6]),
    ({"ticket": ["T-3", "t-3", "nothing"]}, [5]),
    ({"ticket": "nothing"}, []),
    ({"run_id": "RUN-1"}, [1, 2, 6]),
    ({"run_id": ["run-2", "run-3"]}, [3, 5]),
    ({"thread_id": "THR-1"}, [1, 3]),
    ({"ticket": "T-1", "run_id": "run-1"}, [1, 6]),
    ({"ticket": "T-1", "run_id": "run-1", "thread_id": "thr-1"}, [1]),
    ({"type": "forum.thread"}, [1, 3, 4]),
    ({"type": " FORUM.Thread "}, [1, 3, 4]),
    ({"event_type": "forum.thread"}, [1, 3, 4]),
    ({"type": "forum.thread.opened"}, [1]),
    ({"type": "forum.threads"}, [2]),
    ({"type": "forum"}, [1, 2, 3, 4, 5]),
    ({"type": "forum.t"}, []),
    ({"type": ["deploy", "forum.threads"]}, [2, 6]),
    ({"type": "deploy", "event_type": "forum.threads"}, [2, 6]),
    ({"ticket": "T-1", "type": "forum.thread.opened"}, [1]),
    ({"ticket": "T-1", "colour": "red", "_": "123"}, [1, 3, 6]),
]


@pytest.fixture(scope="module")
def mixed(shared_board: Board) -> Board:
    """A log with one event each of several kinds."""
    shared_board.publish(*MIXED)
    return shared_board


@pytest.mark.parametrize(("params", "expected"), CASES)
def test_a_page_keeps_what_matches(mixed: Board, params: dict[str, Any], expected: list[int]) -> None:
    """Values of one parameter are alternatives, parameters add up; case and blanks around don't count, types keep what is below."""
    assert mixed.sequences(**params) == expected


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("params", "expected"), CASES)
def test_a_stream_keeps_what_matches(
    mixed: Board, transport: Transport, params: dict[str, Any], expected: list[int]
) -> None:
    """A stream has the filters of a page."""
    reader = mixed.live(transport, cursor="earliest", **params)
    assert [event["sequence"] for event in reader.events] == expected


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_live_events_are_filtered_as_history_is(open_board: OpenBoard, transport: Transport) -> None:
    """Each live stream gets what a page with its filter gets later."""
    board = open_board()
    readers = [(board.live(transport, **params), expected) for params, expected in CASES if expected]
    board.publish(*MIXED)
    for reader, expected in readers:
        assert [event["sequence"] for event in reader.take(len(expected))] == expected
    board.publish(*({**draft, "event_type": f"{draft['event_type']}.again"} for draft in MIXED))
    for reader, expected in readers:
        assert [event["sequence"] - len(MIXED) for event in reader.take(len(expected))] == expected


def test_case_is_ignored_beyond_ascii(board: Board) -> None:
    """Letters of other alphabets have cases too."""
    board.publish({"ticket": "ÄRGER-Ω"})
    assert board.sequences(ticket="ärger-ω") == [1]


@pytest.mark.parametrize("name", [*FIELDS, "type", "event_type"])
@pytest.mark.parametrize("transport", ["page", "sse", "websocket"])
def test_32_values_pass_and_33_do_not(mixed: Board, transport: str, name: str) -> None:
    """A parameter may be repeated 32 times; at 33 the request is refused by name."""
    path = "/events" if transport == "page" else "/stream"
    values: Any = [f"x-{n}" for n in range(33)]
    answer = mixed.get(path, **{name: values})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_filter"
    assert "type" in answer.json()["error"]["message"] if "type" in name else name in answer.json()["error"]["message"]
    if transport == "page":
        assert mixed.page(**{name: values[:32]})["events"] == []
    else:
        mixed.live("sse" if transport == "sse" else "websocket", **{name: values[:32]})


def test_type_and_event_type_count_together(mixed: Board) -> None:
    """They are one parameter: 16 of the one and 17 of the other are too many."""
    values = [f"x{n}" for n in range(17)]
    assert mixed.get(type=values[:16], event_type=values[:16]).status_code == 200
    assert mixed.get(type=values[:16], event_type=values).status_code == 400


@pytest.mark.parametrize("name", [*FIELDS, "type", "event_type"])
@pytest.mark.parametrize("value", ["", " ", "\t"])
@pytest.mark.parametrize("path", ["/events", "/stream"])
def test_a_blank_value_is_an_error(mixed: Board, path: str, name: str, value: str) -> None:
    """A blank filter is a mistake of the client, never 'everything'."""
    both: list[Any] = [value, ["x", value]]
    for values in both:
        answer = mixed.get(path, **{name: values})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_filter"


@pytest.mark.parametrize(
    "query", ["ticket=%ff%fe", "ticket=%00", "ticket=" + "x" * 5000, "ticket=%", "%ff=1", "ticket=%ed%a0%80"]
)
def test_a_query_that_is_garbage_is_no_server_error(mixed: Board, query: str) -> None:
    """Whatever stands in a query, it matches nothing or is refused."""
    answer = mixed.host.http.get(f"{mixed.url}/events?{query}")
    assert answer.status_code in (200, 400)
    if query.startswith("ticket") and answer.status_code == 200:
        assert answer.json()["events"] == []


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "1.5", "1e2", "10 0", "9" * 5000])
@pytest.mark.parametrize("path", ["/events", "/stream"])
def test_a_limit_that_is_off_is_refused(mixed: Board, path: str, limit: str) -> None:
    """`limit` is an integer from 1 to 1000; the message says so, and what it got."""
    error = mixed.get(path, limit=limit)
    assert error.status_code == 400
    assert error.json()["error"]["code"] == "invalid_limit"
    for part in ("limit", "1000", limit[:20]):
        assert part in error.json()["error"]["message"]


@pytest.mark.parametrize(("limit", "expected"), [(None, 100), (1, 1), (999, 999), (1000, 1000)])
def test_limit_bounds_a_page(board: Board, limit: int | None, expected: int) -> None:
    """A page holds at most `limit` events, 100 by default."""
    board.fill(1001)
    page = board.page(**({} if limit is None else {"limit": limit}))
    assert [event["sequence"] for event in page["events"]] == list(range(1, expected + 1))
    assert page["has_more"] is True


@pytest.mark.parametrize(("limit", "most"), [(None, 100), (1, 1), (7, 7), (1000, 1000)])
@pytest.mark.parametrize("transport", ["websocket", "socket"])
def test_limit_bounds_a_frame_but_never_the_stream(
    board: Board, transport: Transport, limit: int | None, most: int
) -> None:
    """Frames hold at most `limit` events; all events come, and live ones after them."""
    board.fill(1100)
    reader = board.live(transport, cursor="earliest", limit=limit)
    board.fill(300)
    reader.take(300)
    assert [event["sequence"] for event in reader.events] == list(range(1, 1401))
    sizes = [len(frame["events"]) for frame in reader.of("forum.events")]
    assert 1 <= min(sizes) <= max(sizes) <= most
    assert max(sizes) == most or most == 1000


def test_limit_does_not_end_an_sse_stream(board: Board) -> None:
    """With `limit=1` every event of history and of the present comes over SSE."""
    board.fill(50)
    reader = board.live("sse", cursor="earliest", limit=1)
    board.fill(50)
    reader.take(50)
    assert [event["sequence"] for event in reader.events] == list(range(1, 101))


def test_a_plus_sign_in_a_query_is_a_blank(board: Board) -> None:
    """Queries are form-encoded: `+` and `%20` are blanks, `%2B` is a plus."""
    board.publish({"ticket": "a+b"}, {"ticket": "a b"})
    for written, meant in (("a+b", "a b"), ("a%20b", "a b"), (quote("a+b"), "a+b")):
        events = board.host.http.get(f"{board.url}/events?ticket={written}").json()["events"]
        assert {event["envelope"]["ticket"] for event in events} == {meant}
