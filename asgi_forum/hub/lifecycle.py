"""Life and death of a forum's tasks: started in whichever loop uses it first, stopped from the outside in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.abc

from asgi_forum.cursor import LATEST, Start
from asgi_forum.errors import ConfigurationError, ForumClosed, ShuttingDown, SourceUnavailable
from asgi_forum.hub.beginning import FAR
from asgi_forum.hub.fanout import Fanout
from asgi_forum.hub.hub import Hub
from asgi_forum.hub.observers import Observer
from asgi_forum.hub.pump import Pump
from asgi_forum.hub.signals import Signals
from asgi_forum.hub.streams import OpenStreams
from asgi_forum.hub.transfers import Transfers
from asgi_forum.hub.watchdog import Watchdog
from asgi_forum.logs import EventLogger, event_logger
from asgi_forum.settings import Limits, OnLag
from asgi_forum.sources.base import EventSource, LiveSource, ReportingSource

__all__ = ["Lifecycle", "Running"]

logger: EventLogger = event_logger("asgi_forum.lifecycle")


class Running:
    """A forum at work in one event loop: hub, pump, watchdog, observers and open streams, owned by one task group."""

    def __init__(self, source: EventSource, limits: Limits, on_lag: OnLag, heartbeat: float) -> None:
        self.source = source
        self.limits = limits
        self.heartbeat = heartbeat
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.hub: Hub = Hub(source, limits, on_lag)
        self.watchdog: Watchdog = Watchdog(heartbeat)
        self.fanout: Fanout = Fanout()
        self.streams: OpenStreams = OpenStreams(limits)
        self.transfers: Transfers = Transfers(limits.transfer_bytes)
        self._observers: set[Observer] = set()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._stop = anyio.Event()

    def observe(self, observer: Observer) -> None:
        """Start an observer: from now on, or from where it was in a loop before this one."""
        self._observers.add(observer)
        if self._tasks is not None:
            self._start_observer(self._tasks, observer)

    def stats(self) -> dict[str, Any]:
        """Return what was counted since this began, and what is open now. For any thread."""
        counted, reads = self.hub.counters.snapshot(), self.hub.reads
        if reads.delayed:
            counted["limits"]["catch_up_reads"] = reads.delayed
        return {
            **counted,
            "streams": {name: count for name, count in dict(self.streams.by_transport).items() if count},
            "source_reads": reads.count,
            "catch_up_reads": reads.under_way,
            "lag": self.hub.lag,
            "channels": len(self.hub.channels),
            "tail_bytes": self.hub.tail.size,
            "transfer_bytes": self.transfers.under_way,
            "degraded": self.hub.degraded,
        }

    async def health(self) -> dict[str, Any]:
        """Return the report of `GET /health`."""
        end, available = self.hub.tail.end, not self.hub.degraded
        if not self.hub.live:
            try:
                end = (await self.hub.reads.read(FAR, 0).page()).end
            except SourceUnavailable:
                available = False
        counts = self.streams.by_transport
        report: Mapping[str, Any] = self.source.report() if isinstance(self.source, ReportingSource) else {}
        return {
            "status": "ok" if available and "fault" not in report else "degraded",
            "source": {"kind": self.source.kind, "available": available, **report},
            "streams": {"sse": counts["sse"], "websocket": counts["websocket"]},
            "cursor": str(end) if end else None,
        }

    def stop(self) -> None:
        """Begin to stop; `run` returns when it is done."""
        self.streams.end_all(ShuttingDown())
        self._stop.set()

    async def run(self, started: Callable[[], None]) -> None:
        """Start, call `started`, and go on until `stop()` or cancelled. Raises what the source's `open` raises, but for being away."""
        try:
            await self.source.open()
        except SourceUnavailable as error:
            logger.warning("asgi_forum.source_lost: %s", error)
            self.hub.lost()
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self.hub.reads.begin(tasks)
                self.fanout.begin(tasks)
                await self._start(tasks)
                try:
                    started()
                    await self._stop.wait()
                finally:
                    await self._drain()
                    tasks.cancel_scope.cancel()
        finally:
            self._tasks = None
            self.hub.reads.close()
            self.fanout.close()
            with anyio.move_on_after(self.limits.stop_after, shield=True):
                await self.source.close()

    async def _start(self, tasks: anyio.abc.TaskGroup) -> None:
        if isinstance(self.source, LiveSource):
            pump = Pump(self.hub, self.source)
            if not self.hub.degraded:
                try:
                    await pump.contact()  # so that the first streams find a tail
                except SourceUnavailable:
                    self.hub.lost()
            tasks.start_soon(pump.run, name="asgi_forum pump")
        tasks.start_soon(self.watchdog.run, name="asgi_forum watchdog")
        for observer in tuple(self._observers):
            self._start_observer(tasks, observer)

    def _start_observer(self, tasks: anyio.abc.TaskGroup, observer: Observer) -> None:
        # Its position is fixed here and not when its task first runs: what is published in between is after "now".
        end = self.hub.tail.end
        every = None if self.hub.live else self.heartbeat
        observer.enter(self.hub, observer.start or (Start(cursor=end) if end else LATEST), every=every)
        self.watchdog.watch(observer)
        tasks.start_soon(self._run_observer, observer)

    async def _run_observer(self, observer: Observer) -> None:
        try:
            await observer.run()
        finally:
            self.watchdog.forget(observer)
            self._observers.discard(observer)

    async def _drain(self) -> None:
        """From the outside in: streams leave, observers finish what was accepted. Nobody's taking long is at the others' cost."""
        self.streams.end_all(ShuttingDown())
        with anyio.move_on_after(self.limits.stop_after, shield=True) as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.streams.wait_empty)
                for observer in tuple(self._observers):
                    tasks.start_soon(observer.wait_idle)
            for observer in tuple(self._observers):
                await observer.wait_idle()  # also what came while streams were leaving
        if scope.cancelled_caught:
            self.hub.counters.limit("stop_after")
        if scope.cancelled_caught and (late := sum(not observer.settled for observer in self._observers)):
            logger.warning(
                "asgi_forum.observers_cut: %d observers had events left after %g s", late, self.limits.stop_after
            )


