"""Clients of a line: they take what is sent in the way that a test says, and keep all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

from asgi_forum.cursor import parse_start
from asgi_forum.errors import ForumError
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame, Frame, LiveFrame
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.reader import Reader
from asgi_forum.sources import EventSource, MemorySource
from asgi_forum.streams.feed import Ending, Feed
from asgi_forum.streams.line import Line
from asgi_forum.streams.pacing import Budget
from tests.events import entries, sequences
from tests.hub.bench import at_work, until

__all__ = ["Behaviour", "Gate", "Stage", "Taker", "for_events", "opened", "publish", "slowly", "stage", "turns"]

Behaviour = Callable[[Frame], Awaitable[None] | None]
"""What happens as a frame is sent: it returns, waits or raises. None is taken at once."""


class Taker(Line):
    """
    One client, and its line.

    way: how it takes what comes. taken: the frames that were sent. tasks: those that have sent.
    scope: what the host has around the app. cancelled: how often the server has cancelled its task. gone: set once the client is.
    ended: set once the connection's task is done; `result` is then what `serve` returned, or raised. faults: what must never be.
    """

    def __init__(self, running: Running, feed: Feed, way: Behaviour = lambda frame: None) -> None:
        """Begin with a client that is there."""
        super().__init__(running.fanout, feed)
        self.feed = feed
        self.way = way
        self.taken: list[Frame] = []
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.sending = 0
        self.cancelled = 0
        self.faults: list[str] = []
        self.scope = anyio.CancelScope()
        self.gone = anyio.Event()
        self.broken: Exception | None = None
        self.ended = anyio.Event()
        self.result: ForumError | BaseException | None = None
        self.task: asyncio.Task[Any] | None = None

    def write(self, frame: Frame) -> Awaitable[None]:
        """Send, as the test has it."""
        return self._write(frame)

    async def listen(self) -> None:
        """Wait until the client is gone; or raise what the test says."""
        await self.gone.wait()
        if self.broken is not None:
            raise self.broken

    async def run(self) -> None:
        """Be the connection's task."""
        self.task = task = asyncio.current_task()
        assert task is not None
        try:
            with self.scope:
                self.result = await self.serve()
        except (Exception, asyncio.CancelledError) as error:
            self.result = error
        finally:
            for _ in range(self.cancelled):
                task.uncancel()  # so that only what the line has done itself is left
            if task.cancelling():
                self.faults.append("the connection's task is still being cancelled")
            self.feed.close()
            self.ended.set()

    @property
    def events(self) -> list[int]:
        """The sequences of the events that were sent."""
        return sequences(*[frame for frame in self.taken if isinstance(frame, EventsFrame)])

    async def _write(self, frame: Frame) -> None:
        if self.sending:
            self.faults.append("two send at once")
        self._look_whether_over()
        self.sending += 1
        self.tasks.append(asyncio.current_task())
        try:
            if (wait := self.way(frame)) is not None:
                await wait
            self.taken.append(frame)
        finally:
            self._look_whether_over()
            self.sending -= 1

    def _look_whether_over(self) -> None:
        if self.ended.is_set():
            self.faults.append("sending after serve() has returned")


def for_events(way: Behaviour) -> Behaviour:
    """Take all but events at once."""
    return lambda frame: way(frame) if isinstance(frame, EventsFrame) else None


class Gate:
    """A client that takes events only while the gate is open; `waiting` counts what stands before it."""

    def __init__(self) -> None:
        """Begin closed."""
        self._opened = anyio.Event()
        self.waiting = 0

    def __call__(self, frame: Frame) -> Awaitable[None] | None:
        """Wait, where these are events."""
        return self._pass() if isinstance(frame, EventsFrame) and not self._opened.is_set() else None

    def open(self) -> None:
        """Take all from now on."""
        self._opened.set()

    async def reluctantly(self, frame: Frame) -> None:
        """Wait, and go on for some turns where that is cancelled."""
        try:
            await self._opened.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await turns(3)

    async def _pass(self) -> None:
        self.waiting += 1
        try:
            await self._opened.wait()
        finally:
            self.waiting -= 1


async def slowly(frame: Frame) -> None:
    """Take a frame, but not in the turn in which it comes."""
    await turns(1)


def opened(
    running: Running,
    start: str = "earliest",
    *,
    limit: int = 100,
    ending: Ending | None = None,
    budget: Budget | None = None,
    **wish: Any,
) -> Feed:
    """Open a stream."""
    reader = Reader(running.hub, Filter.of(**wish), parse_start(start))
    return Feed(
        running.hub, reader, running.watchdog, limit=limit, heartbeat=running.heartbeat, ending=ending, budget=budget
    )


class Stage:
    """A forum at work, and the clients that a test brings in."""

    def __init__(self, running: Running, source: EventSource, tasks: anyio.abc.TaskGroup) -> None:
        """Begin with none."""
        self.running = running
        self.source = source
        self.tasks = tasks
        self.takers: list[Taker] = []

    @property
    def readers(self) -> int:
        """How many readers the channels have."""
        return sum(channel.readers for channel in self.running.hub.channels)

    async def source_publish(self) -> None:
        """Publish an event."""
        assert isinstance(self.source, MemorySource)
        await self.source.publish(entries(1))

    def bring_in(self, way: Behaviour = lambda frame: None, **how: Any) -> Taker:
        """Bring one in."""
        taker = Taker(self.running, opened(self.running, **how), way)
        self.takers.append(taker)
        self.tasks.start_soon(taker.run)
        return taker

    async def enter(self, way: Behaviour = lambda frame: None, **how: Any) -> Taker:
        """Bring in one that is live, and waits for news."""
        taker = self.bring_in(way, **how)
        await until(lambda: any(isinstance(frame, LiveFrame) for frame in taker.taken))
        return taker


@asynccontextmanager
async def stage(source: EventSource | None = None, **settings: Any) -> AsyncGenerator[Stage, None]:
    """A forum at work, until the block ends; who is there by then leaves."""
    source = source or MemorySource()
    async with at_work(source, **settings) as running, anyio.create_task_group() as tasks:
        made = Stage(running, source, tasks)
        yield made
        for taker in made.takers:
            taker.gone.set()
            await taker.ended.wait()
            assert taker.faults == []


async def turns(count: int) -> None:
    """Let the loop turn so many times."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def publish(stage: Stage, count: int = 1, **fields: Any) -> None:
    """Publish so many events, and let them arrive where they arrive."""
    assert isinstance(stage.source, MemorySource)
    await stage.source.publish(entries(count, **fields))
    await anyio.wait_all_tasks_blocked()
    await turns(2)  # until those that are blocked in sending are known to be
