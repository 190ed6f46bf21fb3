"""Readers: from history to live without a seam, and back; resets, slow clients, and where `tail=N` begins."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given
from hypothesis import strategies as st

from asgi_forum.cursor import LATEST, REPLACED, Start, parse_start
from asgi_forum.errors import SourceUnavailable, TooSlow
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame, LiveFrame, ResetFrame
from asgi_forum.hub.reader import Look, Reader
from asgi_forum.hub.reads import BLOCK
from asgi_forum.settings import OnLag
from asgi_forum.sources import MemorySource, Page
from tests.events import draft
from tests.hub.bench import at_work, bench, drive, told
from tests.wire.sources import DistantSource, HalfNearSource, HistorySource

pytestmark = pytest.mark.anyio

ROOM_FOR_10 = 13_000
"""Bytes of a tail that has room for ten of the events here, and not for eleven."""


# From the start to live


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("earliest", [1, 2, 3, "push"]),
        ("0", [1, 2, 3, "push"]),
        ("1", [2, 3, "push"]),
        ("3", ["push"]),
        ("latest", ["push"]),
        (Start(tail=2), [2, 3, "push"]),
        (Start(tail=9), [1, 2, 3, "push"]),
        ("4", ["ahead", 1, 2, 3, "push"]),
        ("other.2.x", ["replaced", 1, 2, 3, "push"]),
        (REPLACED, ["replaced", 1, 2, 3, "push"]),
    ],
)
async def test_a_reader_delivers_history_and_goes_live(start: str | Start, expected: list[object]) -> None:
    """Everything after its start, then `forum.live`, once; then what comes."""
    async with bench(3) as made:
        reader = made.reader(start)
        assert await drive(reader) == expected
        await made.append(2)
        assert await drive(reader) == [4, 5]
        assert reader.at_end


@pytest.mark.parametrize("start", ["earliest", "latest", "2", "cursor", "tail"])
async def test_a_start_may_be_fixed_early(start: str) -> None:
    """What came between `begin` and the first step is delivered, and `begin` again is harmless."""
    async with bench() as made:
        receipts = await made.append(3)
        reader = made.reader({"cursor": receipts[1].cursor}.get(start, start) if start != "tail" else Start(tail=1))
        for _ in range(2):
            assert await reader.begin() is None
        await made.append(2)
        expected = {"earliest": [1, 2, 3, 4, 5, "push"], "latest": ["push", 4, 5], "tail": [3, 4, 5, "push"]}
        assert await drive(reader) == expected.get(start, [3, 4, 5, "push"])


async def test_a_start_that_cannot_be_served_is_told_by_begin() -> None:
    """The reset comes back at once, and the reader goes on behind it."""
    async with bench(3) as made:
        reader = made.reader("7")
        reset = await reader.begin()
        assert isinstance(reset, ResetFrame)
        assert reset.reason == "ahead"
        assert reset.next_cursor == reader.cursor
        assert await drive(reader) == [1, 2, 3, "push"]


async def test_a_cursor_that_the_tail_knows_costs_no_read() -> None:
    """A thousand clients that come back are served from memory: by an event's cursor, or the tail's own ends."""
    async with bench(3) as made:
        receipts = await made.append(5)
        before = made.source.reads
        for cursor, expected in (
            (receipts[0].cursor, [5, 6, 7, 8, "push"]),
            (receipts[4].cursor, ["push"]),
            (str(made.hub.tail.start), [4, 5, 6, 7, 8, "push"]),
        ):
            assert await drive(made.reader(cursor)) == expected
        assert made.source.reads == before


@pytest.mark.parametrize("cursor", ["forged", "older", "other"])
async def test_a_cursor_that_the_tail_does_not_know_is_judged_by_the_log(cursor: str) -> None:
    """A forged check, a position before the tail, another log."""
    async with bench(3) as made:
        receipts = await made.append(5)
        good = receipts[0].cursor
        start = {
            "forged": good[:-1] + ("A" if good[-1] != "A" else "B"),
            "older": str((await made.source.read(2, 0)).position),
            "other": "x" + good,
        }[cursor]
        before = made.source.reads
        expected = [3, 4, 5, 6, 7, 8, "push"] if cursor == "older" else ["replaced", *range(1, 9), "push"]
        assert await drive(made.reader(start)) == expected
        assert made.source.reads > before


async def test_a_log_at_hand_is_read_at_once() -> None:
    """Only where the reader begins is waited for; what the filter leaves out is passed over, and what was trimmed is announced."""
    async with bench(source=HalfNearSource(MemorySource(retain=1000))) as made:
        for ticket in ("a", "b") * 3:
            await made.append_unheard(100, ticket=ticket)
        await made.contact()
        reader = made.reader("earliest", ticket="a")
        first = await reader.step(60)
        before = made.source.reads
        await made.append_unheard(700, ticket="b")
        found: list[object] = [] if first is None else told(first)
        while not reader.idle:
            frame = reader.step_at_once(60)
            assert frame is not Look.WAITS
            found += [] if frame is None else told(frame)
        assert found == [*range(1, 61), "trimmed", *range(401, 501), "push"]
        assert made.source.reads == before


async def test_a_reader_older_than_its_channel_looks_through_the_tail() -> None:
    """What is older than the channel is found in the tail; what the filter leaves out is passed over."""
    async with bench() as made:
        receipts = await made.append(5, ticket="a")
        await made.append(5, ticket="b")
        await drive(made.reader(ticket="a"))
        await made.append(2, ticket="a")
        before = made.source.reads
        assert await drive(made.reader(receipts[1].cursor, ticket="a")) == [3, 4, 5, 11, 12, "push"]
        assert await drive(made.reader(receipts[1].cursor, ticket="b"), limit=2) == [6, 7, 8, 9, 10, "push"]
        assert made.source.reads == before


@pytest.mark.parametrize("most", [1, 4, 10, 11])
async def test_a_step_through_the_tail_is_bounded(most: int) -> None:
    """However much lies between a position and its channel: it is looked through piece by piece, and nothing is left out."""
    async with bench() as made:
        start = str(made.hub.tail.start)
        await made.append(10)
        reader = made.reader(start)
        assert told_events(await reader.step(100, most=most)) == list(range(1, min(most, 10) + 1))
        await made.append(1)
        assert await drive(reader, most=most) == [*range(min(most, 10) + 1, 12), "push"]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("room", [1, 700, 10**6])
@pytest.mark.parametrize("wish", [{}, {"ticket": "a"}, {"ticket": "b"}, {"ticket": "none"}])
async def test_no_seam_loses_or_repeats(limit: int, room: int, wish: dict[str, Any]) -> None:
    """Pages of the source, the tail and the channel, cut at every place: each match once, in order."""
    async with bench(source=DistantSource(), frame_bytes=room) as made:
        for _ in range(4):
            await made.append_unheard(2, ticket="a")
            await made.append_unheard(1, ticket="b")
        await made.deliver()
        readers = [made.reader(str(position), **wish) for position in range(13)]
        found: list[list[object]] = [[] for _ in readers]
        for _ in range(3):
            for reader, each in zip(readers, found, strict=True):
                each += await drive(reader, limit=limit)
            await made.append(1, ticket="b")
            await made.append(2, ticket="a")
        log = [
            event.sequence
            for event in (await made.source.read(0, 100)).events
            if not wish or event.keys.exact[0] in wish.values()
        ]
        for position, (reader, each) in enumerate(zip(readers, found, strict=True)):
            each += await drive(reader, limit=limit)
            assert [number for number in each if isinstance(number, int)] == [
                number for number in log if number > position
            ]
            assert [word for word in each if isinstance(word, str)] == ["push"]
            assert reader.at_end


@pytest.mark.parametrize("limit", [1, 3])
async def test_a_frame_holds_at_most_limit(limit: int) -> None:
    """In history, in the tail and live; its cursor is that of its last event."""
    async with bench() as made:
        receipts = await made.append(4)
        for reader in (made.reader("earliest"), made.reader(receipts[0].cursor)):
            while not reader.idle:
                frame = await reader.step(limit)
                if isinstance(frame, EventsFrame):
                    assert 1 <= len(frame.events) <= limit
                    assert frame.next_cursor == frame.events[-1].cursor == reader.cursor


async def test_a_filter_that_leaves_most_out_reads_larger_pages() -> None:
    """Few matches in a long history cost few reads."""
    async with bench() as made:
        for _ in range(5):
            await made.append_unheard(1000)
        await made.append_unheard(1, ticket="rare")
        await made.contact()
        before = made.source.reads
        assert await drive(made.reader("earliest", ticket="rare"), limit=1) == [5001, "push"]
        assert made.source.reads - before < 20


@pytest.mark.parametrize("limit", [1, 10, 100])
async def test_frames_that_hold_few_large_events_cost_no_larger_pages(limit: int) -> None:
    """It is not the filter that leaves the others out: what does not fit into one frame is for the next, and is not read again."""
    async with bench(4 * BLOCK, frame_bytes=3000, tail_bytes=1) as made:
        before = made.source.reads
        found = await drive(made.reader("earliest"), limit=limit)
        assert found == [*range(1, 4 * BLOCK + 1), "push"]
        last = BLOCK / min(limit, 8)  # what lies at the log's end is looked at anew for each frame
        assert made.source.reads - before < 10 + last


class Short(DistantSource):
    """A source whose pages hold ten entries at most, as those of large entries do."""

    async def read(self, after: int, limit: int) -> Page:
        """Return fewer than were asked for."""
        return await super().read(after, min(limit, 10))


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_pages_that_hold_few_entries_are_read_once(limit: int) -> None:
    """However few of them a frame takes: a block that ends before the position, once it is known to, is not asked for."""
    async with bench(2 * BLOCK, source=Short(), tail_bytes=1) as made:
        before = made.source.reads
        reader = made.reader("earliest")
        seen: list[object] = []
        while len(seen) < BLOCK + 100:
            seen += told(await reader.step(limit) or LiveFrame("push", None))
        assert seen == list(range(1, len(seen) + 1))
        assert made.source.reads - before < (BLOCK + 100) / 10 * 1.5


async def test_readers_share_the_frames_that_they_get() -> None:
    """Live, at one position: the same object, encoded once for all."""
    async with bench(1) as made:
        readers = [made.reader(ticket="T-1") for _ in range(3)]
        for reader in readers:
            await drive(reader)
        await made.append(2)
        frames = [await reader.step(100) for reader in readers]
        assert frames[0] is frames[1] is frames[2]


async def test_a_source_without_a_feed_has_its_own_live_frame() -> None:
    """`heartbeat`: history is delivered, and only what is asked for follows."""
    source = HistorySource()
    await source.append(draft(), draft())
    async with at_work(source) as running:
        reader = Reader(running.hub, Filter.of(), parse_start("earliest"))
        assert await drive(reader) == [1, 2, "heartbeat"]
        assert await drive(reader) == []
        await source.append(draft())
        assert await drive(reader) == [3]


# Positions


async def test_a_position_moves_past_what_the_filter_left_out() -> None:
    """A quiet reader's cursor keeps up with the log, so that it never becomes too old."""
    async with bench(2) as made:
        reader = made.reader(ticket="quiet")
        await drive(reader)
        receipts = await made.append(5)
        assert reader.cursor == receipts[-1].cursor
        assert await drive(reader) == []
        (last,) = await made.append(1, ticket="quiet")
        assert reader.cursor == receipts[-1].cursor
        assert await drive(reader) == [8]
        assert reader.cursor == last.cursor