class Lifecycle:
    """
    Holds a forum's Running, one at a time.

    A mounted app gets no lifespan, so it starts on first use, in the running loop. A loop that has closed is left behind, and the
    next one starts anew, with the same source; two live loops are an error.
    """

    def __init__(self, make: Callable[[], Running], *, handle_signals: bool) -> None:
        self._make = make
        self._handle_signals = handle_signals
        self._running: Running | None = None
        self._holder: asyncio.Task[None] | None = None
        self._starting: asyncio.Future[None] | None = None
        self._signals = Signals()
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed_in: asyncio.AbstractEventLoop | None = None
        self.observers: list[Observer] = []

    @property
    def running(self) -> Running | None:
        """What is at work, if anything is, and its loop lives."""
        running = self._running
        return None if running is None or running.loop.is_closed() else running

    @property
    def closed(self) -> bool:
        """Whether it was closed, and not started again."""
        return self._closed_in is not None and self.running is None

    async def ensure(self, *, reopen: bool = False) -> Running:
        """
        Return what is at work in this loop; start it where nothing is. Any number of tasks may call at once.

        Raises ForumClosed after `close()` in this loop (`reopen` starts again), ConfigurationError from a second live loop or by
        the source.
        """
        loop = asyncio.get_running_loop()
        running = self.running
        if running is not None and running.loop is not loop:
            raise ConfigurationError(
                "this forum is at work in another event loop, which is still open; use one forum for each loop"
            )
        if running is None:
            if reopen or (self._loop is not None and self._loop is not loop):
                self._draining = False
            if self._closed_in is loop and not reopen:
                raise ForumClosed
            running = self._start(loop)
        if self._starting is not None and not self._starting.done():
            await asyncio.shield(self._starting)
        if self._running is not running:
            raise ForumClosed
        return running

    def drain(self) -> None:
        """Refuse new streams and end the open ones; before the start, what starts then refuses. Harmless when done before."""
        self._draining = True
        if (running := self.running) is not None:
            running.streams.end_all(ShuttingDown())

    async def close(self) -> None:
        """Stop, and wait until it is done: at most about twice `Limits.stop_after`. Harmless when closed, or never started."""
        self._closed_in = asyncio.get_running_loop()
        running, holder = self.running, self._holder
        if running is None or holder is None:
            return
        if running.loop is not self._closed_in:
            raise ConfigurationError("this forum is at work in another event loop; close it there")
        running.stop()
        await asyncio.wait([holder])

    def observe(self, observer: Observer) -> None:
        """Take an observer in, now or when the forum starts. From any thread."""
        self.observers.append(observer)
        running = self.running
        if running is None:
            return
        try:
            here = asyncio.get_running_loop() is running.loop
        except RuntimeError:
            here = False
        if here:
            running.observe(observer)
        else:
            asyncio.run_coroutine_threadsafe(_observe(running, observer), running.loop)

    def forget(self, observer: Observer) -> None:
        """Stop an observer. Harmless when stopped."""
        if observer in self.observers:
            self.observers.remove(observer)
        observer.remove()

    def _start(self, loop: asyncio.AbstractEventLoop) -> Running:
        if self._running is not None:
            self._running.hub.close()  # its loop has closed, but its source may still hand it pages
        running = self._running = self._make()
        if self._draining:
            running.streams.end_all(ShuttingDown())
        self._loop = loop
        starting = self._starting = loop.create_future()
        for observer in self.observers:
            running.observe(observer)
        # The one bare task: hosts without a lifespan have no task group to put it in. It is kept here and its end is looked at.
        self._holder = loop.create_task(self._hold(running, starting), name="asgi_forum")
        return running

    async def _hold(self, running: Running, starting: asyncio.Future[None]) -> None:
        def started() -> None:
            if not starting.done():
                starting.set_result(None)

        if self._handle_signals:
            self._signals.chain(running.loop, running.streams, self.drain)
        try:
            await running.run(started)
        except Exception as error:
            if starting.done():
                logger.exception("asgi_forum.stopped: the forum's tasks failed")
            else:
                starting.set_exception(error)
        finally:
            self._signals.restore()
            if self._running is running:
                self._running = None
            if not starting.done():
                starting.set_exception(ForumClosed())


async def _observe(running: Running, observer: Observer) -> None:
    running.observe(observer)
