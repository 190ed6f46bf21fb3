"""What the tests of a forum's life share: lives over any log, streams that keep what they were told, and loops in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager

from asgi_forum.errors import ForumError
from asgi_forum.hub.lifecycle import Lifecycle, Running
from asgi_forum.settings import Limits
from asgi_forum.sources import MemorySource
from tests.wire.sources import DistantSource


def lifecycle(
    source: MemorySource | DistantSource | None = None,
    *,
    handle_signals: bool = False,
    stop_after: float = 3.0,
    heartbeat: float = 60.0,
) -> Lifecycle:
    """A forum's life over a source."""
    log = source or MemorySource()
    return Lifecycle(
        lambda: Running(log, Limits(stop_after=stop_after), "resume", heartbeat), handle_signals=handle_signals
    )


class Stream:
    """A stream that keeps what it was told to end with."""

    def __init__(self) -> None:
        """Begin open."""
        self.told: list[ForumError] = []

    def end(self, error: ForumError) -> None:
        """Keep it."""
        self.told.append(error)


@contextmanager
def other_loop() -> Generator[asyncio.AbstractEventLoop, None, None]:
    """A loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
