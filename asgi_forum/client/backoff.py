"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["Backoff"]

MAX_ASKED = 600.0
"""The longest wait, in seconds, that a server may ask for."""


class Backoff:
    """
    Delays in seconds between tries: they double up to `ceiling` and are spread at random, so that thousands don't
    come back at once.

    What the server asks for (`retry:`, `Retry-After`) is the least; it knows best. `draw` returns random numbers from
    0 to 1.
    """

    def __init__(self, first: float = 1.0, ceiling: float = 30.0, draw: Callable[[], float] = random.random) -> None:
        self.failures: int = 0
        self._first = first
        self._ceiling = ceiling
        self._draw = draw
        self._asked = 0.0

    def ask(self, retry_ms: int) -> None:
        """Note what the stream's `retry:` line says; it holds until another one comes."""
        self._asked = retry_ms / 1000

    def succeeded(self) -> None:
        """Begin anew: the connection has carried something."""
        self.failures = 0

    def next_delay(self, at_least: float = 0.0) -> float:
        """Count a failure, and return how long to wait after it; `at_least` is what this refusal asked for."""
        grown = min(self._ceiling, self._first * 2.0 ** min(self.failures + 1, 32))
        asked = min(max(self._asked, at_least), MAX_ASKED)
        low = asked or min(self._first / 2, self._ceiling)
        self.failures += 1
        return low + self._draw() * (max(grown, asked * 1.25) - low)
