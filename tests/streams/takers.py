"""Clients of a line: they take what is sent in the way that a test says, and keep all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc

from asgi_forum.cursor import parse_start
from asgi_forum.errors import ForumError
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame, Frame
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.reader import Reader
from asgi_forum.sources import EventSource, MemorySource
from asgi_forum.streams.feed import Ending, Feed
from asgi_forum.streams.line import Line
from asgi_forum.streams.pacing import Budget
from tests.events import entries, sequences
from tests.hub.bench import at_work

__all__ = ["Behaviour", "Taker", "opened", "publish", "stage"]

Behaviour = Callable[[Frame], Awaitable[None] | None]
"""What happens as a frame is sent: it returns, waits or raises. None is taken at once."""


class Taker(Line):
    """
    One client, and its line.

    taken: the frames that were sent. way: how it takes what comes. tasks: those that have sent. gone: set once the client has left.
    ended: set once the connection's task is done; `result` is then what `serve` returned, or raised.
    """

    def __init__(self, running: Running, feed: Feed, way: Behaviour = lambda frame: None) -> None:
        """Begin with a client that is there."""
        super().__init__(running.fanout, feed)
        self.feed = feed
        self.way = way
        self.taken: list[Frame] = []
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.sending = 0
        self.gone = anyio.Event()
        self.ended = anyio.Event()
        self.result: ForumError | BaseException | None = None
        self.task: asyncio.Task[Any] | None = None

    def write(self, frame: Frame) -> Awaitable[None]:
        """Send, as the test has it."""
        return self._write(frame)

    async def listen(self) -> None:
        """Wait until the client is gone."""
        await self.gone.wait()

    async def run(self) -> None:
        """Be the connection's task."""
        self.task = asyncio.current_task()
        try:
            self.result = await self.serve()
        except BaseException as error:
            self.result = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.feed.close()
            self.ended.set()

    @property
    def events(self) -> list[int]:
        """The sequences of the events that were sent."""
        return sequences(*[frame for frame in self.taken if isinstance(frame, EventsFrame)])

    async def _write(self, frame: Frame) -> None:
        assert not self.sending, "two tasks send at once"
        assert not self.ended.is_set(), "sent after serve() has returned"
        self.sending += 1
        self.tasks.append(asyncio.current_task())
        try:
            if (wait := self.way(frame)) is not None:
                await wait
            self.taken.append(frame)
        finally:
            assert not self.ended.is_set(), "sending after serve() has returned"
            self.sending -= 1


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

    async def enter(self, way: Behaviour = lambda frame: None, kind: type[Taker] = Taker, **how: Any) -> Taker:
        """Bring in one that is live, and waits for news."""
        taker = kind(self.running, opened(self.running, **how), way)
        self.tasks.start_soon(taker.run)
        await anyio.wait_all_tasks_blocked()
        return taker


@asynccontextmanager
async def stage(source: EventSource | None = None, **settings: Any) -> AsyncGenerator[Stage, None]:
    """A forum at work, until the block ends; who is there by then leaves."""
    source = source or MemorySource()
    async with at_work(source, **settings) as running, anyio.create_task_group() as tasks:
        yield Stage(running, source, tasks)
        tasks.cancel_scope.cancel()


async def publish(stage: Stage, count: int = 1, **fields: Any) -> None:
    """Publish so many events, and let them arrive where they arrive."""
    assert isinstance(stage.source, MemorySource)
    await stage.source.publish(entries(count, **fields))
    await anyio.wait_all_tasks_blocked()
