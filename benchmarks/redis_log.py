"""
A forum's log in Redis against a bare loop of XADD and XREAD, side by side in one run.

    python -m benchmarks.redis_log [--repeats 5] [--events 2000] [--seconds 10]

It starts a redis-server of its own, and prints a Markdown table: medians of all repeats, which take turns. Both sides run in this
process, on redis-py with hiredis, and both are as two processes would be: each of the two follows the log, one publishes, and one
hands out what comes. The bare loop checks nothing, remembers no ids, and encodes its JSON once.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import uuid4

from redis.asyncio import Redis

from asgi_forum import Forum, ForumEvent
from asgi_forum.entries import Entry
from tests.redis.servers import running

PAYLOAD = {"body": "x" * 200}
BATCH = 100
RATE = 50.0


def event() -> ForumEvent:
    """Make an event like those of a forum: about 500 bytes as JSON."""
    return ForumEvent(
        event_type="forum.post.added", ticket="T-1", run_id="run-7", agent_name="planner", payload=PAYLOAD
    )


class Bare:
    """The loop that one would write by hand."""

    def __init__(self, url: str) -> None:
        """Use a stream of its own."""
        self.url = url
        self.tasks: list[asyncio.Task[None]] = []
        self.redis: Redis = Redis.from_url(url)
        self.key = f"bare:{uuid4().hex}"
        self.body = b"{%b}" % Entry.of(event()).body

    async def publish(self, count: int) -> None:
        """Append so many entries, one after the other."""
        for _ in range(count):
            await self.redis.xadd(self.key, {"event": self.body}, id="0-*")

    async def publish_many(self, count: int) -> None:
        """Append so many entries in pipelines."""
        for _ in range(count // BATCH):
            pipe = self.redis.pipeline(transaction=False)
            for _ in range(BATCH):
                pipe.xadd(self.key, {"event": self.body}, id="0-*")
            await pipe.execute()

    async def begin(self, came: Callable[[], None]) -> None:
        """Follow from now on, twice; one of the two tells what comes."""
        self.tasks = [asyncio.create_task(self._follow(each)) for each in (came, lambda: None)]

    async def _follow(self, came: Callable[[], None]) -> None:
        last = "0-0"
        async with Redis.from_url(self.url, socket_timeout=30) as reader:
            while True:
                reply = await reader.xread({self.key: last}, count=100, block=1000)
                for stream in reply.values() if isinstance(reply, dict) else [entries for _, entries in reply]:
                    entries = stream[0] if stream and isinstance(stream[0][0], list | tuple) else stream
                    for _ in entries:
                        came()
                    last = entries[-1][0]

    async def close(self) -> None:
        """Let go."""
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        await self.redis.aclose()


class Ours:
    """Two forums on one log, as two processes would have it: one publishes, the other follows."""

    def __init__(self, url: str) -> None:
        """Use a log of its own."""
        name = uuid4().hex
        self.publisher, self.follower = Forum(url, name=name), Forum(url, name=name)
        self.tasks: list[asyncio.Task[None]] = []

    async def publish(self, count: int) -> None:
        """Publish so many events, one after the other."""
        for _ in range(count):
            await self.publisher.publish(
                event_type="forum.post.added", ticket="T-1", run_id="run-7", agent_name="planner", payload=PAYLOAD
            )

    async def publish_many(self, count: int) -> None:
        """Publish so many events in batches."""
        for _ in range(count // BATCH):
            await self.publisher.publish_many([event() for _ in range(BATCH)])

    async def begin(self, came: Callable[[], None]) -> None:
        """Follow from now on: each forum does, and one has a subscriber."""
        await self.publisher.health()
        self.tasks = [asyncio.create_task(self._follow(came))]

    async def _follow(self, came: Callable[[], None]) -> None:
        async with self.follower.subscribe(cursor="earliest") as events:
            async for _ in events:
                came()

    async def close(self) -> None:
        """Let go."""
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        await self.publisher.aclose()
        await self.follower.aclose()


Side = Bare | Ours


@dataclass
class Figures:
    """What one side did, each figure once for each repeat."""

    rows: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def add(self, name: str, value: float) -> None:
        """Take a figure of one repeat."""
        self.rows.setdefault(name, []).append(value)


async def redis_cpu(url: str) -> float:
    """Return the seconds of CPU that Redis has used."""
    redis: Redis = Redis.from_url(url)
    info = await redis.info("cpu")
    await redis.aclose()
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def rate(url: str, figures: Figures, name: str, work: Callable[[int], Awaitable[None]], count: int) -> None:
    """Time some publishing."""
    cpu, own, began = await redis_cpu(url), time.process_time(), time.perf_counter()
    await work(count)
    seconds = time.perf_counter() - began
    figures.add(f"{name}: events a second", count / seconds)
    figures.add(f"{name}: µs of CPU an event, this process", (time.process_time() - own) / count * 1e6)
    figures.add(f"{name}: µs of CPU an event, Redis", (await redis_cpu(url) - cpu) / count * 1e6)


async def latency(url: str, figures: Figures, side: Side, arrivals: list[float], seconds: float) -> None:
    """Publish at a steady rate, and take the time until each event has come."""
    sent: list[float] = []
    cpu = await redis_cpu(url)
    for _ in range(int(seconds * RATE)):
        sent.append(time.perf_counter())
        await side.publish(1)
        await asyncio.sleep(1 / RATE)
    while len(arrivals) < len(sent):  # noqa: ASYNC110  # an event to wait for would be paid for at each arrival
        await asyncio.sleep(0.01)
    took = sorted(came - gone for came, gone in zip(arrivals, sent, strict=True))
    figures.add("50 events a second: ms from publish to delivery, p50", took[len(took) // 2] * 1e3)
    figures.add("50 events a second: ms from publish to delivery, p99", took[len(took) * 99 // 100] * 1e3)
    figures.add("50 events a second: µs of CPU an event, Redis", (await redis_cpu(url) - cpu) / len(sent) * 1e6)


async def repeat(url: str, sides: dict[type[Bare] | type[Ours], Figures], events: int, seconds: float) -> None:
    """Measure each side once."""
    for kind, figures in sides.items():
        side, arrivals = kind(url), list[float]()
        await side.begin(lambda: arrivals.append(time.perf_counter()))  # noqa: B023
        await asyncio.sleep(0.5)
        await latency(url, figures, side, arrivals, seconds)
        await rate(url, figures, "one by one", side.publish, events)
        await rate(url, figures, "in batches of 100", side.publish_many, events * 5)
        await side.close()


def table(bare: Figures, ours: Figures) -> str:
    """Write the medians, and their ratio."""
    lines = ["| | bare | asgi_forum | ratio |", "| --- | --- | --- | --- |"]
    for name, values in ours.rows.items():
        floor, own = statistics.median(bare.rows[name]), statistics.median(values)
        lines.append(f"| {name} | {floor:,.2f} | {own:,.2f} | {own / floor:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Run all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    sides: dict[type[Bare] | type[Ours], Figures] = {Bare: Figures(), Ours: Figures()}
    with running() as server:
        for _ in range(options.repeats):
            asyncio.run(repeat(server.url, sides, options.events, options.seconds))
    print(table(sides[Bare], sides[Ours]))


if __name__ == "__main__":
    main()
