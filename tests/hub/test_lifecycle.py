"""Life and death: one start for many, one end, and loops that come and go."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ConfigurationError, ForumClosed, ForumError, ShuttingDown, SourceUnavailable
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.observers import Observer
from asgi_forum.sources import MemorySource
from tests.events import entries, entry
from tests.hub.bench import DEADLINE, at_work, until
from tests.hub.lives import Stream, lifecycle, other_loop
from tests.wire.sources import DistantSource


class Door(MemorySource):
    """A log that is opened and closed, counts it, and fails when a test says so."""

    def __init__(self, failure: Exception | None = None) -> None:
        """Begin closed."""
        super().__init__()
        self.failure = failure
        self.opened = self.closed = 0
        self.gate: anyio.Event | None = None

    async def open(self) -> None:
        """Count, wait for the gate if there is one, and fail if told to."""
        self.opened += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        """Count."""
        self.closed += 1


# Starting


@pytest.mark.anyio
async def test_many_first_users_start_it_once() -> None:
    """All get the same, and only when it is ready."""
    source = Door()
    source.gate = anyio.Event()
    life, found = lifecycle(source), list[Running]()

    async def use() -> None:
        found.append(await life.ensure())
        assert found[-1].hub.tail.end is not None

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(use)
            await wait_all_tasks_blocked()
            assert found == []
            source.gate.set()
        assert len(found) == 50
        assert {id(each) for each in found} == {id(await life.ensure())}
        assert source.opened == 1
        await life.close()
        assert source.closed == 1


@pytest.mark.anyio
async def test_a_first_user_that_leaves_does_not_take_it_along() -> None:
    """A request that is cancelled while the forum starts leaves it starting for the others."""
    source = Door()
    source.gate = anyio.Event()
    life, found = lifecycle(source), list[Running]()

    async def use() -> None:
        found.append(await life.ensure())

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as first:
                    first.start_soon(use)
                    await wait_all_tasks_blocked()
                    tasks.start_soon(use)
                    await wait_all_tasks_blocked()
                    scope.cancel()
            source.gate.set()
        assert len(found) == 1
        assert source.opened == 1
        await life.close()


@pytest.mark.anyio
@pytest.mark.parametrize("failure", [ConfigurationError("the log can't be numbered on"), ZeroDivisionError("a bug")])
async def test_a_start_that_fails_is_told_to_all_and_can_be_tried_again(failure: Exception) -> None:
    """Every waiter gets the error of the source; a later call starts anew."""
    source = Door(failure)
    source.gate = anyio.Event()
    life, told = lifecycle(source), list[Exception]()

    async def use() -> None:
        try:
            await life.ensure()
        except Exception as error:
            told.append(error)

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(use)
            await wait_all_tasks_blocked()
            source.gate.set()
        assert told == [failure] * 5
        assert life.running is None
        source.failure = None
        assert (await life.ensure()).hub.tail.end is not None
        assert source.opened == 2
        await life.close()


@pytest.mark.anyio
async def test_a_source_that_is_away_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """The forum starts degraded: streams wait, a worker is not taken out."""
    life = lifecycle(Door(SourceUnavailable("away")))
    running = await life.ensure()
    assert running.stats()["source_errors"] == 1
    assert "asgi_forum.source_lost: away" in caplog.text
    await life.close()


@pytest.mark.anyio
async def test_a_source_that_goes_away_while_it_starts_is_no_failure() -> None:
    """It opened, and then it could not be read."""

    class Opens(DistantSource):
        """A source that can be opened, but not read."""

        async def open(self) -> None:
            """Pass."""

    life = lifecycle(Opens(away=True))
    assert (await life.ensure()).hub.degraded
    await life.close()


# Stopping


@pytest.mark.anyio
async def test_it_is_closed_once_and_for_all() -> None:
    """Closing again is harmless; using it is ForumClosed, until it is opened again on purpose, with its log."""
    source = Door()
    life = lifecycle(source)
    await life.ensure()
    await source.publish([entry()])
    for _ in range(2):
        await life.close()
        assert life.running is None
        with pytest.raises(ForumClosed):
            await life.ensure()
    assert source.closed == 1
    running = await life.ensure(reopen=True)
    assert running.hub.tail.end is not None
    assert running.hub.tail.end.sequence == 1
    await life.close()


@pytest.mark.anyio
async def test_it_can_be_closed_before_it_began() -> None:
    """Nothing is started for it, and nothing starts by itself after."""
    source = Door()
    life = lifecycle(source)
    await life.close()
    assert source.opened == 0
    with pytest.raises(ForumClosed):
        await life.ensure()


@pytest.mark.anyio
async def test_closing_while_it_starts_ends_it() -> None:
    """The start is let finish, and the source is closed as it was opened; nobody waits for ever."""
    source = Door()
    source.gate = anyio.Event()
    life = lifecycle(source)

    async def use() -> None:
        with suppress(ForumClosed):
            await life.ensure()

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await wait_all_tasks_blocked()
            tasks.start_soon(life.close)
            await wait_all_tasks_blocked()
            source.gate.set()
    assert (source.opened, source.closed) == (1, 1)
    with pytest.raises(ForumClosed):
        await life.ensure()


@pytest.mark.anyio
async def test_it_ends_from_the_outside_in() -> None:
    """Streams are told and leave, then observers finish, then the source is closed."""
    source, order = Door(), list[str]()
    life = lifecycle(source)
    running = await life.ensure()

    class Leaving(Stream):
        """A stream that leaves when it is told to."""

        def end(self, error: ForumError) -> None:
            """Leave."""
            assert isinstance(error, ShuttingDown)
            order.append("told")
            left.set()

    left = anyio.Event()

    async def stream() -> None:
        with running.streams.admitted("sse") as place:
            place.hold(Leaving())
            await left.wait()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert source.closed == 0
            order.append("left")
            await source.publish(entries(3))

    def observed(event: StoredEvent) -> None:
        assert source.closed == 0
        order.append(f"observed {event.sequence}")

    life.observe(Observer("", observed))
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream)
            await wait_all_tasks_blocked()
            await life.close()
    assert order == ["told", "left", "observed 1", "observed 2", "observed 3"]
    assert source.closed == 1


@pytest.mark.anyio
async def test_stopping_waits_no_longer_than_it_may() -> None:
    """A stream that does not leave holds the end up for `stop_after`, and no longer."""
    source = Door()
    life = lifecycle(source, stop_after=0.05)
    running = await life.ensure()
    with anyio.fail_after(1.0), running.streams.admitted("sse") as place:
        place.hold(Stream())
        await life.close()
    assert source.closed == 1


@pytest.mark.anyio
async def test_a_source_that_does_not_close_is_left() -> None:
    """Its `close` has `stop_after` too."""

    class Stuck(MemorySource):
        """A source whose connections do not end."""

        async def close(self) -> None:
            """Take for ever."""
            await anyio.sleep_forever()

    life = lifecycle(Stuck(), stop_after=0.05)
    await life.ensure()
    with anyio.fail_after(1.0):
        await life.close()


@pytest.mark.anyio
async def test_draining_ends_streams_and_nothing_else() -> None:
    """New streams are refused; reading by page and publishing go on."""
    source, stream = MemorySource(), Stream()
    life = lifecycle(source)
    running = await life.ensure()
    with running.streams.admitted("sse") as place:
        place.hold(stream)
        life.drain()
        life.drain()
    assert [type(each) for each in stream.told] == [ShuttingDown]
    with pytest.raises(ShuttingDown), running.streams.admitted("sse"):
        pass
    await source.publish([entry()])
    assert running.hub.tail.end is not None
    assert running.hub.tail.end.sequence == 1
    assert await life.ensure() is running
    await life.close()


@pytest.mark.anyio
async def test_what_was_drained_before_it_began_refuses_streams() -> None:
    """Nothing is started for it; what starts later takes no streams, until it is opened again on purpose."""
    source = Door()
    life = lifecycle(source)
    life.drain()
    assert source.opened == 0
    running = await life.ensure()
    with pytest.raises(ShuttingDown), running.streams.admitted("sse"):
        pass
    await life.close()
    running = await life.ensure(reopen=True)
    with running.streams.admitted("sse"):
        pass
    await life.close()


def test_what_was_drained_in_one_loop_is_open_in_the_next() -> None:
    """Draining belongs to the loop that it happened in, as closing does."""
    life = lifecycle()

    async def use() -> None:
        running = await life.ensure()
        with running.streams.admitted("sse"):
            pass
        life.drain()
        with pytest.raises(ShuttingDown), running.streams.admitted("sse"):
            pass

    asyncio.run(use())
    asyncio.run(use())


@pytest.mark.anyio
async def test_tasks_that_fail_are_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What should not happen is logged with its cause, and the next use starts anew."""
    life = lifecycle(heartbeat=0.1)
    running = await life.ensure()

    class Broken:
        """Somebody who can't look at the clock."""

        def check(self, now: float) -> None:
            """Fail."""
            raise ZeroDivisionError

    running.watchdog.watch(Broken())
    await until(lambda: life.running is not running)
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "asgi_forum.stopped: the forum's tasks failed")
    ]
    assert await life.ensure() is not running
    await life.close()


