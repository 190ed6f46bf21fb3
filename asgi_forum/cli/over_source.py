"""The log in a source, as the commands use it: without a forum that is served, and beside any that are."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import anyio

from asgi_forum import Forum, ForumSubscription
from asgi_forum.cli.targets import Stream, Target
from asgi_forum.client.backoff import Backoff
from asgi_forum.entries import StoredEvent, encode_events
from asgi_forum.errors import ConfigurationError, ForumError, ForumReset, SourceUnavailable
from asgi_forum.frames import EventsFrame, Frame, HeartbeatFrame, ResetFrame
from asgi_forum.models import ForumEvent, Receipt
from asgi_forum.settings import Limits
from asgi_forum.sources.base import EventSource, ReportingSource, WritableSource
from asgi_forum.sources.registry import KEEP_ALL, SourceOptions, open_url
from asgi_forum.sources.upkeep import InspectableSource, Repair, RepairableSource

__all__ = ["SourceTarget"]

logger: logging.Logger = logging.getLogger("asgi_forum.cli")

_END = 2**62


class SourceTarget:
    """The log of the forum `name` at a source's URL. It trims nothing: how much is kept is for those who serve it."""

    def __init__(self, url: str, name: str) -> None:
        self._source = open_url(url, SourceOptions(name, KEEP_ALL))
        self._opened = False
        self.shown: str = ""  # a source's own errors say where they come from

    async def publish(self, events: Sequence[ForumEvent]) -> list[Receipt]:
        """Append to the log."""
        source = self._source
        if not isinstance(source, WritableSource):
            raise ConfigurationError(f"the source {source.kind!r} takes no events; it can only be read")
        entries = encode_events(events, Limits().event_bytes)
        ids = [entry.event_id for entry in entries]
        try:
            if not self._opened:
                await source.open()
                self._opened = True
        except SourceUnavailable as error:
            raise SourceUnavailable(str(error), outcome="not_published", event_ids=ids) from error
        try:
            return await source.publish(entries)
        except SourceUnavailable as error:
            raise SourceUnavailable(str(error), outcome=error.outcome or "unknown", event_ids=ids) from error

    def follow(self, **parameters: Any) -> SourceStream:
        """Return the events as a subscription of a forum in this process yields them."""
        kept = {name: value for name, value in parameters.items() if name not in ("transport", "heartbeat")}
        return SourceStream(self._source, kept)

    async def check(self, say: Callable[[str], None]) -> str | None:
        """Look at the log, and time one read."""
        source = self._source
        if not isinstance(source, InspectableSource):
            return await _check_open(source, say)
        found = await source.inspect()
        say(f"status   {'degraded' if found.fault else 'ok'}")
        say(f"source   {source.kind}, available")
        say(f"cursor   {found.cursor or f'none: {found.note}'}")
        say(f"entries  {found.entries}")
        say(f"read     {found.read_time * 1000:.1f} ms")
        return f"degraded: {found.fault}" if found.fault else None

    async def repair(self) -> Repair:
        """Repair the log. ConfigurationError where the source knows nothing to repair."""
        source = self._source
        if not isinstance(source, RepairableSource):
            raise ConfigurationError(f"the source {source.kind!r} knows nothing that could be repaired")
        return await source.repair()

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._source.close()


async def _check_open(source: EventSource, say: Callable[[str], None]) -> str | None:
    """Do it for a source that has to be opened to be looked at."""
    await source.open()
    before = time.perf_counter()
    page = await source.read_before(_END, 1)
    taken = time.perf_counter() - before
    fault = source.report().get("fault") if isinstance(source, ReportingSource) else None
    say(f"status   {'degraded' if fault else 'ok'}")
    say(f"source   {source.kind}, available")
    say(f"cursor   {page.end}")
    say(f"read     {taken * 1000:.1f} ms")
    return f"degraded: {fault}" if fault else None


class SourceStream:
    """A subscription that waits for a source which is not there yet."""

    def __init__(self, source: EventSource, parameters: dict[str, Any]) -> None:
        self._source = source
        self._forum = Forum(source, handle_signals=False)
        self._subscription: ForumSubscription = self._forum.subscribe(**parameters)
        self._frames: AsyncIterator[Frame] = self._subscription.frames()
        self._events: deque[StoredEvent] = deque()
        self._degraded = False
        self._trouble: ForumError | None = None

    @property
    def trouble(self) -> ForumError | None:
        """Why the source could not be opened."""
        return self._trouble

    async def __aenter__(self) -> Self:
        try:
            await self._open()
            await self._forum.__aenter__()
            await self._subscription.__aenter__()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def _open(self) -> None:
        backoff = Backoff(first=0.5, ceiling=5.0)
        while True:
            try:
                await self._source.open()
                return
            except SourceUnavailable as error:
                self._trouble = error
                delay = backoff.next_delay()
                logger.warning("%s; next try in %.1f s", error, delay)
            await anyio.sleep(delay)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StoredEvent:
        while not self._events:
            frame = await anext(self._frames)
            if isinstance(frame, EventsFrame):
                self._events.extend(frame.events)
            elif isinstance(frame, ResetFrame):
                raise ForumReset(frame.reason, frame.next_cursor)
            elif isinstance(frame, HeartbeatFrame):
                if self._degraded and not frame.degraded:
                    logger.warning("connected again")
                self._degraded = bool(frame.degraded)
        return self._events.popleft()

    async def aclose(self) -> None:
        """Unsubscribe, and let go of the connections; bounded by what a forum takes to stop."""
        with anyio.CancelScope(shield=True):
            await cast("AsyncGenerator[Frame]", self._frames).aclose()
            await self._subscription.aclose()
            await self._forum.aclose()
            await self._source.close()


if TYPE_CHECKING:
    _target: type[Target] = SourceTarget
    _stream: type[Stream] = SourceStream
