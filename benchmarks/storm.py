"""
A reconnect storm: thousands of clients are dropped at once, and resume from their cursors while events go on.

    python -m benchmarks.storm [--clients 5000] [--others 50] [--spread 2.0] [--redis]

The clients are spread over 500 tickets, half of them use SSE and half WebSocket; others, which are not dropped, go on reading. While
the clients are away 2000 events are published; each has to get those of its ticket, once and in order. `--spread` is what `retry:`
does: each waits a random time of up to so many seconds; 0 is the worst case.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from threading import Thread

from benchmarks.load import Load
from benchmarks.servers import serve
from tests.redis.servers import running

TICKETS = 500


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--others", type=int, default=50)
    parser.add_argument("--spread", type=float, default=2.0)
    parser.add_argument("--redis", action="store_true")
    given = parser.parse_args()
    environment: dict[str, str] = {}
    with ExitStack() as stack:
        if given.redis:
            environment["BENCHMARK_SOURCE"] = stack.enter_context(running()).url
        server = stack.enter_context(serve("ours:app", environment=environment))
        loads = {kind: stack.enter_context(Load(server.port, core=1)) for kind in ("sse", "ws")}
        watch = stack.enter_context(Load(server.port, core=1))
        for kind in ("sse", "ws"):
            loads[kind](
                f"open {kind} {given.clients // 2} {kind} /stream?ticket=T-{{m}} until=forum.live modulo={TICKETS}"
            )
        watch(f"open others {given.others} sse /stream?ticket=T-0 until=forum.live")
        server.get(f"/publish?count=1000&tickets={TICKETS}")
        for kind in ("sse", "ws"):
            loads[kind](f"wait {kind} 2 20000")
        watch("reset others")
        server.get("/publish?count=500&rate=100&tickets=1")
        calm = watch("stats others")
        for kind in ("sse", "ws"):
            loads[kind](f"drop {kind} rst")
        server.get(f"/publish?count=2000&tickets={TICKETS}")
        before = server.get("/stats")
        watch("reset others")
        publisher = Thread(target=server.get, args=("/publish?count=1000&rate=100&tickets=1",))
        publisher.start()
        began, cpu = time.monotonic(), server.cpu()
        for kind in loads:
            loads[kind].send(f"reopen {kind} until=forum.live inflight=1024 spread={given.spread * 1000}")
        back = {kind: loads[kind].answer() for kind in loads}
        took, used = time.monotonic() - began, server.cpu() - cpu
        during = watch("stats others")
        after = server.get("/stats")
        publisher.join()
        wrong = 0
        for kind in ("sse", "ws"):
            loads[kind](f"wait {kind} 6 20000")
            stats = loads[kind](f"stats {kind}")
            wrong += stats["gaps"] + stats["duplicates"]
        print(
            f"{given.clients} clients dropped at once, back within {given.spread:g} s; source: {environment or 'memory'}\n"
        )
        print("| | sse | ws |\n| --- | --- | --- |")
        for name in ("open", "p50", "p99", "last", "failures"):
            print(f"| {name} | {back['sse'][name]} | {back['ws'][name]} |")
        reads = after["source_reads"] - before["source_reads"]
        print(
            f"\nAll back after {took:.1f} s, {used:.1f} s of CPU; {reads} reads of the source, {wrong} events lost or twice."
        )
        print(
            f"Others, ms from publishing to delivery: p50 {calm['p50']} / p99 {calm['p99']} / max {calm['max']} before,",
            end=" ",
        )
        print(f"{during['p50']} / {during['p99']} / {during['max']} meanwhile ({during['gaps']} gaps).")


if __name__ == "__main__":
    main()