@pytest.mark.anyio
async def test_observers_outlive_a_restart() -> None:
    """They go on where they were: what was published meanwhile is seen, once."""
    source, seen = MemorySource(), list[int]()

    async def observed(event: StoredEvent) -> None:
        seen.append(event.sequence)

    life = lifecycle(source)
    observer = Observer("", observed)
    life.observe(observer)
    assert life.running is None
    await life.ensure()
    await wait_all_tasks_blocked()
    await source.publish(entries(2))
    await wait_all_tasks_blocked()
    await life.close()
    await source.publish(entries(2))
    await life.ensure(reopen=True)
    await wait_all_tasks_blocked()
    await source.publish(entries(1))
    await wait_all_tasks_blocked()
    assert seen == [1, 2, 3, 4, 5]
    life.forget(observer)
    life.forget(observer)
    await source.publish(entries(1))
    await life.close()
    await life.ensure(reopen=True)
    await source.publish(entries(1))
    await life.close()
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.anyio
async def test_stats_tell_what_is_open() -> None:
    """Counters, and streams by their kind."""
    async with at_work() as running:
        with running.streams.admitted("sse"), running.streams.admitted("sse"), running.streams.admitted("page"):
            stats = running.stats()
        assert stats["streams"] == {"sse": 2, "page": 1}
        assert (stats["channels"], stats["tail_bytes"], stats["degraded"], stats["resets"]) == (0, 0, False, {})


