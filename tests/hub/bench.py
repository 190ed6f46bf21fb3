"""A hub at work: with its live feed handed over by the test, or whole, as a forum has it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc

from asgi_forum.cursor import LATEST, Start, parse_start
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame, LiveFrame, ResetFrame
from asgi_forum.hub.hub import Hub
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.reader import Reader
from asgi_forum.models import Receipt
from asgi_forum.settings import Limits, OnLag
from asgi_forum.sources import EventSource, MemorySource
from tests.events import draft, entries, sequences
from tests.wire.sources import DistantSource

DEADLINE = 10.0
"""Seconds after which a test that waits has failed."""

Told = list[object]
"""What a reader gave: events by their sequences, and the other frames by a word."""


def told(frame: EventsFrame | LiveFrame | ResetFrame) -> Told:
    """A frame in short."""
    if isinstance(frame, EventsFrame):
        return list(sequences(frame))
    return [frame.reason if isinstance(frame, ResetFrame) else frame.mode]


async def drive(reader: Reader, *, limit: int = 100, steps: int = 10_000, **how: Any) -> Told:
    """Step until there is nothing left to do, and return what came."""
    found: Told = []
    for _ in range(steps):
        frame = await reader.step(limit, **how)
        if frame is not None:
            found += told(frame)
        elif reader.idle:
            return found
    raise AssertionError(f"not idle after {steps} steps: {found}")


class Bench:
    """A hub over a log; nobody follows the log but the test, by `deliver`."""

    def __init__(self, tasks: anyio.abc.TaskGroup, source: DistantSource, limits: Limits, on_lag: OnLag) -> None:
        """Begin with a hub that has not reached its source."""
        self.source = source
        self.hub = Hub(source, limits, on_lag)
        self.hub.reads.begin(tasks)

    async def contact(self) -> None:
        """Begin the tail at the log's end."""
        self.hub.begin((await self.source.read(2**62, 0)).end)

    async def append(self, count: int = 1, **fields: Any) -> list[Receipt]:
        """Publish so many events that are alike, and hand them over to the hub if it has a tail."""
        receipts = await self.source.log.publish(entries(count, **fields))
        await self.deliver()
        return receipts

    async def append_unheard(self, count: int = 1, **fields: Any) -> list[Receipt]:
        """Publish so many events that the live feed has not brought yet."""
        return await self.source.append(*[draft(**fields)] * count)

    async def deliver(self, limit: int = 1000) -> None:
        """Hand over what the live feed has for the hub."""
        end = self.hub.tail.end
        while end is not None and (page := await self.source.read(end.sequence, limit)).end != end:
            self.hub.accept(page)
            end = self.hub.tail.end

    def reader(self, start: str | Start = LATEST, **wish: Any) -> Reader:
        """Open a reader."""
        begin = parse_start(start) if isinstance(start, str) else start
        return Reader(self.hub, Filter.of(**wish), begin)


@asynccontextmanager
async def bench(
    count: int = 0,
    *,
    source: DistantSource | None = None,
    retain: int = 100_000,
    on_lag: OnLag = "resume",
    **limits: Any,
) -> AsyncGenerator[Bench, None]:
    """Set up a hub over a log of so many events, its tail begun at the log's end."""
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(DEADLINE):
            made = Bench(tasks, source or DistantSource(MemorySource(retain=retain)), Limits(**limits), on_lag)
            if count:
                await made.append_unheard(count)
            if not made.source.away:
                await made.contact()
            yield made
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def at_work(
    source: EventSource | None = None, *, heartbeat: float = 60.0, on_lag: OnLag = "resume", **limits: Any
) -> AsyncGenerator[Running, None]:
    """Start all that a forum has in one loop, and stop it."""
    running = Running(source or MemorySource(), Limits(**limits), on_lag, heartbeat)
    started = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.run, started.set)
        with anyio.fail_after(DEADLINE):
            await started.wait()
            try:
                yield running
            finally:
                running.stop()


async def until(condition: Callable[[], object]) -> None:
    """Let others work until a condition holds."""
    with anyio.fail_after(DEADLINE):
        while not condition():
            await anyio.lowlevel.checkpoint()
