"""
Clients that come and go: what they leave behind.

    python -m benchmarks.disconnects [--connections 20000] [--at-once 1000] [--heartbeat 25]

Rounds of connections, SSE and WebSocket, that end by FIN, by RST, by a reset after a while in which they read nothing, or not at all:
the kernel drops all that comes for them, so that they acknowledge nothing any more; meanwhile events go by. The server's socket is set
up as that of `asgi-forum serve`, with `send_timeout` at four fifths of a heartbeat, as it is by default. Memory and tasks of the server are
looked at after each tenth, and how long it kept those that had vanished.
"""

from __future__ import annotations

import argparse
import json
import time

from benchmarks.load import Load
from benchmarks.servers import Served, serve

MIB = 2**20
KINDS = ("sse", "ws")


def settled(server: Served) -> dict[str, int]:
    """Wait until no stream is open, and return tasks and memory."""
    deadline = time.monotonic() + 120
    while any((found := server.get("/stats"))["streams"].values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return {"tasks": found["tasks"], "streams": sum(found["streams"].values()), "channels": found["channels"]}


def come_and_go(server: Served, load: Load, count: int, how: int) -> float:
    """Open so many connections and end them one way or another; return how long the server kept the last that vanished, if they did."""
    for kind in KINDS:
        load(f"open {kind} {count // 2} {kind} /stream?ticket=T-{{m}} until=forum.live modulo=50 rcvbuf=4096")
    server.get("/publish?count=50&tickets=50")
    kept = 0.0
    if how == 2:
        for kind in KINDS:
            load(f"pause {kind}")
        server.get("/publish?count=100&tickets=1")
    elif how == 3:
        for kind in KINDS:
            load(f"vanish {kind}")
        since = time.monotonic()
        settled(server)
        kept = time.monotonic() - since
    for kind in KINDS:
        load(f"drop {kind} {('fin', 'rst', 'rst', 'rst')[how]}")
    return kept


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disconnects")
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=1000)
    parser.add_argument("--heartbeat", type=float, default=25.0)
    given = parser.parse_args()
    patience = given.heartbeat * 0.8
    environment = {
        "BENCHMARK_HEARTBEAT": str(given.heartbeat),
        "BENCHMARK_LIMITS": json.dumps({"send_timeout": patience}),
        "BENCHMARK_RETAIN": "1000",
    }
    kept: list[float] = []
    with serve("ours:app", environment=environment, send_buffer=2**16, send_timeout=patience) as server:
        print("| connections so far | tasks | streams | channels | MiB |\n| --- | --- | --- | --- | --- |")
        for step in range(given.connections // given.at_once):
            with Load(server.port, core=1) as load:
                kept.append(come_and_go(server, load, given.at_once, step % 4))
            done = (step + 1) * given.at_once
            if done % max(given.connections // 10, given.at_once) == 0:
                found = settled(server)
                print(
                    f"| {done} | {found['tasks']} | {found['streams']} | {found['channels']} | {server.memory() / MIB:.1f} |"
                )
    times = [each for each in kept if each]
    print(f"\n{len(times) * given.at_once} vanished; the last of each {given.at_once} was kept for ", end="")
    print(
        f"{min(times) / given.heartbeat:.2f} to {max(times) / given.heartbeat:.2f} heartbeats of {given.heartbeat:g} s."
    )


if __name__ == "__main__":
    main()
