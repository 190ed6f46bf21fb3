"""
Clients that come and go: what they leave behind.

    python -m benchmarks.disconnects [--connections 20000] [--at-once 1000]

Rounds of connections, SSE and WebSocket, that end by RST, by FIN, or by not being read any more until they are cut; meanwhile events
go by. Memory and tasks of the server are looked at after each tenth.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.load import Load
from benchmarks.servers import Served, serve

MIB = 2**20


def settled(server: Served) -> dict[str, int]:
    """Wait until no stream is open, and return tasks and memory."""
    deadline = time.monotonic() + 30
    while (found := server.get("/stats"))["streams"] and time.monotonic() < deadline:
        time.sleep(0.1)
    return {"tasks": found["tasks"], "streams": sum(found["streams"].values()), "channels": found["channels"]}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disconnects")
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=1000)
    given = parser.parse_args()
    environment = {"BENCHMARK_HEARTBEAT": "2", "BENCHMARK_SEND_TIMEOUT": "2", "BENCHMARK_RETAIN": "1000"}
    with serve("ours:app", environment=environment) as server:
        print("| connections so far | tasks | streams | channels | MiB |\n| --- | --- | --- | --- | --- |")
        done, step = 0, 0
        while done < given.connections:
            half = given.at_once // 2
            with Load(server.port, core=1) as load:
                for kind in ("sse", "ws"):
                    load(f"open {kind} {half} {kind} /stream?ticket=T-{{m}} until=forum.live modulo=50 rcvbuf=4096")
                server.get("/publish?count=50&tickets=50")
                how = step % 3
                if how == 2:  # nothing is said at all: the forum finds out by itself, as it can't send
                    for kind in ("sse", "ws"):
                        load(f"pause {kind}")
                    server.get("/publish?count=100&tickets=1")
                for kind in ("sse", "ws"):
                    load(f"drop {kind} {('rst', 'fin', 'rst')[how]}")
            done, step = done + 2 * half, step + 1
            if done % max(given.connections // 10, given.at_once) == 0:
                found = settled(server)
                print(
                    f"| {done} | {found['tasks']} | {found['streams']} | {found['channels']} | {server.memory() / MIB:.1f} |"
                )


if __name__ == "__main__":
    main()
