"""The embedded source: a log in this process, gone with it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import anyio

from asgi_forum.cursor import Cursor, CursorKey
from asgi_forum.entries import Entry, StoredEvent
from asgi_forum.errors import ConfigurationError, EventIdConflict
from asgi_forum.models import Keys
from asgi_forum.sources.base import LiveSource, NearSource, Page, Receipt, WritableSource
from asgi_forum.sources.registry import SourceOptions
from asgi_forum.sources.remembered import Remembered, Trace

__all__ = ["MemorySource"]

_FOLLOW_PAGE = 1000

_LOOK = 60.0
"""Seconds at most between two looks at what is too old; a tenth of `retain_for` where that is shorter."""


_BLANK = StoredEvent(0, "", b"", Keys.of("", None, None, ""))
"""What stands where an event was that is not retained any more."""

_STRIDE = 4096
"""Blanks that go from the list at once: each alone would cost as much as moving all that stands behind it."""


class MemorySource:
    """
    A log of the newest `retain` events in memory: live, writable, and never away. Its epoch lasts as long as the object.

    With `retain_for`, an event is gone that many seconds after it was published, however few there are; a live stream hears of it
    at most a tenth of that later, or a minute.

    `event_id`s are remembered while their event is retained, and for `remember` seconds after.
    """

    kind = "memory"

    def __init__(
        self,
        *,
        retain: int = 100_000,
        retain_for: float | None = None,
        remember: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        SourceOptions("default", retain, retain_for)
        self._retain = retain
        self._retain_for = retain_for
        self._arrivals: deque[tuple[float, int]] = deque()
        self._clock = clock
        self._key = CursorKey.fresh()
        # In order, so that a page is a slice. The first has the number after `_gone`; those that are not retained are blank.
        self._events: list[StoredEvent] = []
        self._gone = 0
        self._ids: dict[str, int] = {}
        self._order: dict[int, str] = {}
        self._remembered = Remembered(remember, now=clock())
        self._start = self._end = self._key.bare(0)
        self._followers: list[Callable[[Page], None]] = []

    @classmethod
    def from_url(cls, url: str, options: SourceOptions) -> MemorySource:
        """Make the source of `memory://`; there is nothing else to say in its URL."""
        if url != "memory://":
            raise ConfigurationError(f"source: got {url!r}, expected 'memory://' and no more")
        return cls(retain=options.retain, retain_for=options.retain_for)

    async def open(self) -> None:
        """Nothing to do: the log lives as long as this object."""

    async def close(self) -> None:
        """Nothing to let go of; the log stays, for the next `open`."""

    async def read(self, after: int, limit: int) -> Page:
        """Return the entries after a sequence."""
        return self.read_nowait(after, limit)

    def read_nowait(self, after: int, limit: int) -> Page:
        """Return the entries after a sequence."""
        self._trim()
        return self._page(after, limit)

    async def read_before(self, before: int, limit: int) -> Page:
        """Return the last entries up to a sequence."""
        self._trim()
        last = min(before, self._end.sequence)
        after = max(last - limit, self._start.sequence, 0)
        page = self._page(after, max(last - after, 0))
        return Page(page.start, page.end, page.anchor, page.events, self._position(after))

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Append entries, all or none, and hand them to the followers before this returns."""
        known = self._known(entries)
        before = self._end
        receipts: list[Receipt] = []
        added: list[StoredEvent] = []
        for entry in entries:
            found = known.get(entry.event_id)
            if found is not None:
                receipts.append(Receipt(entry.event_id, found.sequence, found.cursor, duplicate=True))
                continue
            event = known[entry.event_id] = self._append(entry)
            added.append(event)
            receipts.append(Receipt(entry.event_id, event.sequence, event.cursor))
        if added and self._retain_for is not None:
            self._arrivals.append((self._clock(), self._end.sequence))
        self._trim()
        if added:
            page = Page(self._start, self._end, str(before), added, self._end)
            for deliver in tuple(self._followers):
                deliver(page)
        return receipts

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """Deliver what came after a position, then each batch as it is published."""
        while True:
            page = self._page(after.sequence, _FOLLOW_PAGE)
            told = page.start
            deliver(page)
            if page.position == page.end:
                break
            after = page.position
        self._followers.append(deliver)
        try:
            while self._retain_for is not None:
                await anyio.sleep(min(self._retain_for / 10, _LOOK))
                self._trim()
                if self._start != told:
                    told = self._start
                    deliver(self._page(self._end.sequence, 0))  # nothing new: only where the log now begins
            await anyio.sleep_forever()
        finally:
            self._followers.remove(deliver)

    def _known(self, entries: Sequence[Entry]) -> dict[str, StoredEvent | Trace]:
        """Find the entries whose id is there already; EventIdConflict where one has other content."""
        known: dict[str, StoredEvent | Trace] = {}
        here: dict[str, Entry] = {}
        for index, entry in enumerate(entries):
            event_id = entry.event_id
            sequence = self._ids.get(event_id)
            found = self._remembered.get(event_id) if sequence is None else self._at(sequence)
            fields: Sequence[str] = ()
            if found is not None:
                known[event_id] = found
                fields = found.conflicts(entry) if isinstance(found, Trace) else entry.conflicts(found)
            elif event_id in here:
                fields = entry.conflicts(StoredEvent.stored(here[event_id], 0, ""))
            else:
                here[event_id] = entry
            if fields:
                raise EventIdConflict(event_id, fields, index)
        return known

    def _append(self, entry: Entry) -> StoredEvent:
        sequence = self._end.sequence + 1
        self._end = self._key.cursor(sequence, entry.body)
        event = StoredEvent.stored(entry, sequence, str(self._end))
        self._events.append(event)
        self._ids[entry.event_id] = sequence
        self._order[sequence] = entry.event_id
        return event

    def _trim(self) -> None:
        now = self._clock()
        gone = 0
        while self._retain_for is not None and self._arrivals and now - self._arrivals[0][0] >= self._retain_for:
            gone = self._arrivals.popleft()[1]
        gone = max(gone, self._end.sequence - self._retain)
        if self._start.sequence >= gone:
            return
        for sequence in range(self._start.sequence + 1, gone + 1):
            event_id = self._order.pop(sequence)
            del self._ids[event_id]
            index = sequence - self._gone - 1
            self._remembered.add(event_id, self._events[index], now=now)
            self._events[index] = _BLANK
        self._start = self._key.bare(gone)
        if (blanks := gone - self._gone) > _STRIDE:
            del self._events[:blanks]
            self._gone = gone

    def _page(self, after: int, limit: int) -> Page:
        first = max(after, self._start.sequence) + 1
        last = min(first + limit - 1, self._end.sequence)
        events = self._events[first - self._gone - 1 : max(last, first - 1) - self._gone]
        asked = self._at(after)
        reached = self._position(last if events else min(after, self._end.sequence))
        return Page(self._start, self._end, asked.cursor if asked else None, events, reached)

    def _at(self, sequence: int) -> StoredEvent | None:
        """Return a retained event; None where there is none."""
        if self._start.sequence < sequence <= self._end.sequence:
            return self._events[sequence - self._gone - 1]
        return None

    def _position(self, sequence: int) -> Cursor:
        if sequence == self._end.sequence:
            return self._end
        event = self._at(sequence)
        return event.position if event else self._key.bare(sequence)


if TYPE_CHECKING:  # held against the Protocols here, not at some distant call
    _live: type[LiveSource] = MemorySource
    _near: type[NearSource] = MemorySource
    _writable: type[WritableSource] = MemorySource
