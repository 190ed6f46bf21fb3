"""The demo as people start it: a process of its own, which can be killed and started again on the same port."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

__all__ = ["DemoProcess", "demo_process", "start_demo"]

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0
"""Seconds for a start or an end."""


class DemoProcess:
    """`python -m demo`, at an address that stays the same."""

    def __init__(self, *options: str) -> None:
        self.port = 0
        self._options = options
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, on the port that the first start has picked; returns once it answers."""
        self._process = await start_demo("--port", str(self.port), *self._options)
        line = await first_line(self._process)
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found, f"expected the line with the address, got {line!r}"
        self.port = int(found[1])

    async def kill(self) -> None:
        """End it without a word, as a crash does."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def interrupt(self) -> int:
        """End it as Ctrl-C does; returns its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        with anyio.fail_after(DEADLINE):
            return await self._process.wait()

    async def aclose(self) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.returncode is None:
            await self.kill()


async def start_demo(*options: str) -> Process:
    """Start the demo in a process."""
    return await anyio.open_process([sys.executable, "-m", "demo", *options], cwd=ROOT, stdout=PIPE, stderr=PIPE)


async def first_line(process: Process) -> str:
    """Wait for the first line of its output; empty where it ended without one."""
    assert process.stdout is not None
    line = ""
    with anyio.fail_after(DEADLINE):
        async for text in TextReceiveStream(process.stdout):
            line += text
            if "\n" in line:
                break
    return line.partition("\n")[0]


@asynccontextmanager
async def demo_process(*options: str) -> AsyncGenerator[DemoProcess, None]:
    """Run a demo while the block runs."""
    process = DemoProcess(*options)
    try:
        await process.start()
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await process.aclose()