@pytest.mark.parametrize(
    ("start", "fixed"),
    [("latest", False), ("3", False), ("earliest", False), (Start(tail=5), False), ("e.3.c", True), (REPLACED, False)],
)
async def test_a_position_is_none_until_it_is_fixed(start: str | Start, fixed: bool) -> None:
    """Only a cursor is one as it stands; while the source is away nothing else can be told."""
    async with bench(source=DistantSource(away=True)) as made:
        reader = made.reader(start)
        with pytest.raises(SourceUnavailable):
            await reader.step(100)
        assert reader.cursor == ("e.3.c" if fixed else None)
        assert (reader.position, reader.sequence) == (None, 0)


async def test_latest_is_where_the_log_ends_at_the_first_contact() -> None:
    """What came while nobody could tell is history by then."""
    async with bench(source=DistantSource(away=True)) as made:
        reader = made.reader("latest")
        with pytest.raises(SourceUnavailable):
            await reader.begin()
        await made.append_unheard(3)
        made.source.come_back()
        await made.contact()
        await reader.begin()
        assert reader.sequence == 3
        await made.append(1)
        assert await drive(reader) == ["push", 4]


async def test_a_position_stays_where_a_step_failed() -> None:
    """The source went away in the middle of history: nothing is lost, and nothing comes twice."""
    async with bench(6) as made:
        reader = made.reader("earliest")
        assert told_events(await reader.step(2)) == [1, 2]
        made.source.leave()
        for _ in range(3):
            with pytest.raises(SourceUnavailable):
                await reader.step(2)
        assert reader.sequence == 2
        made.source.come_back()
        assert await drive(reader, limit=2) == [3, 4, 5, 6, "push"]


