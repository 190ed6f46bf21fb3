"""The watchdog: one clock for all."""

from __future__ import annotations

import anyio
import pytest

from asgi_forum.hub.watchdog import Watchdog
from tests.hub.bench import DEADLINE

pytestmark = pytest.mark.anyio


class Clock:
    """Somebody who wants to know the time, and tells when he has heard it often enough."""

    def __init__(self, times: int) -> None:
        """Wait for so many ticks."""
        self.heard: list[float] = []
        self.enough = anyio.Event()
        self._times = times

    def check(self, now: float) -> None:
        """Keep the time."""
        self.heard.append(now)
        if len(self.heard) >= self._times:
            self.enough.set()


async def test_everybody_is_told_the_loops_time() -> None:
    """The same for all, a tenth of a heartbeat apart, and rising."""
    watchdog, clocks = Watchdog(0.2), [Clock(5), Clock(5)]
    for clock in clocks:
        watchdog.watch(clock)
    async with anyio.create_task_group() as tasks:
        begun = anyio.current_time()
        tasks.start_soon(watchdog.run)
        with anyio.fail_after(DEADLINE):
            await clocks[1].enough.wait()
        assert clocks[0].heard[:5] == clocks[1].heard[:5] == sorted(clocks[0].heard[:5])
        assert begun < clocks[0].heard[0] <= anyio.current_time()
        assert all(
            later - earlier >= 0.019 for earlier, later in zip(clocks[0].heard, clocks[0].heard[1:], strict=False)
        )
        tasks.cancel_scope.cancel()


async def test_who_is_forgotten_hears_nothing_more() -> None:
    """Forgetting twice is harmless, and may be done while the time is told."""
    watchdog, other = Watchdog(0.05), Clock(5)

    class Leaving(Clock):
        """Somebody who leaves when told the time."""

        def check(self, now: float) -> None:
            """Leave."""
            super().check(now)
            watchdog.forget(self)
            watchdog.forget(self)

    leaving = Leaving(1)
    watchdog.watch(leaving)
    watchdog.watch(other)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watchdog.run)
        with anyio.fail_after(DEADLINE):
            await other.enough.wait()
        tasks.cancel_scope.cancel()
    assert len(leaving.heard) == 1
