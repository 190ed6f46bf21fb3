"""The verdict on a starting point: every case of section 2 and 3, in one table."""

from __future__ import annotations

import pytest

from asgi_forum.cursor import EARLIEST, REPLACED, Cursor, CursorKey, Start
from asgi_forum.errors import ResetReason
from asgi_forum.hub.beginning import judge
from asgi_forum.sources import Page
from tests.events import KEY

RAW = {number: b"entry %d" % number for number in range(1, 20)}
START, END = 5, 10
"""The log here retains the entries 6 to 10."""


def own(number: int) -> Cursor:
    """The cursor of an entry of the log."""
    return KEY.cursor(number, RAW[number])


def page(asked: int, *, start: int = START, end: int = END, holes: frozenset[int] = frozenset()) -> Page:
    """The page that a source answers for a position."""
    anchor = str(own(asked)) if start < asked <= end and asked not in holes else None
    last = own(end) if start < end else KEY.bare(end)
    return Page(KEY.bare(start), last, anchor, (), last)


ROWS: list[tuple[str, Start, int, Cursor | ResetReason]] = [
    ("the earliest", EARLIEST, 0, KEY.bare(5)),
    ("what could not be read", REPLACED, 0, "replaced"),
    ("a cursor of the log", Start(cursor=own(7)), 7, own(7)),
    ("the cursor of its end", Start(cursor=own(10)), 10, own(10)),
    ("the cursor of its earliest entry", Start(cursor=own(6)), 6, own(6)),
    ("a cursor just before the earliest entry", Start(cursor=own(5)), 5, own(5)),
    ("a bare position just before it", Start(cursor=KEY.bare(5)), 5, KEY.bare(5)),
    ("a cursor before what is retained", Start(cursor=own(4)), 4, "trimmed"),
    ("a bare position before it", Start(cursor=KEY.bare(0)), 0, "trimmed"),
    ("another entry's cursor", Start(cursor=KEY.cursor(7, b"forked")), 7, "replaced"),
    ("another entry's at the end", Start(cursor=KEY.cursor(10, b"forked")), 10, "replaced"),
    ("another secret", Start(cursor=CursorKey("epoch", b"other").cursor(7, RAW[7])), 7, "replaced"),
    ("a bare position of a retained entry", Start(cursor=KEY.bare(7)), 7, "replaced"),
    ("a cursor past the end", Start(cursor=own(11)), 11, "replaced"),
    ("a cursor of another log", Start(cursor=Cursor("other", 7, own(7).check)), 7, "replaced"),
    ("a trimmed cursor of another log", Start(cursor=Cursor("other", 2)), 2, "replaced"),
    ("a number", Start(sequence=7), 7, own(7)),
    ("the number of the end", Start(sequence=10), 10, own(10)),
    ("the number just before the earliest entry", Start(sequence=5), 5, KEY.bare(5)),
    ("a number before what is retained", Start(sequence=4), 4, "trimmed"),
    ("the number 1", Start(sequence=1), 1, "trimmed"),
    ("a number past the end", Start(sequence=11), 11, "ahead"),
    ("a number far past the end", Start(sequence=10**30), 2**62, "ahead"),
]


@pytest.mark.parametrize(("start", "asked", "verdict"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_start_is_judged_by_the_page_after_it(start: Start, asked: int, verdict: Cursor | ResetReason) -> None:
    """The position that it stands for, or the reason why it can't be served."""
    assert judge(start, page(asked)) == verdict


@pytest.mark.parametrize(
    ("start", "asked", "verdict"),
    [
        (EARLIEST, 0, KEY.bare(0)),
        (Start(sequence=1), 1, "ahead"),
        (Start(cursor=own(1)), 1, "replaced"),
        (Start(cursor=KEY.bare(0)), 0, KEY.bare(0)),
        (REPLACED, 0, "replaced"),
    ],
)
def test_an_empty_log_has_a_verdict_too(start: Start, asked: int, verdict: Cursor | ResetReason) -> None:
    """`0` never causes a reset."""
    assert judge(start, page(asked, start=0, end=0)) == verdict


@pytest.mark.parametrize(
    ("start", "asked", "verdict"),
    [
        (EARLIEST, 0, KEY.bare(10)),
        (Start(cursor=own(10)), 10, own(10)),
        (Start(sequence=10), 10, KEY.bare(10)),
        (Start(cursor=own(9)), 9, "trimmed"),
        (Start(sequence=11), 11, "ahead"),
    ],
)
def test_a_log_that_retains_nothing_goes_on(start: Start, asked: int, verdict: Cursor | ResetReason) -> None:
    """A cursor at its end counts on its epoch alone: nothing after it was trimmed."""
    assert judge(start, page(asked, start=10, end=10)) == verdict


@pytest.mark.parametrize(
    ("start", "verdict"),
    [(Start(cursor=own(7)), own(7)), (Start(cursor=KEY.bare(7)), KEY.bare(7)), (Start(sequence=7), KEY.bare(7))],
)
def test_a_number_that_holds_no_event_is_a_position(start: Start, verdict: Cursor) -> None:
    """An entry in the middle that somebody deleted is no loss of what comes after it."""
    assert judge(start, page(7, holes=frozenset([7]))) == verdict
