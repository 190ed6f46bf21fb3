"""The fan-out: all are served in turn, nobody waits for a slow client, and nobody's error is another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.hub.fanout import Fanout
from tests.hub.bench import DEADLINE

pytestmark = pytest.mark.anyio


class Stream:
    """
    A stream with so many frames to send, each as the test says; it keeps what became of it.

    turns: in which turn of the event loop each was begun. alone: by which task it is worked for, if by one of its own.
    """

    def __init__(self, house: House, send: Callable[[], Awaitable[None]] | None = None, frames: int = 1) -> None:
        """Begin outside the queue."""
        self._house = house
        self._send = send
        self.frames = frames
        self.turns: list[int] = []
        self.tasks: list[asyncio.Task[None] | None] = []
        self.scope: anyio.CancelScope | None = None
        self.alone = 0
        self.finished = 0
        self.errors: list[Exception] = []
        self.takes = True

    def take(self, now: float) -> Awaitable[None] | None:
        """Take the next frame."""
        if not self.takes or self.scope is not None or not self.frames:
            return None
        self.frames -= 1
        self.turns.append(self._house.turn)
        return self._begun()

    def sent(self) -> None:
        """Queue up again, if there is more."""
        if self.frames and not self.errors:
            self._house.fanout.enqueue(self)

    def begun(self, scope: anyio.CancelScope, *, sending: bool) -> None:
        """Be worked for alone."""
        self.scope = scope
        self.alone += 1

    async def work(self) -> None:
        """Have nothing more to do."""

    def over(self, scope: anyio.CancelScope) -> None:
        """Be worked for by nobody."""
        assert self.scope is scope
        self.scope = None
        self.finished += 1

    def failed(self, error: Exception) -> None:
        """Keep the error."""
        self.errors.append(error)

    async def _begun(self) -> None:
        self.tasks.append(asyncio.current_task())
        if self._send is not None:
            await self._send()


class House:
    """A fan-out, and a count of the loop's turns."""

    def __init__(self) -> None:
        """Begin with the first turn."""
        self.fanout = Fanout()
        self.turn = 0
        self._counts = True

    def count(self) -> None:
        """Count this turn, and the next ones."""
        self.turn += 1
        if self._counts:
            asyncio.get_running_loop().call_soon(self.count)

    def stop(self) -> None:
        """Count no more: a loop whose turns are counted is never idle."""
        self._counts = False

    def stream(self, send: Callable[[], Awaitable[None]] | None = None, frames: int = 1) -> Stream:
        """Queue a stream up."""
        stream = Stream(self, send, frames)
        self.fanout.enqueue(stream)
        return stream


@asynccontextmanager
async def house() -> AsyncGenerator[House, None]:
    """A fan-out at work."""
    made = House()
    try:
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(DEADLINE):
                made.fanout.begin(tasks)
                await wait_all_tasks_blocked()
                yield made
            tasks.cancel_scope.cancel()
    finally:
        made.fanout.close()


@pytest.mark.parametrize("when", ["at once", "later", "as it is called"])
async def test_what_one_send_raises_is_its_streams_own(when: str) -> None:
    """The others are served, before and after it."""

    async def lost() -> None:
        if when == "later":
            await anyio.lowlevel.checkpoint()
        raise ConnectionResetError

    class Refused(Stream):
        """A stream of a server whose `send` raises before there is anything to await."""

        def take(self, now: float) -> Awaitable[None] | None:
            """Raise."""
            raise ConnectionResetError

    async with house() as made:
        first = made.stream()
        if when == "as it is called":
            broken: Stream = Refused(made)
            made.fanout.enqueue(broken)
        else:
            broken = made.stream(lost)
        last = made.stream()
        await wait_all_tasks_blocked()
        assert [type(error) for error in broken.errors] == [ConnectionResetError]
        assert (len(first.turns), len(last.turns)) == (1, 1)
        assert broken.scope is None


@pytest.mark.parametrize("waits", [False, True])
async def test_the_others_are_served_though_a_send_cancels_its_task(waits: bool) -> None:
    """As middleware does that takes the task for the connection's own."""

    async def cancels() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if waits:
            await anyio.lowlevel.checkpoint()

    async with house() as made:
        for _ in range(3):
            broken = made.stream(cancels)
            others = [made.stream() for _ in range(3)]
            await wait_all_tasks_blocked()
            assert [len(each.turns) for each in (broken, *others)] == [1, 1, 1, 1]
            assert broken.alone == broken.finished == int(waits)


async def test_a_send_may_cancel_its_task_and_raise() -> None:
    """Both at once: the stream has failed, the others are served."""

    async def cancels() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        raise asyncio.CancelledError

    async with house() as made:
        broken, other = made.stream(cancels), made.stream()
        await wait_all_tasks_blocked()
        assert len(broken.errors) == 1
        assert len(other.turns) == 1
