"""How long a client may take: a deadline for each send, and a short one for all that is left once its stream ends."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import anyio

from asgi_forum.errors import TooSlow

__all__ = ["FAREWELL", "Sender", "begun"]

FAREWELL = 1.0
"""Seconds that a goodbye may take, and what is under way before it: a client that reads nothing does not take that either."""


async def begun(seconds: float, begin: Callable[[], Awaitable[None]]) -> bool:
    """Begin an answer, which a client takes at once or, where its connection is stuck, not at all; whether it did in these seconds."""
    with anyio.move_on_after(seconds) as scope:
        await begin()
    return not scope.cancelled_caught


class Sender:
    """
    Sends to one client, one thing at a time, and gives up on a client that accepts nothing of it for `timeout` seconds.

    What was given up must not be sent again: one server has written nothing of it by then, another all. A goodbye may follow.
    """

    __slots__ = ("_current", "_leave_by", "_timeout")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._leave_by = math.inf
        self._current: tuple[float, anyio.CancelScope] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being sent."""
        return self._current is not None

    def check(self, now: float) -> None:
        """Look at the clock: one watchdog for all, instead of a timer for each send."""
        if self._current is not None and now - self._current[0] > self._timeout:
            self._current[1].cancel()

    def leave(self) -> None:
        """From now on there are FAREWELL seconds for all that is still sent, what is under way included."""
        if self._leave_by == math.inf:
            # Not anyio's clock: a signal has this called in the loop, but in no task.
            self._leave_by = asyncio.get_running_loop().time() + FAREWELL
            if self._current is not None:
                self._current[1].deadline = self._leave_by

    async def send(self, send: Callable[[], Awaitable[None]]) -> None:
        """Send. Raises TooSlow where it was given up."""
        with anyio.CancelScope(deadline=self._leave_by) as scope:
            self._current = (anyio.current_time(), scope)
            try:
                await send()
            finally:
                self._current = None
        if scope.cancelled_caught:
            raise TooSlow().at("send_timeout")
