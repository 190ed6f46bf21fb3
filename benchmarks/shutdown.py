"""
How each server stops with many open streams, half of them SSE, half WebSockets.

    python -m benchmarks.shutdown [--streams 1000] [--only NAME]... [--interrupt]

It starts each server that is installed as a process of its own, opens the streams on raw sockets, sends SIGTERM (or SIGINT, by
`--interrupt`), and prints a Markdown table. A stream has ended properly if SSE came to the clean end of its chunked body, and a
WebSocket has got a close frame with 1012 (daphne: 4012); it was told goodbye if its last frame was a `forum.error`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from subprocess import TimeoutExpired

from tests.docs.pages import ROOT, blocks
from tests.docs.projects import write_files
from tests.redis.servers import free_port
from tests.serving.clients import Client, open_clients, reading
from tests.serving.servers import HYPERCORN_WITH_WORKERS, SERVERS, Server, Serving, serving, serving_command

PATIENCE = 15.0
"""Seconds after which a server counts as one that does not stop."""

WAYS: dict[str, Server] = {
    **SERVERS,
    "hypercorn with its worker": HYPERCORN_WITH_WORKERS,
    "serve_hypercorn.py": HYPERCORN_WITH_WORKERS,
}
"""The servers, and the program of docs/mounting.md."""


@contextmanager
def running(name: str, server: Server) -> Generator[Serving]:
    """Start a server, or a program that runs one."""
    if not name.endswith(".py"):
        with serving(server, "wired") as served:
            yield served
        return
    with tempfile.TemporaryDirectory() as folder:
        write_files({each.title: each.text for each in blocks(ROOT / "docs/mounting.md") if each.title}, Path(folder))
        port = free_port()
        command = [sys.executable, str(Path(folder) / name)]
        with serving_command(command, port, {"PORT": str(port)}) as served:
            yield served


def ended(client: Client) -> bool:
    """Whether the server ended a stream as HTTP and WebSockets have it."""
    return client.body[1] if client.kind == "sse" else client.close_code in (1012, 4012)


def row(name: str, server: Server, streams: int, number: signal.Signals) -> str:
    """Stop one server, and write its row."""
    with (
        running(name, server) as served,
        open_clients(served.port, "/forum", "sse", "websocket", count=streams // 2) as clients,
    ):
        begun = time.monotonic()
        served.process.popen.send_signal(number)
        reading(clients, begun + PATIENCE)
        try:
            served.process.popen.wait(max(begun + PATIENCE - time.monotonic(), 0.0))
            seconds = f"{time.monotonic() - begun:.2f}"
        except TimeoutExpired:
            seconds = f"not within {PATIENCE:g}"
        told = sum(client.verdict.startswith("shutting_down") for client in clients)
        proper = sum(map(ended, clients))
    log = served.process.stderr.rest() if not seconds.startswith("not") else []
    tracebacks = sum("Traceback" in line or "panicked" in line for line in log)
    return f"| {name} | {seconds} | {proper} | {told} | {len(clients) - proper} | {tracebacks} |"


def main() -> None:
    """Stop all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--only", action="append", choices=list(WAYS))
    parser.add_argument("--interrupt", action="store_true")
    options = parser.parse_args()
    print("| server | seconds to exit | ended properly | told goodbye | cut | tracebacks |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in options.only or WAYS:
        if WAYS[name].installed:
            line = row(name, WAYS[name], options.streams, signal.SIGINT if options.interrupt else signal.SIGTERM)
            print(line, flush=True)


if __name__ == "__main__":
    main()