def told_events(frame: Any) -> list[object]:
    """What a frame gave."""
    assert frame is not None
    return told(frame)


async def test_nobody_is_live_while_the_source_is_away() -> None:
    """Nobody knows then whether this is the end; when it is back there is news, or `forum.live`."""
    async with bench(2) as made:
        reader = made.reader("earliest")
        await reader.step(100)
        made.hub.lost()
        assert await drive(reader) == []
        made.hub.reached()
        assert await drive(reader) == ["push"]


async def test_a_reader_is_woken_by_what_matches() -> None:
    """And by nothing else; a wait that is over leaves nothing behind."""
    async with bench(1) as made, anyio.create_task_group() as tasks:
        reader = made.reader(ticket="mine")
        await drive(reader)
        woken: list[int] = []

        async def wait() -> None:
            while True:
                await reader.wait()
                woken.append(1)
                await drive(reader)

        tasks.start_soon(wait)
        await wait_all_tasks_blocked()
        await made.append(5, ticket="other")
        await wait_all_tasks_blocked()
        assert woken == []
        await made.append(5, ticket="mine")
        await wait_all_tasks_blocked()
        assert len(woken) == 1
        reader.wake()
        await wait_all_tasks_blocked()
        assert len(woken) == 2
        tasks.cancel_scope.cancel()


