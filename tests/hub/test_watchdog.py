"""The watchdog: one clock for all."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from asgi_forum.hub.watchdog import SLICE, Watchdog
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


async def test_others_have_their_turn_while_many_are_roused() -> None:
    """After each slice of them; who is forgotten in such a turn hears nothing more."""
    watchdog, told = Watchdog(0.05), list[object]()

    class Roused:
        """Somebody who has something to send now, the first time that he is told the time."""

        def check(self, now: float) -> None:
            """Say so."""
            del now
            if self not in told:
                told.append(self)
                watchdog.rouses()

    everybody = [Roused() for _ in range(4 * SLICE)]
    for each in everybody:
        watchdog.watch(each)
    seen, left = set[int](), list[Roused]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watchdog.run)
        with anyio.fail_after(DEADLINE):
            while len(told) < 3 * SLICE:
                seen.add(len(told))
                if len(told) == SLICE:
                    left = [each for each in everybody if each not in told][:SLICE]
                    for each in left:
                        watchdog.forget(each)
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert seen == {0, SLICE, 2 * SLICE}
    assert not set(left) & set(told)
