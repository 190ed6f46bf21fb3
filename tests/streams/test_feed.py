"""Feeds: what a stream sends next, when it says that it is alive, and why it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given
from hypothesis import strategies as st

from asgi_forum.cursor import Start, parse_start
from asgi_forum.errors import AuthorizationExpired, ForumClosed, ForumError, ShuttingDown, SourceUnavailable, TooSlow
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame, Frame, HeartbeatFrame, LiveFrame, ResetFrame
from asgi_forum.hub import reader as readers
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.reader import Reader
from asgi_forum.sources import MemorySource
from asgi_forum.streams import feed as feeds
from asgi_forum.streams.feed import BEGIN, Ending, Feed
from tests.events import draft, entries, sequences
from tests.hub.bench import at_work, until
from tests.wire.sources import DistantSource

pytestmark = pytest.mark.anyio

QUICK = 0.05
"""A heartbeat that is soon due."""


def feed(
    running: Running, start: str | Start = "earliest", *, limit: int = 100, ending: Ending | None = None, **wish: Any
) -> Feed:
    """Open a stream."""
    reader = Reader(running.hub, Filter.of(**wish), parse_start(start) if isinstance(start, str) else start)
    return Feed(running.hub, reader, running.watchdog, limit=limit, heartbeat=running.heartbeat, ending=ending)


def kinds(*frames: Frame) -> list[str]:
    """Frames by their type."""
    return [frame.type for frame in frames]


async def take(stream: Feed, count: int) -> list[Frame]:
    """The next frames."""
    return [await stream.next() for _ in range(count)]


async def until_live(stream: Feed) -> None:
    """Read up to `forum.live`."""
    while not isinstance(await stream.next(), LiveFrame):
        pass


@asynccontextmanager
async def filled(count: int, **settings: Any) -> AsyncGenerator[tuple[MemorySource, Running], None]:
    """A forum with so many events."""
    source = MemorySource()
    if count:
        await source.publish(entries(count))
    async with at_work(source, **settings) as running:
        yield source, running


async def test_a_stream_is_history_then_live_then_news() -> None:
    """In frames of at most `limit` events."""
    async with filled(5) as (source, running):
        stream = feed(running, limit=2)
        frames = await take(stream, 4)
        assert kinds(*frames) == ["forum.events"] * 3 + ["forum.live"]
        assert sequences(*frames[:3]) == [1, 2, 3, 4, 5]
        await source.publish(entries(3))
        assert sequences(*await take(stream, 2)) == [6, 7, 8]


async def test_frames_and_events_are_counted() -> None:
    """For the forum's statistics."""
    async with filled(5) as (_, running):
        await until_live(feed(running, limit=2))
        assert (running.hub.counters.frames, running.hub.counters.delivered) == (4, 5)


# Heartbeats


async def test_a_silent_stream_says_that_it_is_there() -> None:
    """Whenever the interval passes with nothing else sent; never before."""
    async with filled(1, heartbeat=QUICK) as (_, running):
        stream = feed(running, "latest")
        await until_live(stream)
        for _ in range(3):
            before = anyio.current_time()
            frame = await stream.next()
            assert isinstance(frame, HeartbeatFrame)
            assert frame.degraded is None
            assert anyio.current_time() - before >= QUICK * 0.9


async def test_a_heartbeat_moves_past_what_was_left_out() -> None:
    """Its cursor is the log's end, though the filter let nothing through."""
    async with filled(1, heartbeat=QUICK) as (source, running):
        stream = feed(running, "latest", ticket="none")
        await until_live(stream)
        receipts = await source.publish(entries(5))
        frame = await stream.next()
        assert isinstance(frame, HeartbeatFrame)
        assert frame.next_cursor == receipts[-1].cursor


async def test_news_puts_a_heartbeat_off() -> None:
    """A stream that has something to say is not silent."""
    async with filled(0, heartbeat=60.0) as (source, running):
        stream = feed(running)
        await until_live(stream)
        stream.check(anyio.current_time() + 59)
        await source.publish(entries(1))
        assert kinds(await stream.next()) == ["forum.events"]


async def test_a_heartbeat_comes_while_a_read_is_not_answered() -> None:
    """The read goes on meanwhile: it is not asked again and again."""
    source = DistantSource()
    await source.append(draft(), draft())
    async with at_work(source, heartbeat=QUICK) as running:
        await wait_all_tasks_blocked()
        source.fall_mute()
        reads = source.reads
        stream = feed(running)
        assert kinds(*await take(stream, 3)) == ["heartbeat"] * 3
        assert source.reads - reads == 1
        source.speak()
        assert sequences(await stream.next()) == [1, 2]


# The source is away


