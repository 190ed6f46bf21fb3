"""Lines: who sends a client's frames, and what becomes of them where sending waits, raises or never ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from asgi_forum.errors import TooSlow
from asgi_forum.frames import Frame, HeartbeatFrame
from asgi_forum.streams.line import _STAY, _TRY  # pyright: ignore[reportPrivateUsage]
from tests.events import draft
from tests.hub.bench import until
from tests.streams.takers import Behaviour, Gate, Taker, for_events, publish, slowly, stage, turns
from tests.wire.sources import DistantSource, HistorySource

pytestmark = pytest.mark.anyio


# What a send raises


async def _cancelled(frame: Frame) -> None:
    raise asyncio.CancelledError


async def _cancelled_later(frame: Frame) -> None:
    await anyio.lowlevel.checkpoint()
    raise asyncio.CancelledError


@pytest.mark.parametrize("way", [_cancelled, _cancelled_later])
@pytest.mark.parametrize("alone", [False, True])
async def test_a_send_that_is_cancelled_by_the_server_ends_its_stream(way: Behaviour, alone: bool) -> None:
    """It was not sent, so nothing may follow it: whichever task sends. The others are served."""
    async with stage() as made:
        if alone:  # what is history is sent by the stream's own task
            await publish(made)
        broken = made.bring_in(for_events(way))
        await turns(20)
        sound = await made.enter()
        await publish(made)
        await broken.ended.wait()
        assert isinstance(broken.result, RuntimeError)
        assert broken.events == []
        await publish(made)
        assert sound.events == ([1, 2, 3] if alone else [1, 2])


@pytest.mark.parametrize("alone", [False, True])
async def test_a_send_that_cancels_its_own_task_ends_its_stream(alone: bool) -> None:
    """Middleware may take it for the connection's. What was being sent is not known to have arrived; the others are served."""

    async def cancels(frame: Frame) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.lowlevel.checkpoint()

    async with stage() as made:
        if alone:
            await publish(made)
        broken = made.bring_in(for_events(cancels))
        await turns(20)
        sound = await made.enter()
        await publish(made)
        await broken.ended.wait()
        assert isinstance(broken.result, RuntimeError)
        await publish(made)
        assert sound.events == ([1, 2, 3] if alone else [1, 2])


@pytest.mark.parametrize("alone", [False, True])
async def test_a_send_that_cancels_its_own_task_and_returns_was_sent(alone: bool) -> None:
    """The stream goes on, in another task."""

    async def cancels(frame: Frame) -> None:
        task = asyncio.current_task()
        assert task is not None
        if alone:
            await anyio.lowlevel.checkpoint()
        task.cancel()

    async with stage() as made:
        taker = await made.enter(for_events(cancels))
        for _ in range(7):
            await publish(made, 2)
        assert taker.events == list(range(1, 15))


# Who sends


async def test_streams_that_keep_up_are_served_by_one_task() -> None:
    """However many, and however often: history by a task of their own, news by the one that goes round."""
    async with stage() as made:
        await publish(made)
        takers = [await made.enter() for _ in range(20)]
        own = [len(taker.tasks) for taker in takers]
        for _ in range(5):
            await publish(made)
        news = {task for taker, count in zip(takers, own, strict=True) for task in taker.tasks[count:]}
        assert len(news) == 1
        assert all(taker.events == [1, 2, 3, 4, 5, 6] for taker in takers)


async def test_a_wake_for_nothing_changes_nothing() -> None:
    """The next event wakes again: whoever looks in vain goes on waiting."""
    async with stage() as made:
        taker = await made.enter()
        for number in range(1, 4):
            taker.feed.reader.wake()
            await turns(5)
            await publish(made)
            assert taker.events == list(range(1, number + 1))


async def test_nobody_waits_for_a_client_that_takes_its_time() -> None:
    """It gets what has come meanwhile once it goes on, in order, and is then served like the others."""
    gate = Gate()
    async with stage() as made:
        slow, quick = await made.enter(gate, limit=2), await made.enter()
        for _ in range(5):
            await publish(made)
        assert (slow.events, quick.events) == ([], [1, 2, 3, 4, 5])
        gate.open()
        await publish(made)
        assert slow.events == [1, 2, 3, 4, 5, 6]
        await publish(made)
        assert slow.tasks[-1] is quick.tasks[-1]


