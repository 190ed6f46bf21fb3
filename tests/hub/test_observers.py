"""Observers: every event in order, and whatever one of them does, nobody else notices."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ForumError, InvalidFilter
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.observers import STALL, Observer
from asgi_forum.settings import OnLag
from asgi_forum.sources import MemorySource
from tests.events import draft, entries, entry
from tests.hub.bench import at_work, until
from tests.wire.sources import DistantSource, HistorySource

pytestmark = pytest.mark.anyio


async def publish(running: Running, count: int = 1, **fields: Any) -> None:
    """Publish so many events."""
    source = running.source
    assert isinstance(source, MemorySource)
    await source.publish(entries(count, **fields))


class Stays:
    """A stream that does not leave when it is told to."""

    def end(self, error: ForumError) -> None:
        """Stay."""


class Seen:
    """A callback that keeps the sequences of what it was called with."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.numbers: list[int] = []

    async def asynchronous(self, event: StoredEvent) -> None:
        """Take an event, in the loop."""
        self.numbers.append(event.sequence)

    def synchronous(self, event: StoredEvent) -> None:
        """Take an event, in a thread."""
        assert threading.current_thread() is not threading.main_thread()
        self.numbers.append(event.sequence)

    async def __call__(self, event: StoredEvent) -> None:
        """Take an event, as an object whose call is a coroutine."""
        await self.asynchronous(event)


CALLBACKS: dict[str, Callable[[Seen], Callable[[StoredEvent], Any]]] = {
    "async": lambda seen: seen.asynchronous,
    "sync": lambda seen: seen.synchronous,
    "object": lambda seen: seen,
    "lambda": lambda seen: lambda event: seen.synchronous(event),
}


@pytest.fixture(params=CALLBACKS)
def kind(request: pytest.FixtureRequest) -> Callable[[Seen], Callable[[StoredEvent], Any]]:
    """Each of the forms that a callback may have."""
    return CALLBACKS[request.param]


def observe(running: Running, callback: Callable[[StoredEvent], Any], event_type: str = "") -> Observer:
    """Register an observer."""
    observer = Observer(event_type, callback)
    running.observe(observer)
    return observer


async def test_every_event_comes_once_and_in_order(kind: Callable[[Seen], Callable[[StoredEvent], Any]]) -> None:
    """All that was accepted after it was registered, one at a time; what was there before is none of its business."""
    seen = Seen()
    async with at_work() as running:
        await publish(running, 3)
        observe(running, kind(seen))
        await wait_all_tasks_blocked()
        for _ in range(5):
            await publish(running, 3)
        await until(lambda: len(seen.numbers) == 15)
    assert seen.numbers == list(range(4, 19))


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        ("", [1, 2, 3, 4]),
        ("forum", [1, 2, 3]),
        (" Forum.Thread ", [1, 2]),
        ("forum.thread.opened", [1]),
        ("forum.threads", [3]),
        ("nothing", []),
    ],
)
async def test_a_type_keeps_what_is_below_it(event_type: str, expected: list[int]) -> None:
    """As a filter does; the empty one keeps everything."""
    seen = Seen()
    async with at_work() as running:
        observe(running, seen, event_type)
        await wait_all_tasks_blocked()
        for kept in ("forum.thread.opened", "forum.thread.closed", "forum.threads", "agent"):
            await publish(running, event_type=kept)
        await wait_all_tasks_blocked()
    assert seen.numbers == expected


@pytest.mark.parametrize("event_type", ["a b", " ", "x" * 257, "a..b"])
async def test_a_type_that_is_off_is_refused(event_type: str) -> None:
    """At once, where the observer is registered."""
    with pytest.raises(InvalidFilter):
        Observer(event_type, Seen())


