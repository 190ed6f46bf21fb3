"""The fan-out: all are served in turn, nobody waits for a slow client, and nobody's error is another's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.hub.fanout import SLICE, STAND_BY, Fanout
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


# Slow clients


async def test_many_that_block_at_once_hold_up_others_for_a_few_turns() -> None:
    """Several are left behind in one turn of the loop: a turn may be long where the process is busy."""
    gate = anyio.Event()
    async with house() as made:
        made.count()
        slow = [made.stream(gate.wait) for _ in range(400)]
        quick = made.stream()
        before = made.turn
        while not quick.turns:
            await anyio.lowlevel.checkpoint()
        made.stop()
        assert quick.turns[0] - before <= 400 / STAND_BY + 10
        assert [each.alone for each in slow] == [1] * 400
        gate.set()
        await wait_all_tasks_blocked()
        assert [each.finished for each in slow] == [1] * 400


async def test_a_turn_of_the_loop_is_no_longer_for_those_that_block() -> None:
    """However many are left behind in it, and served beside them."""
    gate = anyio.Event()
    async with house() as made:
        made.count()
        streams = [made.stream(gate.wait if number % 20 == 0 else None) for number in range(1000)]
        while not all(stream.turns for stream in streams):
            await anyio.lowlevel.checkpoint()
        made.stop()
        in_turn = Counter(stream.turns[0] for stream in streams)
        assert max(in_turn.values()) <= 2 * SLICE
        gate.set()


async def test_each_is_served_in_its_turn() -> None:
    """First come, first served, one frame at a time, though some are left behind: nobody overtakes by having more to send."""
    gate = anyio.Event()
    async with house() as made:
        made.count()
        streams = [made.stream(gate.wait if number % 7 == 0 else None, 4) for number in range(200)]
        while not all(len(stream.turns) == 4 or stream.alone for stream in streams):
            await anyio.lowlevel.checkpoint()
        made.stop()
        quick = [stream for stream in streams if not stream.alone]
        for first, second in pairwise(range(4)):
            assert max(stream.turns[first] for stream in quick) <= min(stream.turns[second] for stream in quick)
        gate.set()


async def test_who_was_left_behind_and_has_sent_is_served_like_the_others() -> None:
    """By one of the tasks that go round, again and again."""
    async with house() as made:
        stream = made.stream(anyio.lowlevel.checkpoint, 5)
        for _ in range(5):
            await wait_all_tasks_blocked()
            made.fanout.enqueue(stream)
        assert (len(stream.turns), stream.alone, stream.finished) == (5, 5, 5)
        assert len(set(stream.tasks)) == 5


async def test_nobody_is_served_once_it_is_closed() -> None:
    """Nor is a task begun for anybody: harmless for who hears of it late."""
    async with house() as made:
        pass
    stream = made.stream()
    made.fanout.spawn(stream)
    made.fanout.leave(stream)
    assert (stream.turns, stream.alone) == ([], 0)
