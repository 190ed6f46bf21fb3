"""How lines end: whatever a client, its server and the forum do at the same time, a stream is over when it is over."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_forum.errors import ShuttingDown
from asgi_forum.frames import Frame
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.streams import OpenStreams
from asgi_forum.settings import Limits
from asgi_forum.sources import MemorySource
from asgi_forum.streams.pacing import Budget
from tests.events import draft, entries
from tests.hub.bench import DEADLINE, at_work, until
from tests.streams.takers import Behaviour, Gate, Taker, for_events, opened, publish, slowly, stage, turns
from tests.wire.sources import DistantSource

pytestmark = pytest.mark.anyio

# How a stream ends


@pytest.mark.parametrize("early", [True, False])
async def test_a_stream_that_has_ended_before_its_first_frame_says_so(early: bool) -> None:
    """Though the forum's tasks are gone by then: a client may have been slow to take the headers."""
    async with at_work(MemorySource()) as running:
        feed = opened(running)
        if early:
            feed.end(ShuttingDown())
        taker = Taker(running, feed)
        if not early:
            feed.end(ShuttingDown())
    with anyio.fail_after(DEADLINE):
        await taker.run()
    assert isinstance(taker.result, ShuttingDown)
    assert taker.taken == []


@pytest.mark.parametrize("told", [True, False])
async def test_a_stream_ends_with_the_forums_tasks(told: bool) -> None:
    """Where stopping takes longer than it may: whoever was left behind with a client that takes nothing hears of it at last."""
    source = MemorySource()
    running = Running(source, Limits(stop_after=0.1), "resume", 60.0)
    gate, started = Gate(), anyio.Event()
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running.run, started.set)
            await started.wait()
            taker = Taker(running, opened(running), gate)
            with running.streams.granted("sse") as place, running.streams.granted("websocket"):
                if told:
                    place.hold(taker.feed)
                tasks.start_soon(taker.run)
                await wait_all_tasks_blocked()
                await source.publish(entries(1))
                await until(lambda: gate.waiting)
                if told:
                    place.end(ShuttingDown())
                running.stop()
                await taker.ended.wait()
            assert isinstance(taker.result, ShuttingDown if told else RuntimeError)
            assert gate.waiting == 0


async def test_what_a_stream_may_send_ends_it_at_once() -> None:
    """Not with the next event, or heartbeat."""
    limits = Limits(unpaced_bytes=1500)
    async with stage() as made:
        taker = await made.enter(budget=Budget(limits, OpenStreams(limits).admitted("sse")))
        for _ in range(20):
            await publish(made)
            if taker.feed.ended is not None:
                break
        await taker.ended.wait()
        assert isinstance(taker.result, ShuttingDown)
        assert taker.events == list(range(1, len(taker.events) + 1))


# Whatever happens, whenever


def leaves(taker: Taker) -> None:
    """The client is gone."""
    taker.gone.set()


def ends(taker: Taker) -> None:
    """The forum ends the stream."""
    taker.feed.end(ShuttingDown())


def cancelled(taker: Taker) -> None:
    """The server cancels the connection's task."""
    if taker.task is not None and not taker.ended.is_set():
        taker.cancelled += 1
        taker.task.cancel()


def in_scope(taker: Taker) -> None:
    """The host cancels a scope around the app."""
    taker.scope.cancel()


def breaks(taker: Taker) -> None:
    """The server's `receive` raises."""
    taker.broken = ConnectionResetError()
    taker.gone.set()


ACTS: list[Callable[[Taker], None]] = [leaves, ends, cancelled, in_scope, breaks]
"""What may happen to a stream."""


async def loses(frame: Frame) -> None:
    """Find out that the connection is lost."""
    await turns(2)
    raise ConnectionResetError