async def test_an_outage_is_told_at_once_and_so_is_its_end() -> None:
    """One heartbeat each, long before one is due; what came meanwhile follows, once."""
    source = DistantSource()
    await source.append(draft())
    async with at_work(source) as running:
        stream = feed(running)
        await until_live(stream)
        for number in (2, 3):
            await wait_all_tasks_blocked()
            source.leave()
            frame = await stream.next()
            assert isinstance(frame, HeartbeatFrame)
            assert frame.degraded is True
            await source.append(draft())
            source.come_back()
            frame = await stream.next()
            assert isinstance(frame, HeartbeatFrame)
            assert frame.degraded is None
            assert sequences(await stream.next()) == [number]


async def test_heartbeats_of_an_outage_say_so() -> None:
    """Each of them, until it is over; their cursor does not move."""
    source = DistantSource()
    (receipt,) = await source.append(draft())
    async with at_work(source, heartbeat=QUICK) as running:
        stream = feed(running)
        await until_live(stream)
        await wait_all_tasks_blocked()
        source.leave()
        await until(lambda: running.hub.degraded)
        for frame in await take(stream, 4):
            assert isinstance(frame, HeartbeatFrame)
            assert (frame.degraded, frame.next_cursor) == (True, receipt.cursor)


async def test_a_stream_that_alone_cannot_reach_the_source_tries_again() -> None:
    """The feed is fine, its own page is not: it is degraded for this stream, until a page comes."""

    class Pages(DistantSource):
        """A source whose pages of history can't be had for a while."""

        broken = False
        tries = 0

        async def read(self, after: int, limit: int) -> Any:
            """Fail for history."""
            if self.broken and limit:
                self.tries += 1
                raise SourceUnavailable
            return await super().read(after, limit)

    source = Pages()
    await source.append(draft(), draft())
    async with at_work(source) as running:
        source.broken = True
        stream = feed(running)
        frame = await stream.next()
        assert isinstance(frame, HeartbeatFrame)
        assert (frame.degraded, frame.next_cursor, running.hub.degraded) == (True, None, False)
        with anyio.move_on_after(0.2):
            await stream.next()
        assert source.tries == 1  # not again and again: half of RETRY passes at least
        source.broken = False
        frames = await take(stream, 2)
        assert sequences(frames[0]) == [1, 2] or sequences(frames[1]) == [1, 2]
        assert {frame.type for frame in frames} == {"heartbeat", "forum.events"}


async def test_who_waits_for_an_outage_to_end_takes_no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """While all are cut off the hub looks for the source, and wakes who waits: nobody else counts the time, and all go on then."""
    monkeypatch.setattr(feeds, "RETRY", 0.01)
    waits = 0
    source = DistantSource(away=True)
    async with at_work(source) as running:
        stream = feed(running)
        assert kinds(await stream.next()) == ["heartbeat"]
        wait = Reader.wait

        async def counted(reader: Reader) -> None:
            nonlocal waits
            waits += 1
            await wait(reader)

        monkeypatch.setattr(Reader, "wait", counted)
        with anyio.move_on_after(0.1):
            await stream.next()
        assert waits <= 3
        await source.append(draft())
        source.come_back()
        assert sequences(*[frame for frame in await take(stream, 2) if isinstance(frame, EventsFrame)]) == [1]


@pytest.mark.parametrize(
    ("start", "cursor"), [("latest", None), ("2", None), (Start(tail=1), None), ("e.2.c", "e.2.c")]
)
async def test_a_stream_may_begin_during_an_outage(start: str | Start, cursor: str | None) -> None:
    """Until the first contact only a cursor that was given can be told."""
    source = DistantSource(away=True)
    async with at_work(source) as running:
        frame = await feed(running, start).next()
        assert isinstance(frame, HeartbeatFrame)
        assert (frame.degraded, frame.next_cursor) == (True, cursor)


# Endings


async def test_a_stream_ends_with_the_error_it_was_told() -> None:
    """Whether it waits just then or not; the first error counts, and it is told again and again."""
    async with filled(1) as (_, running):
        stream = feed(running)
        await until_live(stream)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_soon, stream)
            with pytest.raises(ShuttingDown):
                await stream.next()
        stream.end(TooSlow())
        for _ in range(2):
            with pytest.raises(ShuttingDown):
                await stream.next()


async def end_soon(stream: Feed) -> None:
    """End a stream when its reader waits."""
    await wait_all_tasks_blocked()
    stream.end(ShuttingDown())


async def test_a_stream_ends_though_its_read_is_not_answered() -> None:
    """At once, and not with the next heartbeat."""
    source = DistantSource()
    await source.append(draft())
    async with at_work(source) as running:
        await wait_all_tasks_blocked()
        source.fall_mute()
        stream = feed(running)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_soon, stream)
            with anyio.fail_after(1.0), pytest.raises(ShuttingDown):
                await stream.next()
        source.speak()