async def test_who_always_waits_keeps_its_task_and_is_tried_again_later() -> None:
    """Behind some middleware every send waits: not each of them costs a task."""
    async with stage() as made:
        taker = await made.enter(slowly)
        for _ in range(_TRY + 20):
            await made.source_publish()
            await turns(30)
        assert taker.events == list(range(1, _TRY + 21))
        by_task = Counter(taker.tasks[1:])
        assert len(by_task) <= _STAY + 4
        assert max(by_task.values()) >= _TRY


async def test_a_client_that_waits_no_more_is_served_like_the_others() -> None:
    """Once it was tried again."""
    waits = True

    def at_first(frame: Frame) -> Awaitable[None] | None:
        return turns(1) if waits else None

    async with stage() as made:
        taker, other = await made.enter(at_first), await made.enter()
        for _ in range(10):
            await made.source_publish()
            await turns(30)
        assert taker.tasks[-1] is taker.tasks[-2]
        assert taker.tasks[-1] is not other.tasks[-1]
        waits = False
        for _ in range(_TRY + 5):
            await made.source_publish()
            await turns(30)
        assert taker.tasks[-1] is other.tasks[-1]
        assert taker.events == other.events == list(range(1, _TRY + 16))


# The clock


def beaten(taker: Taker, count: int) -> bool:
    """Whether so many heartbeats were sent."""
    return sum(isinstance(frame, HeartbeatFrame) for frame in taker.taken) >= count


def degraded(taker: Taker) -> bool:
    """Whether an outage was told."""
    return any(isinstance(frame, HeartbeatFrame) and frame.degraded for frame in taker.taken)


def taken(taker: Taker, count: int) -> bool:
    """Whether all of so many events were sent."""
    return taker.events == list(range(1, count + 1))


async def test_a_client_that_takes_nothing_is_given_up_while_the_others_are_served() -> None:
    """After `send_timeout`, whichever task sends to it; not while a piece was taken in time."""
    gate = Gate()
    async with stage(send_timeout=60.0) as made:
        taker, other = await made.enter(gate), await made.enter()
        await publish(made)
        taker.check(anyio.current_time() + 59)
        taker.beat()
        taker.check(anyio.current_time() + 59)
        assert not taker.ended.is_set()
        taker.check(anyio.current_time() + 61)
        await taker.ended.wait()
        assert isinstance(taker.result, TooSlow)
        assert (taker.events, other.events) == ([], [1])


async def test_a_send_that_comes_to_its_end_as_it_is_given_up_was_sent_once() -> None:
    """Both in the same turn of the loop, in either order: the stream ends, and nothing is sent again."""
    for first in (True, False):
        gate = Gate()
        async with stage(send_timeout=60.0) as made:
            taker = await made.enter(gate)
            await publish(made)
            if first:
                gate.open()
            taker.check(anyio.current_time() + 61)
            gate.open()
            await publish(made)
            await taker.ended.wait()
            assert isinstance(taker.result, TooSlow)
            assert taker.events in ([], [1])


async def test_the_clock_is_not_for_a_client_that_has_nothing_to_take() -> None:
    """Waiting for news, for the source, or for a turn."""
    source = DistantSource()
    await source.append(draft())
    async with stage(source, send_timeout=60.0) as made:
        await turns(10)
        source.fall_mute()
        taker = made.bring_in()
        await turns(10)
        taker.check(anyio.current_time() + 1000)
        taker.beat()
        source.speak()
        await until(lambda: taker.events == [1])
        taker.check(anyio.current_time() + 1000)
        await turns(10)
        assert not taker.ended.is_set()


async def test_a_silent_stream_has_heartbeats_whoever_sends_them() -> None:
    """By the task that goes round, or by its own; an outage is told at once."""
    source = DistantSource()
    async with stage(source, heartbeat=0.05) as made:
        quick, slow = await made.enter(), await made.enter(slowly)
        for taker in (quick, slow):
            await until(partial(beaten, taker, 5))
        source.leave()
        for taker in (quick, slow):
            await until(partial(degraded, taker))


async def test_a_log_without_a_live_feed_is_read_with_each_heartbeat() -> None:
    """There is nothing in memory to look at: each time a task of its own reads."""
    source = HistorySource()
    async with stage(source, heartbeat=0.05) as made:
        taker = await made.enter()
        for number in range(1, 4):
            await source.append(draft())
            await until(partial(taken, taker, number))
