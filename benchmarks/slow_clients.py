"""
Clients that stop reading, while much goes by: what they cost, what the others notice, and what they get when they read again.

    python -m benchmarks.slow_clients [--slow 500] [--others 20] [--megabytes 200] [--redis]

The slow ones, half of them over SSE and half over WebSocket, read nothing while the events go by; then they read again. With `--redis`
the log is in a redis-server of its own and holds everything, so that they have to get everything; else it is in memory, and holds
the newest 2000 events, so that they get a reset. The kernel holds little for each connection, as under `asgi-forum serve`. A WebSocket
that answers no pings is cut by uvicorn after 40 seconds; it comes back with its cursor.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from benchmarks.load import Load
from benchmarks.servers import serve
from tests.redis.servers import running

SIZE = 10_000
RATE = 200.0
MIB = 2**20


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow_clients")
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--others", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--redis", action="store_true")
    given = parser.parse_args()
    count = given.megabytes * 10**6 // SIZE
    environment = {"BENCHMARK_SIZE": str(SIZE), "BENCHMARK_RETAIN": "2000", "BENCHMARK_LIMITS": '{"send_timeout": 600}'}
    with ExitStack() as stack:
        if given.redis:
            environment["BENCHMARK_SOURCE"] = stack.enter_context(running()).url
            environment["BENCHMARK_RETAIN"] = "10000000"
        server = stack.enter_context(serve("ours:app", environment=environment, send_buffer=2**16))
        load = stack.enter_context(Load(server.port, core=1))
        for kind in ("sse", "ws"):
            load(f"open others-{kind} {given.others // 2} {kind} /stream?ticket=T-0 until=forum.live")
        server.get(f"/publish?count=4000&rate={RATE}")
        alone = {kind: load(f"stats others-{kind}") for kind in ("sse", "ws")}
        for kind in ("sse", "ws"):
            load(f"open slow-{kind} {given.slow // 2} {kind} /stream?ticket=T-0 until=forum.live rcvbuf=4096")
            load(f"pause slow-{kind}")
            load(f"reset others-{kind}")
        before = server.memory()
        server.get(f"/publish?count={count}&rate={RATE}")
        after = server.memory()
        beside = {kind: load(f"stats others-{kind}") for kind in ("sse", "ws")}
        print(
            f"{given.slow} clients read nothing while {given.megabytes} MB went by at {RATE:g} events/s of {SIZE} bytes.\n"
        )
        print(
            f"The process: {before / MIB:.0f} MiB before, {after / MIB:.0f} MiB after: "
            f"{(after - before) / given.slow / 1024:.0f} KiB each\n"
        )
        print("| others | p50 ms alone | beside them | p99 alone | beside them | lost or twice |")
        print("| --- | --- | --- | --- | --- | --- |")
        for kind in ("sse", "ws"):
            one, two = alone[kind], beside[kind]
            wrong = two["gaps"] + two["duplicates"]
            print(f"| {kind} | {one['p50']} | {two['p50']} | {one['p99']} | {two['p99']} | {wrong} |")
        print()
        for kind in ("sse", "ws"):
            load(f"read slow-{kind}")
            if kind == "ws":
                load(f"closed slow-{kind} 5000")  # what is left of those that were cut
            load(f"reopen slow-{kind} retry=1")
        for kind in ("sse", "ws"):
            done, slow = load(f"wait slow-{kind} {4000 + count} 100000"), load(f"stats slow-{kind}")
            print(
                f"Reading again, {kind}: {done['done']} of {done['of']} came to the end, {slow['gaps']} gaps (a reset each),"
                f" {slow['duplicates']} events twice, {slow['deliveries']} deliveries"
            )
        resets = server.get("/stats")["resets"]
        print(f"Resets: {resets or 'none'}. The process at the end: {server.memory() / MIB:.0f} MiB")


if __name__ == "__main__":
    main()
