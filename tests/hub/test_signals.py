"""The process's signals: streams leave first, then the handler that was there hears of it, and never too late."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.errors import ShuttingDown
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.signals import GRACE
from tests.hub.bench import DEADLINE, until
from tests.hub.lives import Stream, lifecycle, other_loop


@contextmanager
def handled(*numbers: int) -> Generator[list[int], None, None]:
    """Handle signals as a server does, and keep those that came."""
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@asynccontextmanager
async def open_stream(running: Running) -> AsyncGenerator[Stream]:
    """A stream that leaves when the block ends."""
    stream = Stream()
    with running.streams.admitted("sse") as place:
        place.hold(stream)
        yield stream


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_streams_leave_before_the_server_hears_of_a_signal(number: signal.Signals) -> None:
    """Its own handler is called once they have; when the forum is closed it is the only one again."""
    with handled(signal.SIGTERM, signal.SIGINT) as came:
        before = signal.getsignal(number)
        life = lifecycle(handle_signals=True)
        running = await life.ensure()
        assert signal.getsignal(number) is not before
        async with open_stream(running) as stream:
            signal.raise_signal(number)
            await wait_all_tasks_blocked()
            assert [type(each) for each in stream.told] == [ShuttingDown]
            assert came == []
        await wait_all_tasks_blocked()
        assert came == [number]
        await life.close()
        assert signal.getsignal(number) is before


@pytest.mark.anyio
async def test_where_nothing_is_open_nothing_is_held_back() -> None:
    """The server's handler is called by the signal itself; the forum takes no more streams."""
    with handled(signal.SIGTERM) as came:
        life = lifecycle(handle_signals=True)
        running = await life.ensure()
        signal.raise_signal(signal.SIGTERM)
        assert came == [signal.SIGTERM]
        await wait_all_tasks_blocked()
        with pytest.raises(ShuttingDown), running.streams.admitted("sse"):
            pass
        await life.close()


@pytest.mark.anyio
async def test_who_is_in_a_hurry_is_not_held_back() -> None:
    """A second signal brings the first with it, and from then on each is passed on at once."""
    with handled(signal.SIGTERM, signal.SIGINT) as came:
        life = lifecycle(handle_signals=True)
        async with open_stream(await life.ensure()):
            signal.raise_signal(signal.SIGTERM)
            assert came == []
            signal.raise_signal(signal.SIGINT)
            assert came == [signal.SIGTERM, signal.SIGINT]
            signal.raise_signal(signal.SIGINT)
            assert came == [signal.SIGTERM, signal.SIGINT, signal.SIGINT]
        await life.close()
        assert len(came) == 3


@pytest.mark.anyio
async def test_a_stream_that_does_not_leave_holds_nothing_back_for_long() -> None:
    """Its client reads nothing: the server has means that the forum has not."""
    with handled(signal.SIGTERM) as came:
        life = lifecycle(handle_signals=True, stop_after=0.01)
        async with open_stream(await life.ensure()):
            begun = anyio.current_time()
            signal.raise_signal(signal.SIGTERM)
            await until(lambda: came)
            assert GRACE <= anyio.current_time() - begun < GRACE + 1.0
            await life.close()
        assert came == [signal.SIGTERM]


@pytest.mark.anyio
async def test_two_forums_let_go_together() -> None:
    """Their streams are told at the same time, and the server hears once all have left, whichever goes first."""
    for first_leaves_first in (True, False):
        with handled(signal.SIGTERM) as came:
            one, other = lifecycle(handle_signals=True), lifecycle(handle_signals=True)
            streams = [open_stream(await life.ensure()) for life in (one, other)]
            told = [await stream.__aenter__() for stream in streams]
            signal.raise_signal(signal.SIGTERM)
            await wait_all_tasks_blocked()
            assert [len(stream.told) for stream in told] == [1, 1]
            for stream in streams if first_leaves_first else reversed(streams):
                assert came == []
                await stream.__aexit__(None, None, None)
                await wait_all_tasks_blocked()
            assert came == [signal.SIGTERM]
            await other.close()
            await one.close()