async def test_one_that_raises_goes_on(
    caplog: pytest.LogCaptureFixture, kind: Callable[[Seen], Callable[[StoredEvent], Any]]
) -> None:
    """It is logged with the event's number, counted, called for the next event, and others don't notice."""
    seen, other = Seen(), Seen()

    def fails(event: StoredEvent) -> None:
        raise ValueError(event.sequence)

    async def fails_in_loop(event: StoredEvent) -> None:
        raise ValueError(event.sequence)

    async with at_work() as running:
        observe(running, fails if kind is CALLBACKS["sync"] else fails_in_loop)
        observe(running, kind(other))
        await wait_all_tasks_blocked()
        await publish(running, 3)
        await until(lambda: running.hub.counters.observer_errors == 3 and len(other.numbers) == 3)
    assert other.numbers == [1, 2, 3]
    assert seen.numbers == []
    assert len([record for record in caplog.records if record.message.startswith("asgi_forum.observer_raised")]) == 3


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, BaseExceptionGroup("several", [ValueError()])])
@pytest.mark.parametrize("raises_in", ["loop", "thread"])
async def test_one_that_raises_what_ends_tasks_goes_on(error: Any, raises_in: str) -> None:
    """It awaited a task that was cancelled, or wanted to exit: it ends neither itself nor the forum."""
    seen = Seen()

    def raises(event: StoredEvent) -> None:
        seen.numbers.append(event.sequence)
        raise error

    async def raises_in_loop(event: StoredEvent) -> None:
        raises(event)

    async with at_work() as running:
        observe(running, raises if raises_in == "thread" else raises_in_loop)
        await wait_all_tasks_blocked()
        await publish(running, 3)
        await until(lambda: running.hub.counters.observer_errors == 3)
    assert seen.numbers == [1, 2, 3]


async def test_a_plain_function_may_return_what_is_to_be_awaited() -> None:
    """A lambda around a coroutine function is one: what it returns is awaited, not thrown away."""
    seen = Seen()
    async with at_work() as running:
        observe(running, lambda event: seen.asynchronous(event))
        await wait_all_tasks_blocked()
        await publish(running, 3)
        await until(lambda: seen.numbers == [1, 2, 3])


async def test_one_that_never_waits_keeps_nobody_from_working() -> None:
    """A coroutine function without an await, and very many events: other tasks get their turn in between."""
    seen, turns = Seen(), list[int]()

    async def count() -> None:
        while len(seen.numbers) < 5000:
            turns.append(len(seen.numbers))
            await anyio.lowlevel.checkpoint()

    async with at_work() as running:
        observe(running, seen.asynchronous)
        await wait_all_tasks_blocked()
        for _ in range(5):
            await publish(running, 1000)
        await count()
    assert len([number for number in turns if 0 < number < 5000]) >= 5


@pytest.mark.parametrize("hangs_in", ["loop", "thread"])
async def test_one_that_hangs_disturbs_nobody(hangs_in: str, caplog: pytest.LogCaptureFixture) -> None:
    """Publishing, streams and other observers go on; it is logged and counted once; stopping does not wait for ever, and says so."""
    other, called, release = Seen(), threading.Event(), threading.Event()

    def hangs(event: StoredEvent) -> None:
        called.set()
        release.wait(10)

    async def hangs_in_loop(event: StoredEvent) -> None:
        called.set()
        await anyio.sleep_forever()

    try:
        async with at_work(stop_after=0.05) as running:
            observer = observe(running, hangs if hangs_in == "thread" else hangs_in_loop)
            observe(running, other.synchronous)
            observe(running, other)
            await wait_all_tasks_blocked()
            await publish(running, 3)
            await until(lambda: called.is_set() and len(other.numbers) == 6)
            now = anyio.current_time()
            observer.check(now + STALL - 1)
            assert running.hub.counters.observer_stalls == 0
            for later in (1, 2, 50):
                observer.check(now + STALL + later)
            assert running.hub.counters.observer_stalls == 1
            await publish(running, 1)
            await until(lambda: len(other.numbers) == 8)
    finally:
        release.set()
    told = [record.message.partition(":")[0] for record in caplog.records]
    assert told == ["asgi_forum.observer_stalled", "asgi_forum.observers_cut"]


