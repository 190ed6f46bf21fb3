"""The host's own subscription: an iterator that loses nothing, whatever is done to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum import Forum, ForumReset, ForumSubscription, Limits, TooSlow
from asgi_forum.errors import ForumClosed
from asgi_forum.frames import EventsFrame, Frame, HeartbeatFrame, LiveFrame, ResetFrame
from asgi_forum.sources import MemorySource
from tests.events import draft, sequences
from tests.hub.bench import DEADLINE, until
from tests.wire.sources import DistantSource

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(count: int = 0, source: Any = "memory://", **settings: Any) -> AsyncGenerator[Forum, None]:
    """A forum with so many events."""
    async with Forum(source, handle_signals=False, **settings) as forum:
        with anyio.fail_after(DEADLINE):
            if count:
                await forum.publish_many([draft()] * count)
            yield forum


async def take(events: ForumSubscription, count: int) -> list[int]:
    """The sequences of the next events."""
    return [(await anext(events)).sequence for _ in range(count)]


async def test_it_begins_with_the_block() -> None:
    """From now on, unless it is asked for more; what was published before the first wait is not missed."""
    async with opened(3) as forum:
        async with (
            forum.subscribe() as latest,
            forum.subscribe(cursor="earliest", limit=2) as all_of_it,
            forum.subscribe(tail=1) as newest,
        ):
            await forum.publish_many([draft()] * 2)
            assert await take(latest, 2) == [4, 5]
            assert await take(all_of_it, 5) == [1, 2, 3, 4, 5]
            assert await take(newest, 3) == [3, 4, 5]


async def test_it_can_be_iterated() -> None:
    """Until the block is left; every event has what was published."""
    async with opened(3) as forum, forum.subscribe(cursor=0) as events:
        found: list[str] = []
        async for event in events:
            found.append(event.envelope.ticket)
            if event.sequence == 3:
                break
        assert found == ["T-1"] * 3


async def test_its_cursor_is_that_of_the_last_event() -> None:
    """Not of the frame that the event came in: who stores it and comes back misses nothing."""
    async with opened(5) as forum:
        async with forum.subscribe(cursor="earliest") as events:
            for number in range(1, 6):
                event = await anext(events)
                assert (event.sequence, events.cursor) == (number, event.cursor)
        stored = events.cursor
        assert stored is not None
        async with forum.subscribe(cursor=stored) as later:
            await forum.publish(event_type="a", ticket="T-1")
            assert await take(later, 1) == [6]


async def test_its_cursor_moves_past_what_was_left_out() -> None:
    """And it is there as soon as the block is entered."""
    async with opened(3) as forum, forum.subscribe(ticket="none") as events:
        assert events.cursor is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(events.__anext__)
            await wait_all_tasks_blocked()
            receipt = await forum.publish(event_type="a", ticket="T-1")
            assert events.cursor == receipt.cursor
            tasks.cancel_scope.cancel()


async def test_a_subscription_that_is_not_open_has_nothing() -> None:
    """Before the block and after it; leaving twice is harmless."""
    async with opened(3) as forum:
        events = forum.subscribe(cursor="earliest")
        assert events.cursor is None
        with pytest.raises(ForumClosed, match="not open"):
            await anext(events)
        async with events:
            assert await take(events, 1) == [1]
        await events.aclose()
        with pytest.raises(ForumClosed, match="not open"):
            await anext(events)
        assert forum.stats()["streams"] == {}


async def test_a_subscription_can_be_opened_again() -> None:
    """It begins where it began before."""
    async with opened(3) as forum:
        events = forum.subscribe(cursor=1)
        for _ in range(2):
            async with events:
                assert await take(events, 2) == [2, 3]


async def test_a_reset_is_raised_and_iterating_goes_on() -> None:
    """With its reason, and from where it goes on."""
    async with opened(3) as forum, forum.subscribe(cursor=99) as events:
        with pytest.raises(ForumReset) as caught:
            await anext(events)
        assert caught.value.reason == "ahead"
        assert events.cursor == caught.value.next_cursor
        assert await take(events, 3) == [1, 2, 3]


async def test_a_reset_on_the_way_comes_after_what_came_before_it() -> None:
    """Trimmed while it was not read: the events that it had stay, then the reset, then what is retained."""
    async with (
        opened(3, MemorySource(retain=5), limits=Limits(tail_bytes=2000)) as forum,
        forum.subscribe(cursor=0, limit=1) as events,
    ):
        assert await take(events, 1) == [1]
        for _ in range(10):
            await forum.publish_many([draft()] * 2)
        with pytest.raises(ForumReset, match="trimmed"):
            await anext(events)
        assert await take(events, 5) == [19, 20, 21, 22, 23]


async def test_frames_can_be_read_too() -> None:
    """As a WebSocket client would get them; a reset is a frame there."""
    async with opened(2, heartbeat=0.05) as forum, forum.subscribe(cursor=99) as events:
        frames: list[Frame] = []
        async for frame in events.frames():
            frames.append(frame)
            if isinstance(frame, HeartbeatFrame):
                break
        assert [type(frame) for frame in frames] == [ResetFrame, EventsFrame, LiveFrame, HeartbeatFrame]
        assert sequences(frames[1]) == [1, 2]


async def test_frames_begin_with_what_is_left_of_the_last_one() -> None:
    """Changing from events to frames loses nothing, and repeats nothing."""
    async with opened(5) as forum, forum.subscribe(cursor=0) as events:
        assert await take(events, 2) == [1, 2]
        frames = events.frames()
        frame = await anext(frames)
        assert sequences(frame) == [3, 4, 5]
        assert isinstance(frame, EventsFrame)
        assert frame.next_cursor == frame.events[-1].cursor == events.cursor
        assert isinstance(await anext(frames), LiveFrame)


async def test_one_task_at_a_time() -> None:
    """A second one is refused, and the first is not disturbed."""
    async with opened() as forum, forum.subscribe() as events, anyio.create_task_group() as tasks:
        found: list[int] = []

        async def first() -> None:
            found.extend(await take(events, 1))

        tasks.start_soon(first)
        await wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await anext(events)
        await forum.publish(event_type="a", ticket="T-1")
        await until(lambda: found == [1])


async def test_closing_wakes_who_waits() -> None:
    """Another task closes the subscription: who waits in it hears so, and does not wait for ever."""
    async with opened() as forum, forum.subscribe() as events, anyio.create_task_group() as tasks:
        told: list[str] = []

        async def wait() -> None:
            with pytest.raises(ForumClosed) as caught:
                await anext(events)
            told.append(str(caught.value))

        tasks.start_soon(wait)
        await wait_all_tasks_blocked()
        await events.aclose()
        await until(lambda: told)


@pytest.mark.parametrize("turns", range(8))
async def test_cancelling_a_wait_loses_nothing(turns: int) -> None:
    """A timeout around each wait, however short: every event once, in order."""
    async with opened(10) as forum, forum.subscribe(cursor=0, limit=3) as events:
        found: list[int] = []
        for attempt in range(2000):
            with anyio.CancelScope() as scope:

                async def cancel(scope: anyio.CancelScope = scope, patience: int = turns + attempt // 100) -> None:
                    for _ in range(patience):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(cancel)
                    found.append((await anext(events)).sequence)
                    tasks.cancel_scope.cancel()
            if found[-1:] == [10]:
                break
        assert found == list(range(1, 11))


async def test_it_ends_when_the_forum_does() -> None:
    """Who waits hears ForumClosed, and so does who comes later."""
    async with (
        opened(limits=Limits(stop_after=0.05)) as forum,
        forum.subscribe() as events,
        anyio.create_task_group() as tasks,
    ):
        told: list[str] = []

        async def wait() -> None:
            with pytest.raises(ForumClosed) as caught:
                await anext(events)
            told.append(str(caught.value))

        tasks.start_soon(wait)
        await wait_all_tasks_blocked()
        tasks.start_soon(forum.aclose)
        await until(lambda: told)
        with pytest.raises(ForumClosed):
            async with forum.subscribe():
                pass


async def test_a_forum_that_drains_takes_no_new_ones() -> None:
    """The forum is stopping; this is not a limit that passes."""
    async with opened() as forum:
        await forum.drain()
        with pytest.raises(ForumClosed):
            async with forum.subscribe():
                pass


async def test_the_policy_for_slow_readers_is_told() -> None:
    """The host's own reader may be too slow as well."""
    async with opened(on_lag="disconnect", limits=Limits(max_lag=2)) as forum, forum.subscribe(limit=1) as events:
        await forum.publish(event_type="a", ticket="T-1")
        assert await take(events, 1) == [1]
        await forum.publish_many([draft()] * 5)
        with pytest.raises(TooSlow):
            await take(events, 5)