@pytest.mark.parametrize("error", [AuthorizationExpired("over"), ShuttingDown("old")])
async def test_a_stream_ends_at_its_time(error: ForumError) -> None:
    """By the loop's clock, which the watchdog tells; not a moment before."""
    async with filled(1) as (_, running):
        at = anyio.current_time() + 1000
        stream = feed(running, ending=Ending(at, error))
        await until_live(stream)
        stream.check(at - 1)
        async with anyio.create_task_group() as tasks:

            async def later() -> None:
                await wait_all_tasks_blocked()
                stream.check(at)

            tasks.start_soon(later)
            with pytest.raises(type(error)) as caught:
                await stream.next()
            assert caught.value is error


async def test_a_slow_reader_ends_by_policy() -> None:
    """`disconnect` reaches the stream as its end."""
    async with filled(0, on_lag="disconnect", max_lag=1) as (source, running):
        stream = feed(running)
        await until_live(stream)
        await source.publish(entries(2))
        with pytest.raises(TooSlow):
            await stream.next()


async def test_a_reset_is_a_frame() -> None:
    """The stream goes on behind it."""
    async with filled(2) as (_, running):
        frames = await take(feed(running, "7"), 3)
        assert isinstance(frames[0], ResetFrame)
        assert sequences(frames[1]) == [1, 2]
        assert isinstance(frames[2], LiveFrame)


async def test_a_closed_stream_leaves_nothing_behind() -> None:
    """Neither its reader's channel nor a place with the watchdog; closing again is harmless."""
    async with filled(1, heartbeat=QUICK) as (_, running):
        stream = feed(running, ticket="a")
        await until_live(stream)
        assert len(running.hub.channels) == 1
        stream.close()
        stream.close()
        assert len(running.hub.channels) == 0
        stream.end(ShuttingDown())


# Sending


async def test_a_client_that_accepts_nothing_is_given_up() -> None:
    """After the deadline the watchdog cuts the send, and the stream has ended; only while something is sent."""
    async with filled(0, send_timeout=60.0) as (_, running):
        stream = feed(running)
        stream.check(anyio.current_time() + 1000)

        async def send() -> None:
            stream.check(anyio.current_time() + 61)
            await anyio.sleep_forever()

        await stream.send(anyio.lowlevel.checkpoint)
        for ends in (partial(stream.send, send), stream.next):
            with pytest.raises(TooSlow):
                await ends()


async def test_a_stream_that_has_to_end_says_why_though_its_client_takes_nothing() -> None:
    """The reason is the one that it was told, not that the client is slow."""
    async with filled(0) as (_, running):
        stream = feed(running)
        stream.end(ShuttingDown())
        with pytest.raises(ShuttingDown):
            await stream.send(anyio.sleep_forever)


async def test_a_send_that_fails_is_over() -> None:
    """Its error passes through, and its deadline is forgotten."""
    async with filled(0, send_timeout=0.001) as (_, running):
        stream = feed(running)

        async def send() -> None:
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await stream.send(send)
        stream.check(anyio.current_time() + 1000)
        await anyio.lowlevel.checkpoint()


async def test_a_stream_that_never_waits_lets_others_work() -> None:
    """After some frames in a row other tasks get their turn, though sending never blocks."""
    async with filled(100) as (_, running):
        receipts = (await running.source.read(0, 1)).events
        running.hub.begin((await running.source.read(0, 0)).position)
        running.hub.accept(await running.source.read(0, 1000))
        stream = feed(running, receipts[0].cursor, limit=1)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            await take(stream, 99)
            tasks.cancel_scope.cancel()
        assert turns >= 5


