"""Reads of the source, shared: a thousand clients that come back to one position must not mean a thousand reads."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from operator import attrgetter

import anyio
import anyio.abc

from asgi_forum.cursor import UNCHECKED, Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ForumError, SourceUnavailable
from asgi_forum.logs import EventLogger, event_logger
from asgi_forum.sources.base import EventSource, NearSource, Page

__all__ = ["BLOCK", "Read", "SharedReads", "cut"]

logger: EventLogger = event_logger("asgi_forum.reads")

BLOCK = 300
"""
Entries of one shared read: readers that stand close to each other, or take little at a time, are served by the same one. Three frames of
the usual size.
"""

_KEPT = 16
_FRESH = 1.0
"""How many blocks of history are kept at most, and for how many seconds: what is being read by many is read once."""

_ENDS = 256
"""Blocks whose end is remembered: one of large entries is shorter than others, and who has come to its end needs it no more."""

_Key = tuple[str, int, int]
_sequence = attrgetter("sequence")


def cut(page: Page, asked: int, after: int, limit: int) -> Page | None:
    """
    Return the part of a page that begins after a sequence, as if it had been asked for; None where the page can't tell.

    `asked` is the sequence that the page itself was asked for, `after` lies there or later. A page knows no anchor for an entry
    that could not be decoded.
    """
    if after == asked:
        anchor, first = page.anchor, 0
    else:
        first = bisect_right(page.events, after, key=_sequence)
        if after <= page.start.sequence:
            anchor = None
        elif first and page.events[first - 1].sequence == after:
            anchor = page.events[first - 1].cursor
        elif after == page.position.sequence:
            anchor = None if page.position.check == UNCHECKED else str(page.position)
        else:
            return None
    events: Sequence[StoredEvent] = page.events[first : first + limit]
    whole = first + len(events) == len(page.events)
    position = page.position if whole else events[-1].position
    return replace(page, anchor=anchor, events=events, position=position)


class Read:
    """One read, asked for by any number of readers. Waiting for it may be cancelled, and taken up again: the read goes on."""

    __slots__ = ("_done", "_error", "_page")

    def __init__(self) -> None:
        self._done = anyio.Event()
        self._page: Page | None = None
        self._error: ForumError | None = None

    async def page(self) -> Page:
        """Wait for the answer. Raises what the source raised."""
        await self._done.wait()
        if self._page is None:
            raise self._error or SourceUnavailable()
        return self._page

    def fail(self, error: ForumError) -> None:
        """Answer with an error; who has an answer keeps it."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    async def run(self, read: Callable[[], Awaitable[Page]]) -> Page | None:
        """Read, tell all who wait, and return the answer if there is one."""
        try:
            self._page = await read()
        except ForumError as error:
            self._error = error
        except Exception:
            logger.exception("asgi_forum.read_failed")
            self._error = SourceUnavailable("the source failed; the server's log has the cause")
        finally:
            self._done.set()
        return self._page