async def test_a_closed_reader_leaves_nothing_behind() -> None:
    """Its channel goes with it; closing again is harmless."""
    async with bench(1) as made:
        readers = [made.reader(ticket="a"), made.reader(ticket="a")]
        for reader in readers:
            await drive(reader)
        assert len(made.hub.channels) == 1
        for reader in readers:
            reader.close()
            reader.close()
        assert len(made.hub.channels) == 0


async def test_who_has_no_position_yet_has_nothing_to_catch_up_with() -> None:
    """The tail begins before a reader that was there in an outage has looked again: a forum that stops just then asks it."""
    async with bench(source=DistantSource(away=True)) as made:
        reader = made.reader("latest")
        await made.append_unheard(3)
        made.source.come_back()
        await made.contact()
        assert reader.position is None
        assert reader.at_end


async def test_a_reader_says_where_it_was_though_its_hub_was_closed() -> None:
    """The event loop of its hub is gone, and its tail with it: what the reader knows is still where to resume."""
    async with bench(3) as made:
        reader = made.reader(ticket="T-1")
        assert await drive(reader) == ["push"]
        receipts = await made.append(2)
        assert await drive(reader) == [4, 5]
        made.hub.close()
        assert reader.cursor == receipts[-1].cursor
        assert reader.at_end
        reader.close()


# Falling behind


async def test_a_slow_reader_goes_back_to_pages_and_returns() -> None:
    """Out of the tail it reads the source, nothing is lost, and there is no second `forum.live`."""
    async with bench(1, tail_bytes=ROOM_FOR_10) as made:
        reader = made.reader()
        await drive(reader)
        for _ in range(3):
            await made.append(100)
        assert made.hub.tail.start is not None
        assert made.hub.tail.start.sequence > 250
        before = made.source.reads
        assert await drive(reader) == list(range(2, 302))
        assert made.source.reads > before
        before = made.source.reads
        await made.append(3)
        assert await drive(reader) == [302, 303, 304]
        assert made.source.reads - before <= 2


async def test_who_gets_a_page_that_is_older_than_the_tail_looks_again() -> None:
    """While its page was on the way the tail left it behind: nobody would wake it, so it must not wait."""

    class Late(DistantSource):
        """A log whose answers are on the way until the gate opens."""

        gate = anyio.Event()

        async def read(self, after: int, limit: int) -> Page:
            """Look first, and answer later."""
            page = await super().read(after, limit)
            if limit:
                await self.gate.wait()
            return page

    source = Late()
    async with bench(3, source=source, tail_bytes=1) as made:
        reader = made.reader("earliest", ticket="T-2")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.step, 100)
            await wait_all_tasks_blocked()
            await made.append_unheard(2, ticket="T-2")  # the page that is on the way ends before them
            made.hub.accept(await made.source.log.read(3, 10))  # and the tail begins after the first of them
            source.gate.set()
        assert reader.sequence == 3
        assert not reader.idle
        assert await drive(reader) == [4, 5, "push"]


async def test_a_reader_that_left_retention_is_told() -> None:
    """One reset, reason `trimmed`, then all that is retained, then live again."""
    async with bench(1, retain=20, tail_bytes=ROOM_FOR_10) as made:
        reader = made.reader()
        await drive(reader)
        await made.append(100)
        assert await drive(reader) == ["trimmed", *range(82, 102), "push"]
        assert made.hub.counters.resets == {"trimmed": 1}