async def test_a_stream_that_finds_nothing_for_long_lets_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each piece of the tail that it looked through."""
    monkeypatch.setattr(readers, "_SCAN", 2)
    async with filled(100) as (source, running):
        running.hub.begin((await source.read(0, 0)).position)
        running.hub.accept(await source.read(0, 1000))
        stream = feed(running, (await source.read(0, 1)).events[0].cursor, event_type="none")
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            assert kinds(await stream.next()) == ["forum.live"]
            tasks.cancel_scope.cancel()
        assert turns >= 40


# Beginning


@pytest.mark.parametrize(
    ("start", "first"), [("latest", "forum.live"), (Start(tail=1), "forum.events"), ("1", "forum.events")]
)
async def test_a_stream_begins_where_it_was_opened(start: str | Start, first: str) -> None:
    """What comes between its beginning and its first frame is news, not part of what was asked for."""
    async with filled(2) as (source, running):
        stream = feed(running, start)
        assert await stream.begin() is None
        await source.publish(entries(1))
        frames = await take(stream, 2)
        assert frames[0].type == first
        assert sequences(*[frame for frame in frames if isinstance(frame, EventsFrame)])[-1] == 3


async def test_a_beginning_that_can_not_be_served_is_told() -> None:
    """The reset comes back, and the stream goes on behind it."""
    async with filled(2) as (_, running):
        stream = feed(running, "7")
        reset = await stream.begin()
        assert isinstance(reset, ResetFrame)
        assert reset.reason == "ahead"
        assert sequences(await stream.next()) == [1, 2]


@pytest.mark.parametrize("fault", ["away", "mute"])
async def test_a_beginning_does_not_wait_for_ever(fault: str) -> None:
    """For a source that is away, or answers nothing, the start is fixed at the first contact."""
    source = DistantSource()
    await source.append(draft())
    async with at_work(source) as running:
        await wait_all_tasks_blocked()
        if fault == "away":
            source.away = True
        else:
            source.fall_mute()
        stream = feed(running, "latest")
        with anyio.fail_after(BEGIN + 1.0):
            assert await stream.begin() is None
        assert stream.reader.position is None
        source.come_back()
        source.speak()
        while stream.reader.position is None:
            await stream.next()
        assert stream.reader.sequence == 1


# Cancelling


@pytest.mark.parametrize(
    ("error", "endings", "limits"),
    [
        (ShuttingDown(), {"shutting_down": 1}, {}),
        (ShuttingDown().at("max_stream_age"), {"shutting_down": 1}, {"max_stream_age": 1}),
        (AuthorizationExpired(), {"authorization_expired": 1}, {}),
        (ForumClosed(), {}, {}),
        (None, {}, {}),
    ],
)
async def test_endings_are_counted(error: ForumError | None, endings: dict[str, int], limits: dict[str, int]) -> None:
    """Once each, by code, with the limit that was the reason; neither clients that leave nor what the host itself closes."""
    async with filled(1) as (_, running):
        stream = feed(running)
        if error is not None:
            stream.end(error)
            stream.end(TooSlow())
            with pytest.raises(type(error)):
                await stream.next()
        stream.close()
        stream.close()
        assert (running.hub.counters.endings, running.hub.counters.limits) == (endings, limits)


async def pull(stream: Feed, turns: int) -> Frame | None:
    """Wait for the next frame, but not longer than so many turns of the event loop."""
    frame: Frame | None = None
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            frame = await stream.next()
            tasks.cancel_scope.cancel()
    return frame


STARTS: dict[str, tuple[str | Start, dict[str, Any], list[int]]] = {
    "history": ("earliest", {}, list(range(1, 41))),
    "filtered": ("earliest", {"ticket": "b"}, [number for number in range(1, 41) if number % 4 == 0]),
    "tail": (Start(tail=7), {"ticket": "b"}, [16, 20, 24, 28, 32, 36, 40]),
    "number": ("35", {}, [36, 37, 38, 39, 40]),
    "latest": ("latest", {}, [31, 32, 33, 34, 35, 36, 37, 38, 39, 40]),
}


async def run_cancelled(name: str, limit: int, turns: list[int]) -> list[int]:
    """Read a log whose last events come while it is read, each wait cut short after its turns; return what came."""
    start, wish, expected = STARTS[name]
    source = DistantSource()
    log = [draft(ticket="b" if number % 4 == 0 else "a") for number in range(1, 41)]
    early = 40 if name == "tail" else 30
    await source.append(*log[:early])
    found: list[int] = []
    async with at_work(source) as running:
        stream = feed(running, start, limit=limit, **wish)
        if name == "latest":
            await until_live(stream)
        if log[early:]:
            await source.append(*log[early:])
        for attempt in range(20_000):
            # A wait that is cut too early every time would never end: it may take a little longer every now and then.
            frame = await pull(stream, turns[attempt % len(turns)] + attempt // 200)
            assert not isinstance(frame, ResetFrame)
            if isinstance(frame, EventsFrame):
                found += sequences(frame)
                if found[-1] == expected[-1]:
                    break
    return found


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("name", STARTS)
async def test_cancelling_at_any_moment_loses_nothing(name: str, limit: int, turns: int) -> None:
    """Cut after the same number of turns again and again, at every place where it can wait: each event once, in order."""
    assert await run_cancelled(name, limit, [turns]) == STARTS[name][2]


@given(
    st.sampled_from(sorted(STARTS)),
    st.sampled_from([1, 2, 7, 100]),
    st.lists(st.integers(0, 15), min_size=1, max_size=8),
)
async def test_cancelling_at_changing_moments_loses_nothing(name: str, limit: int, turns: list[int]) -> None:
    """Whatever the pattern: each event once, in order."""
    assert await run_cancelled(name, limit, turns) == STARTS[name][2]