# Loops


def test_a_new_loop_goes_on_with_the_log() -> None:
    """Test clients open one after the other: each starts anew, over the same source."""
    source = Door()
    life = lifecycle(source)

    async def use() -> int:
        running = await life.ensure()
        assert running.loop is asyncio.get_running_loop()
        await source.publish(entries(1))
        assert running.hub.tail.end is not None
        return running.hub.tail.end.sequence

    assert [asyncio.run(use()) for _ in range(3)] == [1, 2, 3]
    assert (source.opened, source.closed) == (3, 3)


def test_a_loop_that_was_closed_at_once_leaves_nothing_behind() -> None:
    """Without a word to its tasks: the next one starts anew, and publishing does not reach into the old one."""
    source = MemorySource()
    life = lifecycle(source)

    async def use() -> int:
        running = await life.ensure()
        await wait_all_tasks_blocked()
        await source.publish(entries(1))
        assert running.hub.tail.end is not None
        return running.hub.tail.end.sequence

    for expected in (1, 2, 3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(use()) == expected
        loop.close()
    assert life.running is None


def test_what_was_closed_in_one_loop_is_open_in_the_next() -> None:
    """Closing belongs to the loop that it happened in."""
    life = lifecycle()

    async def use() -> None:
        await life.ensure()
        await life.close()
        with pytest.raises(ForumClosed):
            await life.ensure()

    asyncio.run(use())
    asyncio.run(use())


@pytest.mark.anyio
async def test_two_live_loops_are_an_error() -> None:
    """A clear one, in the second: for using it, and for closing it there; the first is not disturbed."""
    life = lifecycle()
    with other_loop() as loop:
        first = asyncio.run_coroutine_threadsafe(life.ensure(), loop).result(DEADLINE)
        with pytest.raises(ConfigurationError, match="one forum for each loop"):
            await life.ensure()
        with pytest.raises(ConfigurationError, match="close it there"):
            await life.close()
        assert life.running is first
        asyncio.run_coroutine_threadsafe(life.close(), loop).result(DEADLINE)
