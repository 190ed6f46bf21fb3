"""Judging pages: what one look owes by itself, and what one owes the look before it."""

from __future__ import annotations

from asgi_forum.cursor import Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.sources.base import EventSource, Page

__all__ = ["FAR", "check_after", "check_before", "continues", "everything", "ids", "sequences"]

FAR = 2**62
"""A sequence past the end of every log."""


def sequences(*pages: Page) -> list[int]:
    """Return the sequences of pages' events, in order."""
    return [event.sequence for page in pages for event in page.events]


def ids(*pages: Page) -> list[str]:
    """Return the ids of pages' events, in order."""
    return [event.envelope.event_id for page in pages for event in page.events]


def continues(page: Page, position: Cursor) -> bool:
    """Whether nothing lies between a position and a page: its anchor says so, or its start where the entry is not retained."""
    if page.epoch != position.epoch:
        return False
    if page.anchor is not None:
        return page.anchor == str(position)
    return page.start.sequence <= position.sequence <= page.position.sequence


async def everything(source: EventSource, limit: int = 1000) -> list[StoredEvent]:
    """Read a log from its start to its end, page by page."""
    found: list[StoredEvent] = []
    after = 0
    while True:
        page = await source.read(after, limit)
        check_after(page, after, limit)
        found.extend(page.events)
        after = page.position.sequence
        if after >= page.end.sequence:
            return found


def check_after(page: Page, after: int, limit: int) -> None:
    """Hold a page of `read(after, limit)` against what it owes by itself, in a log whose entries all can be decoded."""
    _check_look(page, limit)
    start, end = page.start.sequence, page.end.sequence
    first = max(after, start) + 1
    assert sequences(page) == list(range(first, first + len(page.events))), (
        "a page follows on its position, or its start"
    )
    if limit > 0 and first <= end:
        assert page.events, "a page has an event where there is one"
    reached = page.events[-1].sequence if page.events else min(after, end)
    assert page.position.sequence == reached, "a page's position is the last entry that it looked at"
    _check_anchor(page, after)


def check_before(page: Page, before: int, limit: int) -> None:
    """Hold a page of `read_before(before, limit)` against what it owes by itself, as `check_after`."""
    _check_look(page, limit)
    start, last = page.start.sequence, min(before, page.end.sequence)
    assert sequences(page) == list(range(last - len(page.events) + 1, last + 1)), "a page leads up to its position"
    if limit > 0 and last > start:
        assert page.events, "a page has an event where there is one"
    if page.events:
        assert page.position.sequence == page.events[0].sequence - 1, "its position is just before its earliest entry"
    elif last >= start:
        assert page.position.sequence == last, "a page that looked at nothing stays where it is"
    else:
        assert page.position.sequence <= start, "a page before the start has nothing behind it"


def _check_look(page: Page, limit: int) -> None:
    start, end = page.start, page.end
    assert {start.epoch, end.epoch, page.position.epoch} == {page.epoch}, "a page is of one log"
    assert start.sequence <= end.sequence, "a log's start is not behind its end"
    assert len(page.events) <= limit
    for event in page.events:
        _check_event(event, page.epoch)
        assert start.sequence < event.sequence <= end.sequence, "an event lies between the log's ends"
        if event.sequence == page.position.sequence:
            assert event.cursor == str(page.position), "the position at an event is the event's cursor"
        if event.sequence == end.sequence:
            assert event.cursor == str(end), "the position of the end is the last event's cursor"
    if page.position.sequence == end.sequence:
        assert page.position == end, "one position has one cursor"


def _check_event(event: StoredEvent, epoch: str) -> None:
    cursor = Cursor.parse(event.cursor)
    assert (cursor.epoch, cursor.sequence) == (epoch, event.sequence), "a cursor names its log and its place"
    again = StoredEvent.from_json(event.json)
    assert (again.sequence, again.cursor) == (event.sequence, event.cursor), (
        "an event's JSON says the same as the event"
    )
    assert again.keys == event.keys, "filters see the event that its JSON holds"


def _check_anchor(page: Page, asked: int) -> None:
    retained = page.start.sequence < asked <= page.end.sequence
    assert (page.anchor is not None) == retained, "a page has an anchor where the entry asked for is retained"
    if page.anchor is not None:
        anchor = Cursor.parse(page.anchor)
        assert (anchor.epoch, anchor.sequence) == (page.epoch, asked), "the anchor is the cursor of the entry asked for"
        if page.position.sequence == asked:
            assert page.anchor == str(page.position), "one position has one cursor"
