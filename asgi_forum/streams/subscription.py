"""The host's own subscription: the same stream, as a Python iterator."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import anyio

from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ForumClosed, ForumReset, ShuttingDown
from asgi_forum.frames import EventsFrame, Frame, ResetFrame
from asgi_forum.hub.lifecycle import Running
from asgi_forum.streams.feed import Feed
from asgi_forum.streams.request import Asked

__all__ = ["ForumSubscription"]


class ForumSubscription:
    """
    `async with forum.subscribe(...) as events: async for event in events: ...`

    Yields every matching event after its start, in order of sequence, each once. The start is fixed when the block is entered
    (while the source is away: at the first contact). Where events can't be delivered it raises ForumReset; iterating again goes
    on. Raises ForumClosed once the forum stops, TooSlow where the policy for slow readers is to disconnect.

    Cancelling a wait is safe: nothing is lost. One task at a time; a second gets anyio.BusyResourceError.
    """

    def __init__(
        self, ensure: Callable[[], Awaitable[Running]], opened: Callable[[Running, Asked], Feed], asked: Asked
    ) -> None:
        self._ensure = ensure
        self._open = opened
        self._asked = asked
        self._stack = ExitStack()
        self._feed: Feed | None = None
        self._reset: ResetFrame | None = None
        self._buffer: deque[StoredEvent] = deque()
        self._cursor: str | None = None
        self._guard = anyio.ResourceGuard("reading from")

    @property
    def cursor(self) -> str | None:
        """The position after the last event that was yielded, safe to resume from; None while it is not fixed."""
        if self._buffer or self._feed is None or self._reset is not None:
            return self._cursor
        return self._feed.reader.cursor or self._cursor

    async def __aenter__(self) -> Self:
        running = await self._ensure()
        with ExitStack() as stack:
            try:
                place = stack.enter_context(running.streams.admitted("python"))
                feed = self._open(running, self._asked)
                stack.callback(feed.close)
                place.hold(feed)
                self._reset = await feed.begin()
            except ShuttingDown:
                raise ForumClosed from None
            self._feed, self._cursor = feed, None if self._reset else feed.reader.cursor
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Unsubscribe. Harmless when that was done, or never begun."""
        self._cursor = self.cursor
        if self._feed is not None:
            self._feed.end(ForumClosed("this subscription is closed"))  # for a task that is waiting in it
        self._feed = None
        self._buffer.clear()
        self._stack.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StoredEvent:
        while not self._buffer:
            frame = await self._next()
            if isinstance(frame, EventsFrame):
                self._buffer.extend(frame.events)
            elif isinstance(frame, ResetFrame):
                raise ForumReset(frame.reason, frame.next_cursor)
        event = self._buffer.popleft()
        self._cursor = event.cursor
        return event

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield every frame, as a WebSocket client would get it: events, `forum.live`, heartbeats and resets (which are not raised)."""
        while True:
            if self._buffer:
                frame: Frame = EventsFrame(tuple(self._buffer), self._buffer[-1].cursor)
                self._buffer.clear()
            else:
                frame = await self._next()
            yield frame

    async def _next(self) -> Frame:
        feed = self._feed
        if feed is None:
            raise ForumClosed("this subscription is not open")
        with self._guard:
            if self._reset is not None:
                reset, self._reset = self._reset, None
                return reset
            try:
                frame = await feed.next()
                feed.sent()
            except ShuttingDown as error:
                raise ForumClosed("the forum is stopping") from error
            return frame