async def test_a_reader_that_left_retention_is_told_once_though_a_block_is_older() -> None:
    """A block that others have read a moment ago may still hold what has been trimmed since: that makes no other log of it."""
    async with bench(3 * BLOCK, retain=3 * BLOCK - 100) as made:
        cursor = (await made.source.read(120, 1)).anchor
        await made.hub.reads.read(BLOCK, BLOCK).page()
        await made.append_unheard(300)
        reader = made.reader(cursor or "")
        assert told(await reader.step(10) or LiveFrame("push", None)) == ["trimmed"]
        assert reader.sequence == 400
        assert (await drive(reader, join=False, steps=20))[:2] == [401, 402]
        assert made.hub.counters.resets == {"trimmed": 1}


@pytest.mark.parametrize("on_lag", ["skip", "disconnect"])
async def test_the_policy_is_not_for_history(on_lag: OnLag) -> None:
    """A reader that was never live is not slow: it gets all that it asked for, however long that takes."""
    async with bench(50, tail_bytes=ROOM_FOR_10, on_lag=on_lag, max_lag=1) as made:
        reader = made.reader("earliest")
        assert told_events(await reader.step(5)) == [1, 2, 3, 4, 5]
        await made.append(50)
        assert await drive(reader) == [*range(6, 101), "push"]


@pytest.mark.parametrize("on_lag", ["skip", "disconnect"])
async def test_the_policy_is_not_for_who_catches_up_in_memory(on_lag: OnLag) -> None:
    """A client that comes back is behind by what it missed, and gets that, also where the channel has all of it."""
    async with bench(on_lag=on_lag, max_lag=1) as made:
        await drive(made.reader())
        start = str(made.hub.tail.start)
        await made.append(50)
        reader = made.reader(start)
        assert await drive(reader, limit=10) == [*range(1, 51), "push"]
        await made.append(1)
        assert await drive(reader) == [51]


@pytest.mark.parametrize("max_lag", [1, 3, 10])
async def test_the_policy_applies_past_max_lag(max_lag: int) -> None:
    """Just as many matching events may be pending; what the filter leaves out does not count."""
    async with bench(on_lag="disconnect", max_lag=max_lag) as made:
        reader = made.reader(ticket="T-1")
        await drive(reader)
        await made.append(max_lag)
        await made.append(50, ticket="other")
        assert len(await drive(reader)) == max_lag
        await made.append(max_lag + 1)
        with pytest.raises(TooSlow):
            await reader.step(100)


@pytest.mark.parametrize("max_lag", [1, 3, 10])
async def test_who_skips_goes_on_with_the_newest(max_lag: int) -> None:
    """A reset to just before the newest matching event, then that one, then live; up to max_lag nothing is skipped."""
    async with bench(on_lag="skip", max_lag=max_lag) as made:
        reader = made.reader(ticket="T-1")
        await drive(reader)
        await made.append(max_lag)
        assert await drive(reader) == list(range(1, max_lag + 1))
        await made.append(max_lag + 1)
        newest = 2 * max_lag + 1
        await made.append(3, ticket="other")
        reset = await reader.step(100)
        assert isinstance(reset, ResetFrame)
        assert (reset.reason, reset.next_cursor, reader.sequence) == ("skipped", reader.cursor, newest - 1)
        assert await drive(reader) == [newest, "push"]
        assert made.hub.counters.resets == {"skipped": 1}


async def test_without_max_lag_the_policy_applies_when_the_tail_is_left() -> None:
    """As long as its events are in memory a reader is not slow."""
    async with bench(on_lag="skip", tail_bytes=ROOM_FOR_10) as made:
        reader = made.reader()
        await drive(reader)
        await made.append(9)
        assert await drive(reader) == list(range(1, 10))
        for _ in range(30):
            await made.append(1)
        assert await drive(reader) == ["skipped", 39, "push"]


async def test_who_resumes_after_a_skip_gets_the_newest() -> None:
    """Another client that comes with the reset's cursor is where the first one is."""
    async with bench(on_lag="skip", max_lag=2) as made:
        reader = made.reader()
        await drive(reader)
        await made.append(5)
        reset = await reader.step(100)
        assert isinstance(reset, ResetFrame)
        assert await drive(made.reader(reset.next_cursor)) == [5, "push"]


async def test_a_skip_leads_to_the_newest_match_though_it_left_the_tail() -> None:
    """Events of others have pushed it out of the tail, but the channel has it still: the skip must not pass over it."""
    async with bench(on_lag="skip", max_lag=2, tail_bytes=ROOM_FOR_10 * 10) as made:
        reader = made.reader(ticket="T-1")
        await drive(reader)
        await made.append(5)
        for _ in range(101):
            await made.append(1, ticket="other")
        assert made.hub.tail.start is not None
        assert made.hub.tail.start.sequence >= 5
        assert await drive(reader) == ["skipped", 5, "push"]


