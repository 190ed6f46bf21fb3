"""The servers that are measured, each in a process of its own, on a core of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["COMMANDS", "Served", "processor_time", "serve"]

_PAGE = os.sysconf("SC_PAGE_SIZE")

COMMANDS: dict[str, list[str]] = {
    "uvicorn": [
        "uvicorn", "{app}", "--fd", "{fd}", "--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio",
        "--ws-per-message-deflate", "false", "--log-level", "critical", "--no-access-log", "--backlog", "8192",
    ],
    "hypercorn": ["hypercorn", "{app}", "--bind", "127.0.0.1:{port}", "-w", "0", "--log-level", "critical"],
    "granian": [
        "granian", "{app}", "--interface", "asgi", "--port", "{port}", "--no-log", "--loop", "uvloop", "--backlog", "8192",
    ],
    "daphne": ["daphne", "{app}", "--fd", "{fd}", "-v", "0"],
}  # fmt: skip
"""How each server is started, as one process."""


@dataclass(slots=True)
class Served:
    """A server: its port and process."""

    port: int
    process: subprocess.Popen[bytes]

    def get(self, path: str, timeout: float = 600.0) -> dict[str, Any]:
        """GET a path, and return the JSON of the answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def cpu(self) -> float:
        """Seconds of processor time that it has used, its children's included."""
        return sum(processor_time(process) for process in self._processes())

    def memory(self) -> int:
        """Bytes that it holds in memory, its children's included."""
        return sum(_PAGE * int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in self._processes())

    def _processes(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]


@contextmanager
def serve(
    app: str,
    server: str = "uvicorn",
    *,
    core: int | None = 0,
    environment: Mapping[str, str] | None = None,
    send_buffer: int | None = None,
    send_timeout: float | None = None,
) -> Generator[Served]:
    """
    Run `benchmarks.apps.<app>` (`module:name`) on a server until the block ends.

    send_buffer, send_timeout: bytes that the kernel holds for each connection, and seconds after which it gives up on one that
    acknowledges nothing; on uvicorn and daphne, as `asgi-forum serve` sets them.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited. uvicorn takes a descriptor for a UNIX socket, so nobody sets it; without, what is small waits for the last ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if send_buffer is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    if send_timeout is not None:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(send_timeout * 1000))
    listening.bind(("127.0.0.1", 0))
    port: int = listening.getsockname()[1]
    own = "{fd}" in COMMANDS[server]
    if own:
        listening.listen(8192)
    command = [part.format(app=f"benchmarks.apps.{app}", port=port, fd=listening.fileno()) for part in COMMANDS[server]]
    passed = [listening.fileno()] if own else []

    def bind() -> None:
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {core})
        _allow_connections()

    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, **(environment or {})},
        preexec_fn=bind,
        start_new_session=True,
        pass_fds=passed,
    )
    listening.close()
    try:
        _wait_for(port, process)
        yield Served(port, process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _allow_connections() -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=5).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.args!r} did not start") from None
            time.sleep(0.05)
        else:
            return


def processor_time(process: int) -> float:
    """Return the seconds of processor time that another process has used."""
    # The processor clock of another process, as clock_getcpuclockid(3) makes it up: /proc counts in hundredths of a second.
    return time.clock_gettime(~process << 3 | 2)
