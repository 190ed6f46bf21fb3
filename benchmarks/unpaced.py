"""
A server that takes everything at once (Daphne), and clients that read nothing: what it holds for them.

    python -m benchmarks.unpaced [--connections 100] [--waves 8]

As many clients as `Limits.streams` allows, half over SSE and half over WebSocket, each pair with a ticket of its own, read nothing while
three times `Limits.unpaced_bytes` go by for each. Their streams have ended by then; more clients knock, and are refused. The next wave
comes as soon as somebody would be let in, when the kernel has given up the connections of the last.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.error
import urllib.request

from benchmarks.load import Load
from benchmarks.servers import Served, serve

MIB = 2**20
UNPACED = MIB
SIZE = 50_000
SEND_TIMEOUT = 8.0
KINDS = ("sse", "ws")


def publish(server: Served, tickets: int) -> None:
    """Publish three times as much for each ticket as one stream may send."""
    server.get(f"/publish?count={3 * UNPACED // SIZE * tickets}&tickets={tickets}&batch=20")


def until_let_in(server: Served) -> float:
    """Knock until there is a place; return how many seconds that took."""
    since = time.monotonic()
    while True:
        asked = urllib.request.Request(f"http://127.0.0.1:{server.port}/stream", method="HEAD")
        try:
            urllib.request.urlopen(asked, timeout=10).close()
        except urllib.error.HTTPError as refusal:
            if refusal.code != 429 or time.monotonic() - since > 60:
                raise
            time.sleep(0.2)
        else:
            return time.monotonic() - since


def wave(server: Served, connections: int) -> tuple[int, int, int, int, float]:
    """Return how many came, streams left, how many more were refused, bytes of the process, and seconds until a place."""
    half = connections // 2
    path = f"/stream?ticket=T-{{m}} until=forum.live modulo={half} rcvbuf=4096"
    with Load(server.port, core=1) as load:
        opened = sum(load(f"open {kind} {half} {kind} {path}")["open"] for kind in KINDS)
        for kind in KINDS:
            load(f"pause {kind}")
        publish(server, half)
        held = server.memory()
        left = sum(server.get("/health")["streams"].values())
        refused = load(f"open more {half} sse {path}")["refused"].get("429", 0)
        return opened, left, refused, held, until_let_in(server)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unpaced")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--waves", type=int, default=8)
    given = parser.parse_args()
    limits = {"streams": given.connections, "unpaced_bytes": UNPACED, "send_timeout": SEND_TIMEOUT}
    environment = {"BENCHMARK_SIZE": str(SIZE), "BENCHMARK_RETAIN": "400", "BENCHMARK_LIMITS": json.dumps(limits)}
    with serve(
        "ours:app", "daphne", environment=environment, send_buffer=2**16, send_timeout=SEND_TIMEOUT - 2
    ) as server:
        publish(server, given.connections // 2)
        before = server.memory()
        bound = given.connections * (UNPACED + 2**16)
        print(f"{before / MIB:.0f} MiB before; `streams x (unpaced_bytes + frame_bytes)` are {bound / MIB:.0f} MiB.\n")
        print("| wave | clients | streams after it | refused then | MiB more | KiB for each | s until a place |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for number in range(1, given.waves + 1):
            opened, left, refused, held, seconds = wave(server, given.connections)
            more = held - before
            each = more / given.connections / 1024
            print(f"| {number} | {opened} | {left} | {refused} | {more / MIB:.0f} | {each:.0f} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