@pytest.mark.parametrize("matches", [1, 3])
async def test_a_skip_leads_to_the_newest_match_though_the_channel_has_let_it_go(matches: int) -> None:
    """The log has it still, and the reader has not seen it."""
    async with bench(on_lag="skip", tail_bytes=ROOM_FOR_10) as made:
        reader = made.reader(ticket="T-1")
        await drive(reader)
        await made.append(matches)
        for _ in range(101):
            await made.append(1, ticket="other")
        # Where the newest is the next one there is nothing to skip.
        assert await drive(reader) == (["skipped", matches, "push"] if matches > 1 else [matches])


async def test_a_page_goes_on_with_what_its_channel_has_seen() -> None:
    """Though the log has trimmed it meanwhile: nothing that matched is lost, so nothing is to be told."""
    async with bench(1, retain=3) as made:
        reader = made.reader("1", ticket="T-1")
        await drive(reader)
        for _ in range(10):
            await made.append(1, ticket="other")
        assert await drive(reader, join=False) == []
        assert reader.sequence == 11
        await made.append(1)
        for _ in range(10):
            await made.append(1, ticket="other")
        assert await drive(reader, join=False) == [12]


@pytest.mark.parametrize("on_lag", ["skip", "disconnect"])
async def test_a_reader_whose_first_match_comes_late_is_not_slow(on_lag: OnLag) -> None:
    """Others have filled the tail since it went live, where its channel began: it has missed nothing, and gets its match."""
    async with bench(1, on_lag=on_lag, tail_bytes=ROOM_FOR_10) as made:
        reader = made.reader("latest", ticket="rare")
        assert await drive(reader) == ["push"]
        await made.append(100, ticket="other")
        assert reader.sequence == 1
        await made.append(1, ticket="rare")
        assert await drive(reader) == [102]


@pytest.mark.parametrize("on_lag", ["resume", "skip", "disconnect"])
async def test_a_reader_that_kept_up_is_not_slow(on_lag: OnLag) -> None:
    """When the feed itself has lost what was trimmed, its readers are told `trimmed`: the policy is for slow clients."""
    async with bench(3, retain=5, on_lag=on_lag) as made:
        reader = made.reader()
        await drive(reader)
        await made.append_unheard(20)
        await made.deliver()
        assert await drive(reader) == ["trimmed", *range(19, 24), "push"]


async def test_who_begins_at_the_end_has_missed_nothing_since() -> None:
    """From its beginning its channel gathers for it: what others had trimmed before its first step is no loss of its own."""
    async with bench(1, retain=3, tail_bytes=1) as made:
        reader = made.reader("latest", ticket="mine")
        await reader.begin()
        for _ in range(10):
            await made.append(1, ticket="other")
        assert await drive(reader) == ["push"]


# Another log


async def test_a_replaced_log_is_told_and_delivered() -> None:
    """A reset, reason `replaced`, all of the new log, live again."""
    async with bench(5) as made:
        readers = [made.reader("earliest"), made.reader("latest"), made.reader("earliest", ticket="none")]
        for reader in readers:
            await drive(reader)
        made.source.replace()
        await made.append_unheard(2)
        await made.contact()
        assert await drive(readers[0]) == ["replaced", 1, 2, "push"]
        assert await drive(readers[1]) == ["replaced", 1, 2, "push"]
        assert await drive(readers[2]) == ["replaced", "push"]


async def test_a_position_of_the_old_log_is_not_moved_by_the_new_one() -> None:
    """Though the new one has grown past it: who asks for the cursor gets the old one, and the reset is still to come."""
    async with bench(5) as made:
        reader = made.reader("latest", ticket="T-1")
        assert await drive(reader) == ["push"]
        cursor = reader.cursor
        made.source.replace()
        await made.contact()
        await made.append(3, ticket="T-1")
        await made.append(5, ticket="other")
        assert reader.cursor == cursor
        assert await drive(reader) == ["replaced", 1, 2, 3, "push"]


async def test_a_log_that_is_replaced_in_the_middle_of_history_is_told() -> None:
    """Pages of two logs are never mixed."""
    async with bench(5) as made:
        reader = made.reader("earliest")
        assert told_events(await reader.step(2)) == [1, 2]
        made.source.replace()
        await made.append_unheard(3)
        await made.contact()
        assert await drive(reader, limit=2) == ["replaced", 1, 2, 3, "push"]


async def test_the_end_of_a_new_log_is_not_that_of_the_old_tail() -> None:
    """While the feed has not heard of the new log yet: its end is the end, and who has come there waits."""
    async with bench(5) as made:
        made.source.replace()
        await made.append_unheard(2)
        for how in ({}, {"join": False}):
            reader = made.reader("earliest")
            assert await drive(reader, **how) == [1, 2]
            assert reader.at_end