WAYS: dict[str, Callable[[Gate], Behaviour]] = {
    "at once": lambda gate: lambda frame: None,
    "slowly": lambda gate: slowly,
    "late": lambda gate: gate,
    "reluctantly": lambda gate: gate.reluctantly,
    "lost": lambda gate: loses,
}
"""How a client may take events."""

STATES = ["new", "behind", "mute", "live"]
"""Where a stream stands before its events come: beginning, with history to read, or while that is not answered; or live."""


async def play(way: str, state: str, pause: int, acts: Sequence[Callable[[Taker], None]], apart: int) -> None:
    """
    Bring a client in, let the loop turn, and do what is to be done to it, one thing after the other.

    Nothing is sent after `serve` has returned, nothing comes twice or out of order, nothing in between is left out, the others get
    everything, and nothing of the stream stays.
    """
    source, gate = DistantSource(), Gate()
    async with stage(source) as made:
        sound = await made.enter()
        if state != "new":
            await source.append(draft(), draft())
            await until(lambda: sound.events == [1, 2])
        before = made.readers
        if state == "live":
            taker = await made.enter(for_events(WAYS[way](gate)), start="latest")
            source.hold_back()
            await source.append(draft())
            await turns(5)
            source.let_flow()
        else:
            if state == "mute":
                source.fall_mute()
            taker = made.bring_in(for_events(WAYS[way](gate)))
            await until(lambda: taker.task)
        await turns(pause)
        on_its_way = taker.sending
        for act in acts:
            act(taker)
            await turns(apart)
        await turns(30)
        assert taker.ended.is_set() or set(acts) == {ends}  # which lets what is on its way arrive
        gate.open()
        await taker.ended.wait()
        assert taker.events or not on_its_way or set(acts) != {ends} or way == "lost"
        source.speak()
        await source.append(draft())
        count = (1 if state == "new" else 3) + (state == "live")
        await until(lambda: sound.events == list(range(1, count + 1)))
        first = 3 if state == "live" else 1
        assert taker.events == list(range(first, first + len(taker.events)))
        await turns(10)
        assert made.readers == before
        assert not taker.faults


async def test_a_stream_waits_for_what_it_sends_however_often_it_is_cancelled() -> None:
    """Servers cancel natively, and more than once: no shield keeps that off."""
    await play("reluctantly", "live", 1, [leaves, cancelled, cancelled], 1)


@pytest.mark.parametrize("pause", range(12))
async def test_what_is_on_its_way_as_a_stream_ends_arrives(pause: int) -> None:
    """Whether it was noticed by then that the client takes its time, or not."""
    await play("late", "live", pause, [ends], 0)


@given(
    st.sampled_from(sorted(WAYS)),
    st.sampled_from(STATES),
    st.integers(0, 12),
    st.lists(st.sampled_from(ACTS), min_size=1, max_size=3),
    st.integers(0, 3),
)
@settings(max_examples=300)
async def test_a_stream_is_over_when_it_is_over(
    way: str, state: str, pause: int, acts: Sequence[Callable[[Taker], None]], apart: int
) -> None:
    """In whatever state it is, and whatever happens to it, at the same time or soon after."""
    await play(way, state, pause, acts, apart)


# What stays


@pytest.mark.parametrize("way", sorted(WAYS))
@pytest.mark.parametrize("act", ACTS)
async def test_a_stream_that_is_over_is_freed(way: str, act: Callable[[Taker], None]) -> None:
    """At once, without the collector: nothing that goes round refers to it, nor does it refer to itself."""
    source, gate = DistantSource(), Gate()
    async with stage(source) as made:
        taker = await made.enter(for_events(WAYS[way](gate)))
        await source.append(draft())
        await turns(20)
        gc.collect()
        gc.disable()
        try:
            act(taker)
            await turns(10)
            gate.open()
            await taker.ended.wait()
            await turns(10)
            taker.result = taker.broken = None
            made.takers.clear()
            left = weakref.ref(taker)
            del taker
            await turns(2)
            assert left() is None
        finally:
            gc.enable()
