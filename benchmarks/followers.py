"""
What each process pays for a log in Redis: asgi_forum beside a bare loop of XREAD with the same proof behind it, and beside memory.

    python -m benchmarks.followers [--repeats 5] [--events 2000] [--subscribers 500]

It starts a redis-server of its own. Another program, this one, appends the events, to two streams: one is followed by a process that does
nothing but XREAD and, pipelined behind it, XRANGE and HGET; the other one by a forum on uvicorn, without subscribers and with them. Both
take turns, one event after the other and in bursts of 100. What a delivery costs beyond one of a forum in memory is what Redis costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from redis import Redis

from benchmarks.apps.control import PAD
from benchmarks.load import Load
from benchmarks.servers import Served, processor_time, serve
from tests.redis.servers import running

BARE = "bare"
LOG = "asgi_forum:{default}:log"
RATE = 100.0
BURST = 100
QUIET = {"BENCHMARK_HEARTBEAT": "600"}

Rows = dict[str, list[float]]


def entry(number: int) -> bytes:
    """Write an event as any program would."""
    envelope = {
        "event_id": uuid4().hex,
        "event_type": "forum.post.added",
        "event_version": 1,
        "occurred_at": "2026-02-10T12:56:00.123Z",
        "ticket": "T-0",
        "actor_type": "system",
    }
    payload = {"n": number, "t": time.monotonic_ns(), "pad": PAD}
    return json.dumps({"envelope": envelope, "payload": payload}, separators=(",", ":")).encode()


class Publisher:
    """Appends events to one stream, at a steady rate of entries or bursts."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._numbers: defaultdict[str, int] = defaultdict(int)

    def append(self, stream: str, count: int, burst: int) -> None:
        """Append so many, `burst` in one transaction; return when the last one has had time to arrive."""
        began = time.monotonic()
        for done in range(0, count, burst):
            time.sleep(max(began + done / (RATE * burst**0.5) - time.monotonic(), 0))
            pipe = self._redis.pipeline(transaction=burst > 1)
            for _ in range(burst):
                self._numbers[stream] += 1
                pipe.xadd(stream, {"event": entry(self._numbers[stream])}, id="0-*")
            pipe.execute()
        time.sleep(0.3)


@contextmanager
def bare_follower(url: str) -> Iterator[int]:
    """Run the bare loop; yield its process."""
    program = subprocess.Popen(
        ["taskset", "-c", "0", sys.executable, "-m", "benchmarks.apps.follow", url, BARE], stdout=subprocess.PIPE
    )
    assert program.stdout
    program.stdout.readline()
    try:
        yield program.pid
    finally:
        program.kill()
        program.wait()
        program.stdout.close()


def alone(rows: Rows, url: str, publisher: Publisher, events: int) -> None:
    """Take turns: the bare loop, and a forum that nobody reads."""
    with bare_follower(url) as bare, serve("ours:app", environment={"BENCHMARK_SOURCE": url, **QUIET}) as server:
        for burst, name in ((1, "one at a time"), (BURST, f"bursts of {BURST}")):
            for stream, process in ((BARE, bare), (LOG, server.process.pid)):
                publisher.append(stream, 3 * burst, burst)
                cpu = processor_time(process)
                publisher.append(stream, events, burst)
                rows[f"{name}, {'bare' if stream == BARE else 'forum'}"].append(
                    (processor_time(process) - cpu) / events * 1e6
                )


def deliveries(rows: Rows, name: str, server: Served, append: object, subscribers: int, events: int) -> None:
    """Measure a delivery to many, one event at a time."""
    with Load(server.port, core=1) as load:
        for kind in ("sse", "ws"):
            load(f"open {kind} {subscribers} {kind} /stream?ticket=T-0 until=forum.live")
            cpu = server.cpu()
            assert callable(append)
            append()
            used = server.cpu() - cpu
            stats = load(f"stats {kind}")
            if stats["deliveries"] != events * subscribers or stats["gaps"] or stats["duplicates"]:
                raise SystemExit(f"{name}, {kind}: not {events * subscribers} deliveries in order: {stats}")
            rows[f"{name}, {kind}"].append(used / events * 1e6)
            load(f"drop {kind} fin")


def read(rows: Rows, url: str, publisher: Publisher, subscribers: int) -> None:
    """Take turns: a forum in memory, which publishes by itself, and one on Redis; both at the same pace."""
    events = 200
    with serve("ours:app", environment=QUIET) as server:
        path = f"/publish?count={events}&rate={RATE}"
        deliveries(rows, "memory", server, lambda: (server.get(path), time.sleep(0.3)), subscribers, events)
    with serve("ours:app", environment={"BENCHMARK_SOURCE": url, **QUIET}) as server:
        deliveries(rows, "redis", server, lambda: publisher.append(LOG, events, 1), subscribers, events)


def main() -> None:
    """Run all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--subscribers", type=int, default=500)
    given = parser.parse_args()
    rows: Rows = defaultdict(list)
    for _ in range(given.repeats):
        with running() as server, Redis.from_url(server.url) as redis:
            publisher = Publisher(redis)
            alone(rows, server.url, publisher, given.events)
            read(rows, server.url, publisher, given.subscribers)
    found = {name: statistics.median(values) for name, values in rows.items()}
    print(
        "| µs of CPU an event, in a process that follows the log | bare loop | forum | ratio |\n| --- | --- | --- | --- |"
    )
    for name in ("one at a time", f"bursts of {BURST}"):
        bare, ours = found[f"{name}, bare"], found[f"{name}, forum"]
        print(f"| {name}, nobody reads | {bare:.1f} | {ours:.1f} | {ours / bare:.2f} |")
    bare = found["one at a time, bare"]
    for kind, says in (("sse", "SSE"), ("ws", "WebSocket")):
        extra = found[f"redis, {kind}"] - found[f"memory, {kind}"]
        print(
            f"| {given.subscribers} read over {says}: beyond what it costs in memory | {bare:.1f} | {extra:.1f} | {extra / bare:.2f} |"
        )


if __name__ == "__main__":
    main()