# Entries that can't be decoded


async def test_numbers_without_events_are_passed_over() -> None:
    """In history, in the tail and live: positions count them, readers don't see them."""
    source = DistantSource()
    source.hidden = {2, 3, 6, 7, 9}
    async with bench(4, source=source) as made:
        reader = made.reader("earliest")
        assert await drive(reader, limit=1) == [1, 4, "push"]
        await made.append(4)
        assert await drive(reader, limit=1) == [5, 8]
        await made.append(1)
        assert reader.sequence in (8, 9)
        assert await drive(reader) == []
        cursor = reader.cursor
        assert cursor is not None
        assert parse_start(cursor).cursor == made.hub.tail.end
        await made.append(1)
        assert await drive(made.reader(cursor)) == [10, "push"]
        assert await drive(made.reader("5")) == [8, 10, "push"]


# Pages


@pytest.mark.parametrize(("limit", "most"), [(1, 1000), (2, 1000), (10, 1000), (10, 1), (10, 4)])
async def test_a_page_reads_no_further_than_it_may(limit: int, most: int) -> None:
    """Without joining, in steps of at most so many entries; idle at the log's end, and never live."""
    async with bench(10, frame_bytes=10**6) as made:
        reader = made.reader("earliest")
        frame = await reader.step(limit, join=False, most=most)
        assert told_events(frame) == list(range(1, min(limit, most) + 1))
        assert reader.examined <= most
        assert not reader.at_end or min(limit, most) == 10
        assert await drive(reader, limit=limit, join=False, most=most) == list(range(min(limit, most) + 1, 11))
        assert reader.at_end
        assert len(made.hub.channels) == 0


async def test_room_is_what_the_caller_says() -> None:
    """A page that is nearly full takes what still fits, one event at least."""
    async with bench(10) as made:
        size = len((await made.source.read(0, 1)).events[0].sse)
        for room, taken in ((1, [1]), (2 * size + 10, [1, 2])):
            assert told_events(await made.reader("earliest").step(10, join=False, room=room)) == taken


async def test_a_page_that_no_block_tells_is_read_on_where_it_was_cancelled() -> None:
    """Behind an entry that can't be decoded a page of its own is needed: a heartbeat in between does not make both begin again."""
    source = DistantSource()
    source.hidden = {3}
    async with bench(6, source=source) as made:
        reader = made.reader("3")
        before = made.source.reads
        for turns in range(1000):
            if reader.position is not None:
                break
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(reader.step, 2)
                    for _ in range(turns % 3):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
        assert made.source.reads - before == 2
        assert reader.sequence == 5


# tail=N


@pytest.mark.parametrize(
    ("count", "wish", "expected"),
    [
        (0, {}, []),
        (1, {}, [9]),
        (4, {}, [6, 7, 8, 9]),
        (9, {}, list(range(1, 10))),
        (1000, {}, list(range(1, 10))),
        (1, {"ticket": "a"}, [7]),
        (2, {"ticket": "a"}, [4, 7]),
        (3, {"ticket": "a"}, [1, 4, 7]),
        (4, {"ticket": "a"}, [1, 4, 7]),
        (3, {"ticket": "none"}, []),
        (1, {"ticket": "a", "event_type": "forum"}, [7]),
    ],
)
async def test_a_tail_is_counted_in_matches(count: int, wish: dict[str, Any], expected: list[int]) -> None:
    """The last N that match come first, all of them where there are fewer; then live."""
    async with bench() as made:
        for _ in range(3):
            await made.append(1, ticket="a")
            await made.append(2, ticket="b")
        assert await drive(made.reader(Start(tail=count), **wish)) == [*expected, "push"]


@pytest.mark.parametrize(
    ("lookback", "expected"),
    [(1, []), (999, []), (1000, [1001]), (1001, [1001]), (1999, [1001]), (2000, [1, 1001]), (10**6, [1, 1001])],
)
async def test_a_tail_looks_back_so_far_and_no_further(lookback: int, expected: list[int]) -> None:
    """The bound counts entries, and is sharp across pages."""
    async with bench(lookback=lookback) as made:
        for _ in range(2):
            await made.append_unheard(1, ticket="rare")
            await made.append_unheard(999)
        await made.contact()
        assert await drive(made.reader(Start(tail=5), ticket="rare")) == [*expected, "push"]


