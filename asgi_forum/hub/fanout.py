"""Fan-out: one task that serves all streams that keep up, in turn, and leaves those behind whose client takes its time."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
import anyio.abc

__all__ = ["CUT", "Fanout", "Served", "being_cancelled"]

SLICE = 50
"""
Streams that are served in one iteration of the loop. While some are served events gather for the others, which then go out in one
write: that, and not a cheaper wake, is what a fan-out saves most by. Of 500 streams, one event after the other as fast as they come,
each write carried 5 events with slices of 100, 10 with 50 and 16 with 32; where nothing is to be gathered it made no difference.
"""


CUT = "sending was cancelled, but not by the forum"
"""What a stream ends with where its `send` raised CancelledError: nobody knows what was sent, so nothing may follow."""


def being_cancelled() -> bool:
    """Whether this task is being cancelled. Servers also raise CancelledError where it is not: out of a future of their own."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _contained(work: Callable[..., Awaitable[None]], *args: Served) -> None:
    """
    Do all the work of a task, and end as if it had not been cancelled.

    A task group takes a task that ends cancelled as its own end, and all streams with it; but what a stream's `send` does to the
    task that it is awaited in, which it may take for its connection's own, is not the others' concern.
    """
    try:
        await work(*args)
        if being_cancelled():
            await asyncio.sleep(0)  # it comes now
    except asyncio.CancelledError:
        pass


STAND_BY = 8
"""
Tasks that stand by. Where many clients block at once, as many are left behind in one turn of the loop, and the others wait for fewer
turns: 500 that blocked held up the next stream for 1,000 turns with one task that stood by, and a turn may take a millisecond.
"""


class Served(Protocol):
    """A stream, as the fan-out knows it."""

    def take(self, now: float) -> Awaitable[None] | None:
        """Take what is to be sent next, and return the sending of it, not yet begun; None where nothing is, or the stream has ended."""
        ...

    def sent(self) -> None:
        """Go on after what was taken was sent: wait for a wake, or for another turn."""
        ...

    def begun(self, scope: anyio.CancelScope, *, sending: bool) -> None:
        """Note that a task works for this stream alone, which `scope` cancels; whether it is `sending` what was taken."""
        ...

    async def work(self) -> None:
        """Go on alone, until there is nothing to do or the stream has ended."""
        ...

    def over(self, scope: anyio.CancelScope) -> None:
        """Note that this task is done: nobody works for the stream any more."""
        ...

    def failed(self, error: Exception) -> None:
        """Note that sending raised."""
        ...


class Fanout:
    """
    Serves streams that have something to send, first come, first served; each gets one frame, and queues up again.

    One task goes round, and awaits each `send` in a plain loop: no task, future or time-out for a delivery. A `send` that suspends
    keeps that task, which then belongs to its stream, while a new one goes on with the others: so nobody waits for a slow client.
    For the event loop's thread only.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: deque[Served] = deque()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._reliefs: deque[asyncio.Future[None]] = deque()
        self._vacant = True
        self._left = SLICE
        self._looking = False
        self._scope = anyio.CancelScope()
        self._serving: Served | None = None
        self._behind: list[Served] = []

    def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Say whose tasks these are, and go round."""
        self._tasks = tasks
        for _ in range(STAND_BY):
            tasks.start_soon(_contained, self._run, name="asgi_forum fan-out")

    def close(self) -> None:
        """Serve nobody any more: the tasks are gone."""
        self._tasks = self._serving = None
        self._ready.clear()

    def now(self) -> float:
        """The loop's time. Not anyio's way, which needs a task: signals and the loop itself ask too."""
        return self._loop.time()

    def enqueue(self, stream: Served) -> None:
        """Have a stream served when its turn comes."""
        self._ready.append(stream)
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            if not waiting.done():
                waiting.set_result(None)

    def spawn(self, stream: Served) -> None:
        """Have a stream go on in a task of its own."""
        if self._tasks is not None:
            self._tasks.start_soon(_contained, self._work, stream)

    def leave(self, stream: Served) -> None:
        """
        Leave a stream behind, where it is the one that is being served: its `send` has suspended.

        For anybody but the task that goes round, which would not let others run while it has not. A task that stands by goes on with
        the others: this is also called where none could be started, from the loop.
        """
        if self._serving is stream and self._tasks is not None:
            self._part(stream)
            self._give_way()

    def _part(self, stream: Served) -> None:
        self._serving = None
        self._behind.append(stream)
        stream.begun(self._scope, sending=True)
        self._vacant = True

    def _give_way(self) -> None:
        """Call those that stand by: one, and one for each that waits for its turn, which may be suspended as well."""
        self._vacant = True
        for _ in range(min(len(self._ready) + 1, len(self._reliefs))):
            relief = self._reliefs.popleft()
            if not relief.done():
                relief.set_result(None)

    async def _work(self, stream: Served) -> None:
        scope = anyio.CancelScope()
        try:
            with scope:
                stream.begun(scope, sending=False)
                await stream.work()
        finally:
            stream.over(scope)

    async def _run(self) -> None:
        """Stand by; go round, until a stream was left behind with this task; then go on with that one alone."""
        behind: list[Served] = []
        scope = anyio.CancelScope()
        try:
            with scope:
                await self._stand_by()
                self._scope, self._behind = scope, behind
                while not behind:
                    if not self._ready:
                        self._waiting = self._loop.create_future()
                        await self._waiting
                    await self._round(behind)
                await behind[0].work()
        except asyncio.CancelledError:
            if self._scope is scope and not behind and anyio.current_effective_deadline() > -math.inf:
                # Not by the forum, which would cancel those that follow too: by a `send` that takes this task for its connection's.
                self._serving = None
                self._give_way()
            raise
        finally:
            for stream in behind:
                stream.over(scope)

    async def _stand_by(self) -> None:
        """Wait until nobody goes round; whoever does then has another one stand by."""
        while not self._vacant:
            if self._serving is not None:  # and has suspended in this very turn of the loop, or this task would not run
                self._part(self._serving)
            else:
                relief = self._loop.create_future()
                self._reliefs.append(relief)
                await relief
        self._vacant = False
        if self._tasks is not None:
            self._tasks.start_soon(_contained, self._run, name="asgi_forum fan-out")

    async def _round(self, behind: list[Served]) -> None:
        """Serve what is left of one slice, and let the loop turn."""
        if not self._looking:
            # In the next turn of the loop: by then this task has come to the end of the slice, or it waits.
            self._looking = True
            self._loop.call_soon(self._look)
        now, ready = self._loop.time(), self._ready
        for _ in range(min(len(ready), self._left)):
            stream = ready.popleft()
            self._left -= 1
            try:
                sending = stream.take(now)
                if sending is None:
                    continue
                self._serving = stream
                await sending
            except Exception as error:  # each server has its own, and some raise it before there is anything to await
                stream.failed(error)
            except asyncio.CancelledError:
                cancelled = being_cancelled()
                if not (cancelled and behind):
                    stream.failed(RuntimeError(CUT))
                if cancelled:
                    raise
            if behind:  # another task goes round by now
                return
            self._serving = None
            stream.sent()
        await asyncio.sleep(0)

    def _look(self) -> None:
        self._looking, self._left = False, SLICE
        if self._serving is not None:
            self.leave(self._serving)
