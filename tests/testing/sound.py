"""A source that does all it owes, small enough to be broken in one place at a time: logs in one process, shared by their name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import anyio
from anyio.lowlevel import checkpoint

from asgi_forum.cursor import Cursor
from asgi_forum.entries import Entry, StoredEvent
from asgi_forum.models import Receipt
from asgi_forum.sources import EventSource, MemorySource, Page, SourceOptions
from asgi_forum.testing import SourceSuite

__all__ = ["Shelf", "Sound", "SoundSuite", "renamed"]


class Shelf:
    """The logs by their names, and a sign that something has changed."""

    def __init__(self) -> None:
        self.logs: dict[str, MemorySource] = {}
        self.changed: anyio.Event = anyio.Event()

    def stir(self) -> None:
        """Tell those who wait."""
        self.changed.set()
        self.changed = anyio.Event()


class Sound:
    """A source of a log on the shelf. Every call gives way once, so that calls that are under way together are mixed."""

    kind = "sound"

    def __init__(self, shelf: Shelf, options: SourceOptions) -> None:
        self.shelf = shelf
        self.options = options

    @property
    def log(self) -> MemorySource:
        """The log as it is now; a new one where there is none."""
        return self.shelf.logs.setdefault(self.options.name, self.make_log())

    def make_log(self) -> MemorySource:
        """Begin a log."""
        return MemorySource(retain=self.options.retain)

    async def open(self) -> None:
        """Get ready."""

    async def close(self) -> None:
        """Let go."""

    async def read(self, after: int, limit: int) -> Page:
        """Read forwards."""
        await checkpoint()
        return await self.log.read(after, limit)

    async def read_before(self, before: int, limit: int) -> Page:
        """Read backwards."""
        await checkpoint()
        return await self.log.read_before(before, limit)

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Append."""
        await checkpoint()
        receipts = await self.log.publish(entries)
        self.shelf.stir()
        await checkpoint()
        return receipts

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """Follow."""
        page = await self.read(after.sequence, 1000)
        while True:
            deliver(page)
            after = page.position
            while True:
                changed = self.shelf.changed
                page = await self.read(after.sequence, 1000)
                if page.position != after:
                    break
                await changed.wait()


class SoundSuite(SourceSuite):
    """The kit, for the sources above and those that are broken on purpose."""

    source: ClassVar[type[Sound]] = Sound

    def make_source(self, options: SourceOptions) -> EventSource:
        """Make a source of a log on a shelf that lasts as long as the test."""
        if not hasattr(self, "shelf"):
            self.shelf = Shelf()
        return self.source(self.shelf, options)

    async def wipe(self, options: SourceOptions) -> None:
        """Take the log off the shelf."""
        del self.shelf.logs[options.name]
        self.shelf.stir()


def renamed(page: Page, epoch: str) -> Page:
    """Return a page as it would be in a log of another epoch."""

    def event(each: StoredEvent) -> StoredEvent:
        cursor = str(replace(Cursor.parse(each.cursor), epoch=epoch))
        return StoredEvent.from_json(each.json.replace(each.cursor.encode(), cursor.encode()))

    return Page(
        start=replace(page.start, epoch=epoch),
        end=replace(page.end, epoch=epoch),
        anchor=str(replace(Cursor.parse(page.anchor), epoch=epoch)) if page.anchor else None,
        events=[event(each) for each in page.events],
        position=replace(page.position, epoch=epoch),
    )