async def test_it_waits_for_a_source_that_is_away() -> None:
    """The block is entered; where it begins is fixed at the first contact, and until then it has no cursor."""
    source = DistantSource(away=True)
    async with opened(0, source) as forum, forum.subscribe() as events:
        assert events.cursor is None
        await source.append(draft())
        source.come_back()
        await until(lambda: forum.stats()["degraded"] is False)
        async with anyio.create_task_group() as tasks:
            found: list[int] = []

            async def wait() -> None:
                found.extend(await take(events, 1))

            tasks.start_soon(wait)
            await until(lambda: events.cursor is not None)
            await source.append(draft())
            await until(lambda: found == [2])


async def test_a_block_that_fails_leaves_nothing_behind() -> None:
    """An error in it passes through; the reader and its place are gone."""
    async with opened(2) as forum:
        events = forum.subscribe(cursor=0)

        async def fail() -> None:
            async with events:
                await anext(events)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        stats = forum.stats()
        assert (stats["streams"], stats["channels"]) == ({}, 0)


async def test_entering_may_be_cancelled() -> None:
    """While the start can't be fixed for a source that does not answer: nothing is left behind."""
    source = DistantSource()
    async with opened(0, source) as forum:
        await wait_all_tasks_blocked()
        source.fall_mute()
        with anyio.move_on_after(0.01):
            async with forum.subscribe(tail=5):
                pass
        stats = forum.stats()
        assert (stats["streams"], stats["channels"]) == ({}, 0)
        source.speak()


async def test_the_hosts_own_are_of_any_age() -> None:
    """Nobody would come back for them: only clients' streams are ended by the greatest age."""
    async with opened(limits=Limits(max_stream_age=0.01), heartbeat=0.02) as forum, forum.subscribe() as events:
        frames = events.frames()
        kinds = [(await anext(frames)).type for _ in range(5)]
    assert kinds == ["forum.live", *["heartbeat"] * 4]
