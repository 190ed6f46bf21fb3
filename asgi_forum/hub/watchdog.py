"""One clock for all streams: heartbeats, deadlines and stuck sends are noticed by one scan, not by a timer for each."""

from __future__ import annotations

from typing import Protocol

import anyio
import anyio.lowlevel

__all__ = ["Watchdog", "Watched"]


class Watched(Protocol):
    """Who has to be told the time."""

    def check(self, now: float) -> None:
        """Look at the clock (the event loop's, in seconds). Never waits."""
        ...


SLICE = 50
"""
Streams that are roused before others get their turn. What all got at one time makes all their heartbeats due at one time: of 10,000 that
were roused in one go the last, and each event behind them, waited for all the others.
"""


class Watchdog:
    """Tells every stream the time, ten times in each heartbeat, and at least once a second."""

    def __init__(self, heartbeat: float) -> None:
        self._interval = min(heartbeat / 10, 1.0)
        self._watched: set[Watched] = set()
        self._roused = 0

    def watch(self, watched: Watched) -> None:
        """Begin to tell it the time."""
        self._watched.add(watched)

    def forget(self, watched: Watched) -> None:
        """Stop. Harmless if it was not watched."""
        self._watched.discard(watched)

    def rouses(self) -> None:
        """Hear from who is told the time that there is something to send now."""
        self._roused += 1

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await anyio.sleep(self._interval)
            now, gave_way = anyio.current_time(), False
            for watched in tuple(self._watched):
                if gave_way and watched not in self._watched:
                    continue  # forgotten meanwhile
                watched.check(now)
                if self._roused >= SLICE:
                    self._roused = 0
                    await anyio.lowlevel.checkpoint()
                    now, gave_way = anyio.current_time(), True