async def test_a_tail_passes_over_what_can_not_be_decoded() -> None:
    """Such numbers count as looked at, not as found."""
    source = DistantSource()
    source.hidden = {2, 4, 5}
    async with bench(5, source=source) as made:
        assert await drive(made.reader(Start(tail=2))) == [1, 3, "push"]
        assert await drive(made.reader(Start(tail=1))) == [3, "push"]


async def test_what_can_not_be_decoded_counts_as_looked_at() -> None:
    """The bound of looking back is in entries: a log full of foreign ones is not searched to its beginning."""
    source = DistantSource()
    source.hidden = set(range(11, 16))
    async with bench(20, source=source, lookback=10) as made:
        assert await drive(made.reader(Start(tail=20))) == [16, 17, 18, 19, 20, "push"]


async def test_a_tail_ends_where_retention_does() -> None:
    """There is nothing before it to look for, and it is not looked for again and again."""
    async with bench(30, retain=10) as made:
        before = made.source.reads
        assert await drive(made.reader(Start(tail=20))) == [*range(21, 31), "push"]
        assert made.source.reads - before <= 3


async def test_a_tail_of_a_log_that_is_replaced_meanwhile_begins_anew() -> None:
    """What was counted in the old log is gone: the count is of the new one."""
    async with bench(2500) as made:
        reader = made.reader(Start(tail=2), ticket="rare")
        made.source.fall_mute()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.begin)
            await wait_all_tasks_blocked()
            reads = made.source.reads
            made.source.speak()
            while made.source.reads < reads + 2:
                await anyio.lowlevel.checkpoint()
            made.source.replace()
            await made.append_unheard(3, ticket="rare")
        await made.contact()
        assert await drive(reader) == [2, 3, "push"]


async def test_a_search_goes_on_where_it_was_cancelled() -> None:
    """A heartbeat in between does not make it begin again."""
    async with bench() as made:
        await made.append_unheard(1, ticket="rare")
        for _ in range(5):
            await made.append_unheard(1000)
        await made.contact()
        reader = made.reader(Start(tail=1), ticket="rare")
        before = made.source.reads
        for turns in range(1000):
            if reader.position is not None:
                break
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(reader.step, 100)
                    for _ in range(turns % 4):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
        assert made.source.reads - before == 7
        assert await drive(reader) == [1, "push"]


# Histories


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 30), st.sampled_from("ab")),
        st.tuples(st.just("unheard"), st.integers(1, 30), st.sampled_from("ab")),
        st.tuples(st.just("step"), st.integers(0, 3), st.sampled_from([1, 3, 100])),
        st.tuples(st.just("away"), st.integers(0, 1), st.just("")),
        st.tuples(st.just("restart"), st.just(0), st.just("")),
    ),
    max_size=30,
)
WISHES: list[dict[str, Any]] = [{}, {"ticket": "a"}, {"ticket": "b", "event_type": "forum"}, {"ticket": "none"}]


@given(STEPS, st.integers(1, 40))
async def test_whatever_happens_each_match_comes_once(steps: list[tuple[str, int, Any]], room: int) -> None:
    """Events heard and unheard, outages, a tail that begins anew: every reader gets its matches in order, none twice, none missing."""
    async with bench(tail_bytes=room * 1300) as made:
        readers = [made.reader("earliest", **wish) for wish in WISHES]
        found: list[list[object]] = [[] for _ in readers]
        for what, number, how in steps:
            if what == "append" and not made.source.away:
                await made.append(number, ticket=how)
            elif what == "unheard":
                await made.append_unheard(number, ticket=how)
            elif what == "away":
                made.source.away = bool(number)
                (made.hub.lost if number else made.hub.reached)()
            elif what == "restart" and not made.source.away:
                await made.contact()
            elif what == "step":
                try:
                    frame = await readers[number].step(how)
                except SourceUnavailable:
                    assert made.source.away
                    continue
                found[number] += told(frame) if frame else []
        made.source.come_back()
        made.hub.reached()
        await made.deliver()
        log = (await made.source.read(0, 10_000)).events
        for wish, reader, each in zip(WISHES, readers, found, strict=True):
            each += await drive(reader)
            tickets = wish.get("ticket", "ab")
            assert [number for number in each if isinstance(number, int)] == [
                event.sequence for event in log if event.keys.exact[0] in tickets
            ]
            assert [word for word in each if isinstance(word, str)] == ["push"]


async def test_latest_says_so_before_anything_else() -> None:
    """A reader that wants only news is live at once: `forum.live` comes before the first event."""
    async with bench(3) as made:
        reader = made.reader(LATEST)
        await reader.begin()
        await made.append(2)
        first = await reader.step(100)
        assert isinstance(first, LiveFrame)
        assert await drive(reader) == [4, 5]
