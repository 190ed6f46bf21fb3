"""One clock for all streams: heartbeats, deadlines and stuck sends are noticed by one scan, not by a timer for each."""

from __future__ import annotations

from typing import Protocol

import anyio

__all__ = ["Watchdog", "Watched"]


class Watched(Protocol):
    """Who has to be told the time."""

    def check(self, now: float) -> None:
        """Look at the clock (the event loop's, in seconds). Never waits."""
        ...


class Watchdog:
    """Tells every stream the time, ten times in each heartbeat, and at least once a second."""

    def __init__(self, heartbeat: float) -> None:
        self._interval = min(heartbeat / 10, 1.0)
        self._watched: set[Watched] = set()

    def watch(self, watched: Watched) -> None:
        """Begin to tell it the time."""
        self._watched.add(watched)

    def forget(self, watched: Watched) -> None:
        """Stop. Harmless if it was not watched."""
        self._watched.discard(watched)

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await anyio.sleep(self._interval)
            now = anyio.current_time()
            for watched in tuple(self._watched):
                watched.check(now)
