"""Observers: callbacks of the host for every event, each a reader with a position of its own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from asgi_forum.cursor import Start
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ForumError, SourceUnavailable
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame, ResetFrame
from asgi_forum.hub.hub import Counters, Hub
from asgi_forum.hub.reader import Reader
from asgi_forum.logs import EventLogger, event_logger

__all__ = ["Callback", "Observer"]

logger: EventLogger = event_logger("asgi_forum.observers")

Callback = Callable[[StoredEvent], Awaitable[Any] | Any]

_BATCH = 100
_RETRY = 1.0
STALL = 10.0
"""Seconds after which a call that has not come back is logged."""


class Observer:
    """
    Calls `callback` for every event of a type, or below it, that was accepted after it was registered: in order, one at a time.

    It disturbs nobody: one that raises is logged and counted; one that hangs only holds up itself, and is logged and counted too;
    one that falls out of retention skips, logged and counted. A plain function runs in a worker thread.
    """

    def __init__(self, event_type: str, callback: Callback) -> None:
        self._filter = Filter.of(event_type=event_type or None)
        self._callback = callback
        self._name = getattr(callback, "__qualname__", repr(callback))
        self._async = _is_async(callback)
        self._scope: anyio.CancelScope | None = None
        self._task: asyncio.Task[Any] | None = None
        self._removed = False
        self._settled: anyio.Event | None = None
        self._calling: tuple[float, int] | None = None
        self._every: float | None = None
        self._looked = 0.0
        self._reader: Reader | None = None

    def enter(self, hub: Hub, start: Start, *, every: float | None = None) -> None:
        """Take a position in a hub. `every`: seconds after which it looks for itself, where no live feed brings anything."""
        self._reader = Reader(hub, self._filter, start, on_lag="resume")
        self._every = every

    @property
    def settled(self) -> bool:
        """Whether it has nothing left to do: all that was accepted so far is handled."""
        return self._removed or self._reader is None or (self._calling is None and self._reader.at_end)

    async def wait_idle(self) -> None:
        """Wait until it is settled."""
        while not self.settled:
            self._settled = anyio.Event()
            await self._settled.wait()

    @property
    def start(self) -> Start | None:
        """Where it goes on from, in a hub that begins anew; None where it has no position yet."""
        cursor = self._reader.position if self._reader else None
        return Start(cursor=cursor) if cursor else None

    def remove(self) -> None:
        """Stop calling; a callback that stops its own observer comes to its end. From any thread. Harmless when stopped."""
        self._removed = True
        if self._scope is None or self._task is None:
            return
        try:
            if asyncio.current_task() is not self._task:
                self._scope.cancel()
        except RuntimeError:  # no loop runs here: a worker thread, perhaps that of the callback itself
            self._task.get_loop().call_soon_threadsafe(self._scope.cancel)

    def check(self, now: float) -> None:
        """Log a call that does not come back, and look for events where nobody brings them."""
        if self._every is not None and self._reader is not None and now - self._looked >= self._every:
            self._looked = now
            self._reader.wake()
        if self._calling is not None and self._reader is not None and now - self._calling[0] > STALL:
            logger.warning("asgi_forum.observer_stalled: %s at sequence %d", self._name, self._calling[1])
            self._reader.counters.observer_stalls += 1
            self._calling = (float("inf"), self._calling[1])

    async def run(self) -> None:
        """Go on until cancelled or removed."""
        reader = self._reader
        if reader is None:
            return
        try:
            with anyio.CancelScope() as self._scope:
                self._task = asyncio.current_task()
                while not self._removed:
                    await self._turn(reader)
                    await anyio.lowlevel.checkpoint()  # a callback that never waits must not keep the loop
        finally:
            self._settle()
            reader.close()

    def _settle(self) -> None:
        if self._settled is not None:
            self._settled.set()

    async def _turn(self, reader: Reader) -> None:
        try:
            frame = await reader.step(_BATCH)
        except SourceUnavailable:
            await anyio.sleep(_RETRY)
            return
        except ForumError:
            logger.exception("asgi_forum.observer_failed: %s", self._name)
            await anyio.sleep(_RETRY)
            return
        if isinstance(frame, EventsFrame):
            for event in frame.events:
                if self._removed:
                    return
                await self._call(event, reader.counters)
        elif isinstance(frame, ResetFrame):
            logger.warning(
                "asgi_forum.observer_skipped: %s goes on from %s (%s)", self._name, frame.next_cursor, frame.reason
            )
            reader.counters.observer_skips += 1
        elif reader.idle:
            self._settle()
            await reader.wait()

    async def _call(self, event: StoredEvent, counters: Counters) -> None:
        self._calling = (anyio.current_time(), event.sequence)
        try:
            if self._async:
                await self._callback(event)
            else:
                # A limiter of its own: an observer that hangs must not use up the threads that the host's endpoints run in.
                limiter = anyio.CapacityLimiter(1)
                answer = await anyio.to_thread.run_sync(self._callback, event, abandon_on_cancel=True, limiter=limiter)
                if inspect.isawaitable(answer):  # a lambda around a coroutine function
                    await answer
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            # A CancelledError of its own (it awaited a task that was cancelled) or a SystemExit ends nothing here either.
            logger.exception("asgi_forum.observer_raised: %s at sequence %d", self._name, event.sequence)
            counters.observer_errors += 1
        finally:
            self._calling = None


def _is_async(callback: Callback) -> bool:
    """Whether calling it gives something to await: a coroutine function, or an object whose call is one."""
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__)
