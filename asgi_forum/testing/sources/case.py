"""What all parts of the suite share: how a source is made, opened and filled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar
from uuid import uuid4

import anyio
import pytest

from asgi_forum.entries import Entry
from asgi_forum.models import ForumEvent
from asgi_forum.sources.base import EventSource, LiveSource, WritableSource
from asgi_forum.sources.registry import SourceOptions

__all__ = ["SourceCase", "entries", "entry", "fresh", "live", "writable"]


def entry(**fields: Any) -> Entry:
    """Make an event that is ready for a log, with an id of its own if none is given."""
    return Entry.of(ForumEvent.model_validate({"event_type": "forum.post.added", "ticket": "T-1", **fields}))


def entries(count: int, **fields: Any) -> list[Entry]:
    """Make several, each with an id of its own."""
    return [entry(**fields) for _ in range(count)]


def fresh(retain: int = 100_000) -> SourceOptions:
    """Name a log that nobody has used yet."""
    return SourceOptions(name=f"t{uuid4().hex}", retain=retain)


def writable(source: EventSource) -> WritableSource:
    """Return a source that can publish; skip the test where it can't."""
    if not isinstance(source, WritableSource):
        pytest.skip(f"{source.kind}: this source does not publish")
    return source


def live(source: EventSource) -> LiveSource:
    """Return a source that has a live feed; skip the test where it has none."""
    if not isinstance(source, LiveSource):
        pytest.skip(f"{source.kind}: this source has no live feed")
    return source


class SourceCase(ABC):
    """How the tests get at a source: what its author says of it."""

    shared: ClassVar[bool] = True
    """Whether two sources that are made of the same options have one log; False where the log belongs to the object."""

    keeps_beyond: ClassVar[int | None] = 0
    """How many entries a source may keep beyond `retain`; None where it never trims."""

    deadline: ClassVar[float] = 10.0
    """Seconds that an event may take to come through the feed; a test may take three times as long."""

    pytestmark: ClassVar[pytest.MarkDecorator] = pytest.mark.anyio

    @pytest.fixture(scope="session")
    @staticmethod
    def anyio_backend() -> str:
        """Run on asyncio, as a forum does."""
        return "asyncio"

    @abstractmethod
    def make_source(self, options: SourceOptions) -> EventSource:
        """
        Make a source of the log that `options.name` names, which retains at least `options.retain` entries; don't open it.

        A name that comes for the first time is a log that is empty. Where logs are `shared`, the same name is the same log.
        """

    async def append(self, source: EventSource, entries: Sequence[Entry]) -> None:
        """Append entries to a source's log, in order. A source that can't publish says here how its log is filled."""
        await writable(source).publish(entries)

    async def wipe(self, options: SourceOptions) -> None:
        """Delete the log that `options.name` names, whoever has it open. Left out, the tests that need it are skipped."""
        self.wipes()

    def margin(self) -> int:
        """Return how many entries the source may keep beyond `retain`; skip the test where it never trims."""
        if self.keeps_beyond is None:
            pytest.skip("this source never trims (`keeps_beyond`)")
        return self.keeps_beyond

    def wipes(self) -> None:
        """Skip the test where the suite does not say how a log is deleted."""
        if type(self).wipe is SourceCase.wipe:
            pytest.skip("this suite does not say how its log is deleted (`wipe`)")

    @asynccontextmanager
    async def opened(self, options: SourceOptions | None = None) -> AsyncGenerator[EventSource]:
        """Open a source, of a new log if none is named; what happens with it is bounded by the deadline."""
        async with self._open(self.make_source(options or fresh())) as source:
            yield source

    @asynccontextmanager
    async def sharing(self, count: int) -> AsyncGenerator[list[EventSource]]:
        """Open several sources of one new log; a log that is not shared has one source, used at once by all."""
        options = fresh()
        async with AsyncExitStack() as stack:
            made = [self.make_source(options) for _ in range(count if self.shared else 1)]
            sources = [await stack.enter_async_context(self._open(source)) for source in made]
            yield [sources[number % len(sources)] for number in range(count)]

    @asynccontextmanager
    async def _open(self, source: EventSource) -> AsyncGenerator[EventSource]:
        with anyio.fail_after(3 * self.deadline):
            await source.open()
            try:
                yield source
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(self.deadline):
                    await source.close()
