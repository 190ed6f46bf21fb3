"""Sources that fail when a test says so, around a log in memory that goes on without the forum, as a server would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from asgi_forum.cursor import Cursor
from asgi_forum.entries import Entry
from asgi_forum.errors import SourceUnavailable
from asgi_forum.models import ForumEvent, Receipt
from asgi_forum.sources import MemorySource
from asgi_forum.sources.base import EventSource, LiveSource, NearSource, Page, WritableSource

__all__ = ["DistantSource", "HalfNearSource", "HistorySource"]


class DistantSource:
    """
    A log behind a network that can fail. All calls belong to the server's event loop.

    away: nothing can be reached. Publishing then fails before the log has seen the events.
    deaf: publishing reaches the log, but its answer is lost.
    mute: reads are not answered, until it speaks again.
    bug: what every read, and the live feed, raises; a source of somebody else's may have one.
    hidden: sequences of entries that can't be decoded.
    latency: seconds that a read takes; laps: turns of the event loop that it takes at least, there and back.
    """

    kind = "distant"

    def __init__(
        self, log: MemorySource | None = None, *, away: bool = False, latency: float = 0.0, laps: int = 1
    ) -> None:
        """Begin within reach, or `away`; several may stand before one log, as the processes of one server do."""
        self.log = log or MemorySource()
        self.away = away
        self.deaf = False
        self.bug: Exception | None = None
        self.hidden: set[int] = set()
        self.latency = latency
        self.laps = laps
        self.reads = 0
        self._speaks = anyio.Event()
        self._speaks.set()
        self._flows = anyio.Event()
        self._flows.set()
        self._cut: anyio.Event | None = None
        self._held: list[Page] = []

    def leave(self) -> None:
        """Be out of reach from now on; what is under way fails."""
        self.away = True
        self.cut()

    def come_back(self) -> None:
        """Be within reach again."""
        self.away = False

    def cut(self) -> None:
        """Break the live feed off, once."""
        if self._cut is not None:
            self._cut.set()

    def fall_mute(self) -> None:
        """Answer no reads from now on."""
        if self._speaks.is_set():
            self._speaks = anyio.Event()

    def speak(self) -> None:
        """Answer reads again, those that wait as well."""
        self._speaks.set()

    def hold_back(self) -> None:
        """Let the live feed lag from now on: what is appended is not delivered."""
        if self._flows.is_set():
            self._flows = anyio.Event()

    def let_flow(self) -> None:
        """Deliver what the live feed has held back."""
        self._flows.set()

    def lose(self) -> None:
        """Never deliver what the live feed has for the hub at present: its next page will not continue the one before."""
        self._held.clear()

    def replace(self, log: MemorySource | None = None) -> None:
        """Another log is there from now on, an empty one if no other is given."""
        self.log = log or MemorySource()
        self.cut()

    async def append(self, *drafts: ForumEvent) -> list[Receipt]:
        """Publish as another process does, whether this one is cut off or not."""
        return await self.log.publish([Entry.of(draft) for draft in drafts])

    async def open(self) -> None:
        """Connect."""
        await self._reach()

    async def close(self) -> None:
        """Let go."""

    async def read(self, after: int, limit: int) -> Page:
        """Read, if it can be reached."""
        await self._reach()
        return await self._bring(await self.log.read(after, limit))

    async def read_before(self, before: int, limit: int) -> Page:
        """Read backwards, if it can be reached."""
        await self._reach()
        return await self._bring(await self.log.read_before(before, limit))

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Publish, if it can be reached, and answer, if the answer is not lost."""
        ids = [entry.event_id for entry in entries]
        if self.away:
            raise SourceUnavailable(outcome="not_published", event_ids=ids)
        receipts = await self.log.publish(entries)
        if self.deaf:
            raise SourceUnavailable(outcome="unknown", event_ids=ids)
        return receipts

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """Follow, until it can't be reached any more."""
        await self._reach()
        cut = self._cut = anyio.Event()
        held, fresh = list[Page](), anyio.Event()
        self._held = []  # the first page is not lost: it says that the feed is there

        def hold(page: Page) -> None:
            held.append(self._decoded(page))
            fresh.set()

        async def pass_on() -> None:
            nonlocal fresh
            while True:
                await fresh.wait()
                await self._flows.wait()
                fresh = anyio.Event()
                while held:
                    deliver(held.pop(0))
                    self._held = held

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.log.follow, after, hold)
            tasks.start_soon(pass_on)
            await cut.wait()
            tasks.cancel_scope.cancel()
        if self.bug is not None:
            raise self.bug
        raise SourceUnavailable

    async def _reach(self) -> None:
        self.reads += 1
        await self._speaks.wait()
        for _ in range(self.laps):
            await anyio.lowlevel.checkpoint()
        await anyio.sleep(self.latency)
        if self.bug is not None:
            raise self.bug
        if self.away:
            raise SourceUnavailable

    async def _bring(self, page: Page) -> Page:
        """Let the answer travel: the log may have gone on when it arrives."""
        for _ in range(self.laps):
            await anyio.lowlevel.checkpoint()
        return self._decoded(page)

    def _decoded(self, page: Page) -> Page:
        return replace(page, events=[event for event in page.events if event.sequence not in self.hidden])


class HalfNearSource(DistantSource):
    """The same, but for who catches up: to him the log is at hand, whatever the network does."""

    def read_nowait(self, after: int, limit: int) -> Page:
        """Read at once."""
        return self._decoded(self.log.read_nowait(after, limit))


class HistorySource:
    """A log that can be read and nothing else: no publishing, no live feed."""

    kind = "history"

    def __init__(self) -> None:
        """Begin with an empty log."""
        self.log = MemorySource()

    async def append(self, *drafts: ForumEvent) -> list[Receipt]:
        """Publish as another process does."""
        return await self.log.publish([Entry.of(draft) for draft in drafts])

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def read(self, after: int, limit: int) -> Page:
        """Read."""
        return await self.log.read(after, limit)

    async def read_before(self, before: int, limit: int) -> Page:
        """Read backwards."""
        return await self.log.read_before(before, limit)


if TYPE_CHECKING:
    _reads: type[EventSource] = HistorySource
    _lives: type[LiveSource] = DistantSource
    _writes: type[WritableSource] = DistantSource
    _near: type[NearSource] = HalfNearSource