@pytest.mark.anyio
async def test_a_forum_that_is_closed_meanwhile_lets_go() -> None:
    """No signal is ever lost."""
    with handled(signal.SIGTERM) as came:
        life = lifecycle(handle_signals=True, stop_after=0.01)
        async with open_stream(await life.ensure()):
            signal.raise_signal(signal.SIGTERM)
            assert came == []
            await life.close()
            assert came == [signal.SIGTERM]


def test_a_loop_that_does_not_run_holds_nothing_back() -> None:
    """Between two runs of a loop nobody would let go: the handler is called at once."""
    with handled(signal.SIGTERM) as came:
        life = lifecycle(handle_signals=True)
        loop = asyncio.new_event_loop()
        stream = open_stream(loop.run_until_complete(life.ensure()))
        told = loop.run_until_complete(stream.__aenter__()).told
        signal.raise_signal(signal.SIGTERM)
        assert came == [signal.SIGTERM]
        loop.run_until_complete(wait_all_tasks_blocked())
        assert [type(each) for each in told] == [ShuttingDown]
        loop.run_until_complete(stream.__aexit__(None, None, None))
        loop.run_until_complete(life.close())
        loop.close()


def test_what_a_finished_run_has_left_is_not_put_back() -> None:
    """`asyncio.run` leaves its own handler where it finds the forum's: the next run would do without one."""
    before = signal.getsignal(signal.SIGINT)
    life = lifecycle(handle_signals=True)

    async def use() -> None:
        await life.ensure(reopen=True)
        during = signal.getsignal(signal.SIGINT)
        await life.close()
        assert signal.getsignal(signal.SIGINT) not in (before, during)  # the run goes on, so its handler is wanted
        await life.ensure(reopen=True)

    asyncio.run(use())
    assert signal.getsignal(signal.SIGINT) is before is signal.default_int_handler


@pytest.mark.anyio
async def test_a_handler_that_came_later_stays() -> None:
    """Somebody set another one meanwhile: it is theirs, and not taken away."""
    with handled(signal.SIGTERM):
        life = lifecycle(handle_signals=True)
        await life.ensure()
        with handled(signal.SIGTERM):
            later = signal.getsignal(signal.SIGTERM)
            await life.close()
            assert signal.getsignal(signal.SIGTERM) is later


@pytest.mark.anyio
@pytest.mark.parametrize("action", [signal.SIG_DFL, signal.SIG_IGN])
async def test_a_signal_that_nobody_handles_keeps_its_action(action: signal.Handlers) -> None:
    """A process that would end by it ends by it still."""
    before = signal.signal(signal.SIGTERM, action)
    try:
        life = lifecycle(handle_signals=True)
        await life.ensure()
        assert signal.getsignal(signal.SIGTERM) is action
        await life.close()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.anyio
async def test_signals_may_be_left_alone() -> None:
    """By the forum's setting."""
    with handled(signal.SIGTERM):
        before = signal.getsignal(signal.SIGTERM)
        life = lifecycle(handle_signals=False)
        await life.ensure()
        assert signal.getsignal(signal.SIGTERM) is before
        await life.close()


def test_only_the_main_thread_handles_signals() -> None:
    """A server in another thread goes without: nothing is set, and nothing fails."""
    before = signal.getsignal(signal.SIGINT)
    life = lifecycle(handle_signals=True)
    with other_loop() as loop:
        asyncio.run_coroutine_threadsafe(life.ensure(), loop).result(DEADLINE)
        assert signal.getsignal(signal.SIGINT) is before
        asyncio.run_coroutine_threadsafe(life.close(), loop).result(DEADLINE)


def test_a_signal_after_the_loop_is_gone_is_the_servers_alone() -> None:
    """A handler that was left behind calls the one before it, and touches no loop."""
    with handled(signal.SIGTERM) as came:
        life = lifecycle(handle_signals=True)
        chained: list[Callable[[int, FrameType | None], object] | int | None] = []

        async def use() -> None:
            await life.ensure()
            chained.append(signal.getsignal(signal.SIGTERM))

        asyncio.run(use())
        handler = chained[0]
        assert callable(handler)
        handler(signal.SIGTERM, None)
        assert came == [signal.SIGTERM]