class SharedReads:
    """
    The reads that are under way, by what they ask for.

    A read that has begun is too old for who asks now: it may have missed what was just published. So for each position there is at
    most one that runs, and one that waits for it to end and serves all who asked meanwhile.

    History does not change, so a block of it that was just read serves whoever comes to it next, for a moment: many readers
    that catch up read, decode and encode it once, and one that takes a single event at a time does not cost a read for each. What
    is kept so is bounded by `kept_bytes`, but for the newest block.

    At most `most` run at once; further ones wait for their turn, in order, and serve all who ask for the same meanwhile.

    count: how many were begun. delayed: how many had to wait for their turn.
    """

    def __init__(self, source: EventSource, most: int, kept_bytes: int) -> None:
        self.count: int = 0
        self.delayed: int = 0
        self._source = source
        self._near = source if isinstance(source, NearSource) else None
        self._turns = anyio.CapacityLimiter(most)
        self._tasks: anyio.abc.TaskGroup | None = None
        self._running: set[_Key] = set()
        self._waiting: dict[_Key, Read] = {}
        self._open: set[Read] = set()
        self._blocks: OrderedDict[int, tuple[float, Page, int]] = OrderedDict()
        self._size = 0
        self._kept_bytes = kept_bytes
        self._ends: OrderedDict[int, int] = OrderedDict()

    @property
    def under_way(self) -> int:
        """How many run, or wait for their turn."""
        return len(self._running)

    def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Say whose tasks the reads are."""
        self._tasks = tasks

    def close(self) -> None:
        """Begin no more, and end those that nobody will answer any more: their tasks are gone."""
        self._tasks = None
        for read in tuple(self._open):
            read.fail(SourceUnavailable("the forum is stopping"))

    def read(self, after: int, limit: int) -> Read:
        """Ask for the page after a sequence, as it is from now on."""
        return self._ask(("after", after, limit))

    def read_before(self, before: int, limit: int) -> Read:
        """Ask for the page up to a sequence."""
        return self._ask(("before", before, limit))

    def at_once(self, position: Cursor, limit: int) -> Page | None:
        """Return what follows a position where that needs no waiting: out of this process, or of a block that was just read."""
        if self._near is None:
            return self.recent(position, limit)
        self.count += 1
        return self._near.read_nowait(position.sequence, limit)

    def recent(self, position: Cursor, limit: int, *, now: float | None = None) -> Page | None:
        """Return what follows a position in a block of history that was read a moment ago, if there is one (`now`: the loop's time)."""
        found = self._fresh(position, now or anyio.current_time())
        if found is None:
            return None
        page = cut(found[1], found[0], position.sequence, limit)
        if page is None or (page.anchor is not None and not position.checked):
            return None  # the position was told when its entry was gone, which the block still has: the block is the older one
        # What lies at the log's end has to be looked at anew each time: there may be more by now.
        past = page.position.sequence <= position.sequence or page.position.sequence >= page.end.sequence
        return None if past else page

    def block(self, sequence: int) -> int:
        """Where the block begins that has what follows a sequence: there itself, if the common one is known to end before it."""
        common = sequence - sequence % BLOCK
        return sequence if self._ends.get(common, sequence + 1) <= sequence else common

    def _fresh(self, position: Cursor, now: float) -> tuple[int, Page] | None:
        """Find a block that has something behind a position, and where it begins: with large entries that may be anywhere."""
        for block, (read_at, page, _) in reversed(self._blocks.items()):
            covers = block <= position.sequence < page.position.sequence and page.epoch == position.epoch
            if covers and now - read_at <= _FRESH:
                return block, page
        return None

    def _ask(self, key: _Key) -> Read:
        if (waiting := self._waiting.get(key)) is not None:
            return waiting
        if self._tasks is None:
            raise SourceUnavailable("the forum is starting")
        read = self._waiting[key] = Read()
        self._open.add(read)
        if key not in self._running:
            self._running.add(key)
            self._tasks.start_soon(self._serve, key)
        return read

    async def _serve(self, key: _Key) -> None:
        """Run what is asked for at one position, one read after the other, until nobody asks."""
        kind, sequence, limit = key
        call = self._source.read if kind == "after" else self._source.read_before
        try:
            while key in self._waiting:
                self.delayed += self._turns.available_tokens <= 0
                async with self._turns:
                    read = self._waiting.pop(key)  # when its turn has come: who has asked meanwhile is served too
                    self.count += 1
                    page = await read.run(lambda: call(sequence, limit))
                self._open.discard(read)
                if page is not None and kind == "after" and limit == BLOCK:
                    self._keep(sequence, page)
        finally:
            self._running.discard(key)

    def _keep(self, block: int, page: Page) -> None:
        # Only where the log goes on behind it: what lies at the log's end has to be looked at anew each time.
        before = self._blocks.pop(block, None)
        self._size -= before[2] if before else 0
        if page.position.sequence < page.end.sequence:
            self._ends[block] = page.position.sequence
            if len(self._ends) > _ENDS:
                self._ends.popitem(last=False)
            size = sum([len(event.sse) for event in page.events])
            self._blocks[block] = (anyio.current_time(), page, size)
            self._size += size
            while len(self._blocks) > 1 and (len(self._blocks) > _KEPT or self._size > self._kept_bytes):
                self._size -= self._blocks.popitem(last=False)[1][2]