async def test_many_that_hang_use_up_no_threads() -> None:
    """The threads that the host's endpoints run in are not theirs."""
    release, other = threading.Event(), Seen()

    def hangs(event: StoredEvent) -> None:
        release.wait(10)

    try:
        async with at_work(stop_after=0.05) as running:
            limiter = anyio.to_thread.current_default_thread_limiter()
            for _ in range(int(limiter.total_tokens) + 5):
                observe(running, hangs)
            observe(running, other.synchronous)
            await wait_all_tasks_blocked()
            await publish(running)
            await until(lambda: other.numbers == [1])
            assert limiter.borrowed_tokens == 0
    finally:
        release.set()


async def test_one_that_is_removed_is_called_no_more() -> None:
    """Not even where it waits in the middle of a call; removing twice is harmless."""
    seen, entered = Seen(), anyio.Event()

    async def waits(event: StoredEvent) -> None:
        await seen(event)
        entered.set()
        await anyio.sleep_forever()

    async with at_work() as running:
        observers = [observe(running, waits), observe(running, seen.asynchronous)]
        await wait_all_tasks_blocked()
        await publish(running)
        await entered.wait()
        await until(lambda: seen.numbers == [1, 1])
        for observer in (*observers, *observers):
            observer.remove()
        await wait_all_tasks_blocked()
        await publish(running, 3)
        await wait_all_tasks_blocked()
        assert seen.numbers == [1, 1]
        assert len(running.hub.channels) == 0


@pytest.mark.parametrize("kind", ["asynchronous", "plain"])
async def test_one_that_removes_itself_comes_to_its_end(kind: str) -> None:
    """`stop()` is the last thing but one that it does: what it does after that is not cut off, and no other call follows."""
    ended: list[int] = []
    observers: list[Observer] = []

    async def once(event: StoredEvent) -> None:
        observers[0].remove()
        await anyio.lowlevel.checkpoint()
        ended.append(event.sequence)

    def once_plain(event: StoredEvent) -> None:
        observers[0].remove()
        ended.append(event.sequence)

    async with at_work() as running:
        observers.append(observe(running, once if kind == "asynchronous" else once_plain))
        await wait_all_tasks_blocked()
        await publish(running, 2)
        await until(lambda: ended == [1] and len(running.hub.channels) == 0)
        await publish(running)
        await wait_all_tasks_blocked()
    assert ended == [1]


async def test_one_that_is_removed_before_it_begins_is_never_called() -> None:
    """Registered and unregistered in one go."""
    seen = Seen()
    async with at_work() as running:
        observe(running, seen).remove()
        await wait_all_tasks_blocked()
        await publish(running)
        await wait_all_tasks_blocked()
        assert running.hub.lag == 0  # its reader is gone: nobody is behind
    assert seen.numbers == []


async def test_one_that_falls_out_of_retention_skips(caplog: pytest.LogCaptureFixture) -> None:
    """It goes on with what is retained; that it missed something is logged and counted."""
    seen, release, entered = Seen(), anyio.Event(), anyio.Event()

    async def waits(event: StoredEvent) -> None:
        await seen(event)
        entered.set()
        await release.wait()

    async with at_work(MemorySource(retain=5), tail_bytes=2000) as running:
        observe(running, waits)
        await wait_all_tasks_blocked()
        await publish(running)
        await entered.wait()
        for _ in range(20):
            await publish(running)
        release.set()
        await until(lambda: seen.numbers[-1:] == [21])
        assert running.hub.counters.observer_skips == 1
    assert seen.numbers == [1, *range(17, 22)]
    assert [record.message.partition(":")[0] for record in caplog.records] == ["asgi_forum.observer_skipped"]


