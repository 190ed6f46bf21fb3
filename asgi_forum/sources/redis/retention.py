"""What is kept, and how long: once a minute one process of all trims the log, entries of other producers included."""

from __future__ import annotations

import math

import anyio
from redis import exceptions

from asgi_forum.errors import SourceUnavailable
from asgi_forum.logs import EventLogger, event_logger
from asgi_forum.sources.redis.connections import Connections, Script
from asgi_forum.sources.redis.keys import LogKeys
from asgi_forum.sources.registry import KEEP_ALL

__all__ = ["Retention"]

logger: EventLogger = event_logger("asgi_forum.redis")

_TIDY = Script.load("tidy")
_INTERVAL = 60.0


class Retention:
    """
    Trims by length, and by the time since arrival.

    Ids carry no time, and `occurred_at` is the producer's: so the time at which the log had come how far is noted once an interval
    (a minute, or a tenth of `retain_for`), and what lies before the mark that is old enough goes. An entry is kept for
    `retain_for` seconds at least, and an interval or two more. Where Redis refuses it, that is logged, once: reading goes on.
    """

    def __init__(self, connections: Connections, keys: LogKeys, *, retain: int, retain_for: float | None) -> None:
        self._connections = connections
        self._keys = (keys.log, keys.meta, keys.ages)
        self._retain = retain
        self._retain_for = retain_for or 0.0
        self._interval = min(_INTERVAL, self._retain_for / 10 or _INTERVAL)
        self._due = -math.inf
        self._refused = False

    async def look(self) -> bool:
        """
        Trim, where the interval has passed and no other process has done it. Raises SourceUnavailable.

        True where the interval has passed, whoever has trimmed.
        """
        if anyio.current_time() < self._due:
            return False
        if self._retain >= KEEP_ALL:
            return False  # nor takes the turn of one who has something to trim
        self._due = anyio.current_time() + self._interval
        # Processes take turns as it happens; half an interval is what their clocks may differ by.
        try:
            await self._connections.script(
                _TIDY, self._keys, (f"{self._interval / 2:.3f}", self._retain, f"{self._retain_for:.3f}")
            )
        except SourceUnavailable as error:
            if not isinstance(error.__cause__, exceptions.ResponseError):
                raise
            if not self._refused:
                logger.warning("asgi_forum.trimming_refused: %s", error)
            self._refused = True
        else:
            self._refused = False
        return True
