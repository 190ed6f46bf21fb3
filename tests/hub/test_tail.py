"""The tail: bounded in bytes, complete from its start to its end, whatever numbers the log has no event for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_forum.cursor import Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.filters import Filter
from asgi_forum.hub.tail import Tail, cost
from tests.events import KEY, sequences, stored

EMPTY = Cursor("epoch", 0)
EACH = cost(stored(1))
"""What one of the events here counts."""


def at(event: StoredEvent) -> Cursor:
    """The position just after an event."""
    return Cursor.parse(event.cursor)


def filled(numbers: Sequence[int], *, room: int = 10**9, start: Cursor = EMPTY, end: Cursor | None = None) -> Tail:
    """A tail that got events of these numbers, one by one, and the events that it let go in `dropped`."""
    tail = Tail(room, lambda event: None)
    tail.restart(start)
    for number in numbers:
        event = stored(number)
        tail.extend([event], at(event))
    if end is not None:
        tail.extend([], end)
    return tail


def test_a_tail_knows_nothing_before_the_first_contact() -> None:
    """It has no start and no end, covers nothing and names nothing."""
    tail = Tail(10**9, lambda event: None)
    assert (tail.start, tail.end, tail.size) == (None, None, 0)
    assert not tail.covers(EMPTY)
    assert not tail.knows(EMPTY)
    assert tail.scan(0, 10, 10) == []


def test_a_tail_begins_at_a_position() -> None:
    """From there on it is complete, and it holds nothing yet."""
    tail = filled([], start=KEY.bare(5))
    assert tail.start == tail.end == KEY.bare(5)
    assert tail.covers(KEY.bare(5))
    assert not tail.covers(KEY.bare(4))
    assert tail.scan(0, 10, 10) == []


def test_a_tail_ends_where_the_last_page_did() -> None:
    """The end moves with what was looked at, events or not."""
    tail = filled([1, 2, 3])
    assert (tail.start, tail.end) == (EMPTY, at(stored_at(tail, 3)))
    tail.extend([], KEY.bare(7))
    assert tail.end == KEY.bare(7)
    assert sequences(tail.scan(0, 7, 10)) == [1, 2, 3]


def stored_at(tail: Tail, number: int) -> StoredEvent:
    """The event of this number."""
    (event,) = tail.scan(number - 1, number, 1)
    return event


def test_the_oldest_go_where_the_bound_is_reached() -> None:
    """Just as many bytes stay as it has room for; the start moves past what went, and who went is told."""
    gone: list[StoredEvent] = []
    tail = Tail(3 * EACH, gone.append)
    tail.restart(EMPTY)
    events = [stored(number) for number in range(1, 6)]
    tail.extend(events[:3], at(events[2]))
    assert gone == []
    tail.extend(events[3:], at(events[4]))
    assert sequences(gone) == [1, 2]
    assert tail.size == 3 * EACH
    assert tail.start == at(events[1])
    assert sequences(tail.scan(0, 5, 10)) == [3, 4, 5]


def test_the_newest_event_stays_however_large() -> None:
    """One event over the bound would be no tail at all: it is kept until the next comes."""
    tail = filled([1, 2, 3], room=1)
    assert sequences(tail.scan(0, 3, 10)) == [3]
    assert tail.size == EACH


def test_a_tail_that_begins_anew_has_forgotten() -> None:
    """Nothing of the old log remains."""
    tail = filled([1, 2, 3])
    other = Cursor("other", 0)
    tail.restart(other)
    assert (tail.start, tail.end, tail.size) == (other, other, 0)
    assert tail.scan(0, 3, 10) == []
    assert not tail.covers(EMPTY)


@pytest.mark.parametrize(
    ("position", "covered"),
    [(KEY.bare(4), False), (KEY.bare(5), True), (KEY.bare(6), True), (KEY.bare(99), True), (Cursor("other", 6), False)],
)
def test_a_position_is_covered_from_the_start_on(position: Cursor, covered: bool) -> None:
    """All that follows it, as far as this process knows, lies in the tail; a position past the end has nothing after it."""
    assert filled([6, 8], start=KEY.bare(5)).covers(position) is covered


def test_a_cursor_of_the_tails_own_is_known() -> None:
    """Its start, its end and its events; not a number without an event, not another check, not another log."""
    tail = filled([6, 8], start=KEY.bare(5), end=KEY.bare(9))
    event = stored_at(tail, 6)
    assert all(tail.knows(each) for each in (KEY.bare(5), at(event), KEY.bare(9)))
    assert not any(
        tail.knows(each)
        for each in (
            KEY.bare(6),
            KEY.bare(7),
            KEY.bare(10),
            Cursor("epoch", 6, "forged"),
            Cursor("other", 9),
            KEY.bare(4),
        )
    )


def test_what_the_log_retains_no_more_is_not_known() -> None:
    """The tail may hold more than the log: who comes back is judged by the log."""
    tail = filled([6, 7, 8], start=KEY.bare(5))
    tail.retained = 7
    assert not tail.knows(at(stored_at(tail, 6)))
    assert tail.knows(at(stored_at(tail, 7)))
    assert tail.knows(at(stored_at(tail, 8)))


@pytest.mark.parametrize(
    ("after", "through", "limit", "found"),
    [
        (5, 12, 10, [6, 8, 9, 12]),
        (6, 12, 10, [8, 9, 12]),
        (7, 12, 10, [8, 9, 12]),
        (5, 9, 10, [6, 8, 9]),
        (5, 7, 10, [6]),
        (5, 12, 2, [6, 8]),
        (9, 9, 10, []),
        (9, 11, 10, []),
        (12, 99, 10, []),
    ],
)
def test_a_scan_passes_over_holes(after: int, through: int, limit: int, found: list[int]) -> None:
    """Events after one number, up to and including another, oldest first; numbers without an event count nothing."""
    assert sequences(filled([6, 8, 9, 12], start=KEY.bare(5)).scan(after, through, limit)) == found


NUMBERS = st.lists(st.integers(1, 5), min_size=1, max_size=30).map(
    lambda steps: [sum(steps[: index + 1]) for index in range(len(steps))]
)


@given(NUMBERS, st.integers(1, 12), st.data())
def test_a_tail_is_complete_from_its_start_to_its_end(numbers: list[int], room: int, data: st.DataObject) -> None:
    """Whatever holes the numbering has and whatever had to go: what lies between two positions of the tail is all there is."""
    tail = filled(numbers, room=room * EACH)
    assert tail.start is not None
    assert tail.end is not None
    kept = tail.scan(tail.start.sequence, tail.end.sequence, 100)
    assert tail.size == sum(map(cost, kept))
    assert tail.size <= room * EACH or len(kept) == 1
    after = data.draw(st.integers(tail.start.sequence, tail.end.sequence))
    through = data.draw(st.integers(after, tail.end.sequence))
    expected = [number for number in numbers if after < number <= through]
    assert tail.covers(KEY.bare(after))
    assert sequences(tail.scan(after, through, 100)) == expected
    assert sequences(tail.scan(after, through, 2)) == expected[:2]


FILTERS = [
    Filter.of(ticket="a"),
    Filter.of(ticket=["A", "b", "nowhere"]),
    Filter.of(run_id="r"),
    Filter.of(thread_id=["h", "i"], ticket="a"),
    Filter.of(ticket="nowhere"),
    Filter.of().narrow(ticket=["a", "B"]),
    Filter.of(run_id="r").narrow(thread_id="h"),
    Filter.of().narrow(ticket=[]),
    Filter.of(event_type="forum"),
]
KINDS = st.tuples(
    st.sampled_from(["a", "A", "b", "B"]), st.sampled_from([None, "r", "s"]), st.sampled_from([None, "h"])
)


@given(st.lists(KINDS, max_size=40), st.integers(1, 20), st.sampled_from(FILTERS), st.data())
def test_a_scan_for_a_filter_finds_all_that_match(
    kinds: list[tuple[str, str | None, str | None]], room: int, keep: Filter, data: st.DataObject
) -> None:
    """In order, none left out, also where older events had to go; what it finds beside them does no harm."""
    events = [
        stored(number, ticket=ticket, run_id=run_id, thread_id=thread_id)
        for number, (ticket, run_id, thread_id) in enumerate(kinds, 1)
    ]
    tail = Tail(room * EACH, lambda event: None)
    tail.restart(EMPTY)
    for event in events:
        tail.extend([event], at(event))
    assert tail.start is not None
    after = data.draw(st.integers(tail.start.sequence, len(events)))
    through = data.draw(st.integers(after, len(events)))
    expected = [event.sequence for event in events[after:through] if keep.matches(event.keys)]
    found = tail.scan(after, through, 100, keep)
    assert [event.sequence for event in found if keep.matches(event.keys)] == expected
    assert sequences(found) == sorted(set(sequences(found)) & set(range(after + 1, through + 1)))
    assert tail.scan(after, through, 3, keep) == found[:3]
    tail.restart(at(events[-1]) if events else EMPTY)
    assert tail.scan(0, 100, 100, keep) == []