async def test_an_observer_may_wait_for_the_source() -> None:
    """Registered while it is away, it begins where the log ends at the first contact; an outage costs it nothing."""
    source, seen = DistantSource(away=True), Seen()
    async with at_work(source) as running:
        observe(running, seen)
        await wait_all_tasks_blocked()
        source.come_back()
        await until(lambda: not running.hub.degraded)
        await until(lambda: running.hub.channels)
        await source.append(draft())
        await until(lambda: seen.numbers == [1])
        source.leave()
        await until(lambda: running.hub.degraded)
        await source.append(draft())
        source.come_back()
        await until(lambda: seen.numbers == [1, 2])


async def test_stopping_lets_observers_finish() -> None:
    """What was accepted is handled before the forum is gone, if it takes no longer than `stop_after`."""
    seen = Seen()

    async def slowly(event: StoredEvent) -> None:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        await seen(event)

    async with at_work() as running:
        observe(running, slowly)
        await wait_all_tasks_blocked()
        await publish(running, 50)
    assert seen.numbers == list(range(1, 51))


async def test_a_stream_that_stays_is_not_at_the_observers_cost() -> None:
    """While stopping waits for a subscriber that is busy, observers go on; one that is cut is told of in the log."""
    seen = Seen()
    async with at_work(stop_after=1.0) as running:
        observe(running, seen)
        with running.streams.admitted("python") as place:
            place.hold(Stays())
            await wait_all_tasks_blocked()
            await publish(running, 20)
            running.stop()
            await until(lambda: len(seen.numbers) == 20)
    assert seen.numbers == list(range(1, 21))


async def test_a_source_without_a_live_feed_is_looked_at_with_each_heartbeat() -> None:
    """Nobody brings its events, so the observer goes for them."""
    seen, source = Seen(), HistorySource()
    async with at_work(source, heartbeat=0.05) as running:
        observe(running, seen)
        await wait_all_tasks_blocked()
        for count in (1, 2):
            await source.append(draft())
            await until(lambda: len(seen.numbers) == count)  # noqa: B023
    assert seen.numbers == [1, 2]


async def test_an_observer_that_wants_none_of_it_holds_nothing_up() -> None:
    """The last events were not for it, so it has nothing left to do: stopping need not wait."""
    async with at_work() as running:
        observer = observe(running, Seen(), "nothing")
        await wait_all_tasks_blocked()
        await publish(running)
        await wait_all_tasks_blocked()
        with anyio.move_on_after(0.5) as scope:
            await observer.wait_idle()
        observer.remove()
        assert not scope.cancelled_caught


@pytest.mark.parametrize("on_lag", ["resume", "skip", "disconnect"])
async def test_the_policy_for_slow_clients_is_not_for_observers(on_lag: OnLag) -> None:
    """One that is behind, but not out of retention, gets every event."""
    seen, release, entered = Seen(), anyio.Event(), anyio.Event()

    async def waits(event: StoredEvent) -> None:
        await seen(event)
        entered.set()
        await release.wait()

    async with at_work(on_lag=on_lag, max_lag=2, stop_after=0.05) as running:
        observe(running, waits)
        await wait_all_tasks_blocked()
        await publish(running)
        await entered.wait()
        await publish(running, 10)
        release.set()
        await wait_all_tasks_blocked()
    assert seen.numbers == list(range(1, 12))


async def test_an_idle_observer_holds_nothing_up() -> None:
    """Waiting for it is over at once, also for one that was removed, or never entered a hub."""
    async with at_work() as running:
        observer = observe(running, Seen())
        await wait_all_tasks_blocked()
        await observer.wait_idle()
        await publish(running, event_type="a")
        await observer.wait_idle()
        observer.remove()
        await observer.wait_idle()
        await Observer("", Seen()).wait_idle()
        await Observer("", Seen()).run()


async def test_an_observer_that_publishes_is_called_for_that_too() -> None:
    """In order, and without waiting for itself."""
    source, seen = MemorySource(), Seen()

    async def answers(event: StoredEvent) -> None:
        await seen(event)
        if event.sequence < 5:
            await source.publish([entry()])

    async with at_work(source) as running:
        observe(running, answers)
        await wait_all_tasks_blocked()
        await publish(running)
        await until(lambda: seen.numbers == [1, 2, 3, 4, 5])
