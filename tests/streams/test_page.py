"""Pages: full or at the log's end, as far as they may look, and those that wait."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.cursor import LATEST, Start, parse_start
from asgi_forum.errors import CursorExpired, ShuttingDown, SourceUnavailable
from asgi_forum.filters import Filter
from asgi_forum.hub.lifecycle import Running
from asgi_forum.sources import MemorySource
from asgi_forum.streams.page import ForumPage, read_page
from asgi_forum.streams.request import Asked
from tests.events import draft, entries, sequences, stored
from tests.hub.bench import DEADLINE, at_work, until
from tests.wire.sources import DistantSource, HistorySource

pytestmark = pytest.mark.anyio


async def page(
    running: Running,
    start: str | Start = "earliest",
    *,
    limit: int = 100,
    wait: float = 0.0,
    place: Any = None,
    **wish: Any,
) -> ForumPage:
    """Read a page."""
    asked = Asked(Filter.of(**wish), parse_start(start) if isinstance(start, str) else start, limit)
    with anyio.fail_after(DEADLINE):
        return await read_page(running, asked, wait=wait, place=place)


async def log(count: int, *, retain: int = 100_000) -> MemorySource:
    """A log in which every tenth event is of the ticket `rare`."""
    source = MemorySource(retain=retain)
    for number in range(1, count + 1):
        await source.publish(entries(1, ticket="rare" if number % 10 == 0 else "T-1"))
    return source


def test_a_page_has_its_json() -> None:
    """Section 6's, with the events' own bytes in it."""
    events = [stored(1), stored(2)]
    made = ForumPage(events, 'e.2."', True)
    assert json.loads(made.json) == {
        "events": [json.loads(event.json) for event in events],
        "next_cursor": 'e.2."',
        "has_more": True,
    }
    assert json.loads(ForumPage([], "c", False).json) == {"events": [], "next_cursor": "c", "has_more": False}


@pytest.mark.parametrize(
    ("start", "limit", "wish", "events", "position", "has_more"),
    [
        ("earliest", 100, {}, list(range(1, 31)), 30, False),
        ("earliest", 30, {}, list(range(1, 31)), 30, False),
        ("earliest", 29, {}, list(range(1, 30)), 29, True),
        ("28", 100, {}, [29, 30], 30, False),
        ("30", 100, {}, [], 30, False),
        ("latest", 100, {}, [], 30, False),
        (Start(tail=3), 100, {}, [28, 29, 30], 30, False),
        ("earliest", 100, {"ticket": "rare"}, [10, 20, 30], 30, False),
        ("earliest", 2, {"ticket": "rare"}, [10, 20], 20, True),
        ("earliest", 100, {"ticket": "none"}, [], 30, False),
        ("20", 1, {"ticket": "rare"}, [30], 30, False),
    ],
)
async def test_a_page_is_full_or_reaches_the_end(
    start: str | Start, limit: int, wish: dict[str, Any], events: list[int], position: int, has_more: bool
) -> None:
    """Its cursor moves past what the filter left out; `has_more` is whether that lies before the log's end."""
    async with at_work(await log(30)) as running:
        found = await page(running, start, limit=limit, **wish)
        assert sequences(found) == events
        assert found.has_more is has_more
        cursor = parse_start(found.next_cursor).cursor
        assert cursor is not None
        assert cursor.sequence == position


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
@pytest.mark.parametrize("scan", [1, 5, 13, 1000])
@pytest.mark.parametrize("wish", [{}, {"ticket": "rare"}, {"ticket": "none"}])
async def test_pages_in_a_row_are_the_whole_log(limit: int, scan: int, wish: dict[str, Any]) -> None:
    """Each match once, in order, whatever bounds a page; while there is more it says so, and it always gets on."""
    async with at_work(await log(40), page_scan=scan) as running:
        cursor, found = "earliest", list[int]()
        for _ in range(200):
            before = cursor
            made = await page(running, cursor, limit=limit, **wish)
            found += sequences(made)
            cursor = made.next_cursor
            assert cursor != before
            if not made.has_more:
                break
        assert found == [
            number for number in range(1, 41) if not wish or (number % 10 == 0 and wish["ticket"] == "rare")
        ]


@pytest.mark.parametrize("limit", [1, 5, 100])
@pytest.mark.parametrize("scan", [1, 13, 39, 40])
async def test_a_page_looks_at_so_many_entries_and_no_more(limit: int, scan: int) -> None:
    """Where nothing matches its cursor says how far it has looked; a request costs no more than that."""
    async with at_work(await log(40), page_scan=scan) as running:
        found = await page(running, limit=limit, ticket="none")
        cursor = parse_start(found.next_cursor).cursor
        assert cursor is not None
        assert (cursor.sequence, found.has_more) == (scan, scan < 40)


async def test_a_page_of_a_log_without_a_feed_says_that_there_is_more() -> None:
    """Nobody but its own read tells where such a log ends."""
    source = HistorySource()
    await source.append(*[draft()] * 5)
    async with at_work(source) as running:
        made = await page(running, limit=3)
        assert (sequences(made), made.has_more) == ([1, 2, 3], True)
        made = await page(running, made.next_cursor, limit=3)
        assert (sequences(made), made.has_more) == ([4, 5], False)


async def test_a_page_that_others_have_just_read_is_the_same() -> None:
    """All of it: its events, where to go on, and that there is more, where only the source can say so."""
    source = HistorySource()
    await source.append(*[draft(ticket=ticket) for ticket in ["a", "x", "x", "x", *["a"] * 20]])
    asked = Asked(Filter.of(ticket="a"), Start(sequence=0), 4)  # the first step finds one of them, the second one three
    async with at_work(source) as running:
        pages = [await read_page(running, asked) for _ in range(3)]
    assert [(sequences(page.events), page.has_more) for page in pages] == 3 * [([1, 5, 6, 7], True)]


async def test_a_page_holds_no_more_bytes_than_it_may() -> None:
    """But one event at least."""
    async with at_work(await log(5), page_bytes=1) as running:
        assert sequences(await page(running)) == [1]
    source = await log(5)
    size = len((await source.read(0, 1)).events[0].json)
    async with at_work(source, page_bytes=3 * size) as running:
        assert sequences(await page(running)) == [1, 2, 3]


@pytest.mark.parametrize(("start", "reason"), [("2", "trimmed"), ("99", "ahead"), ("other.2.x", "replaced")])
async def test_a_page_that_can_not_go_on_says_from_where_it_could(start: str, reason: str) -> None:
    """Where a stream would say `forum.reset`."""
    async with at_work(await log(20, retain=10)) as running:
        with pytest.raises(CursorExpired) as caught:
            await page(running, start)
        assert caught.value.reason == reason
        assert sequences(await page(running, caught.value.earliest_cursor)) == list(range(11, 21))


async def test_a_page_reads_what_the_feed_has_not_brought() -> None:
    """It is the log that is asked, not this process's view of it."""
    source = DistantSource()
    async with at_work(source) as running:
        await wait_all_tasks_blocked()
        source.hold_back()
        await source.append(draft(), draft())
        await wait_all_tasks_blocked()
        assert running.hub.tail.end is not None
        assert running.hub.tail.end.sequence == 0
        found = await page(running)
        assert (sequences(found), found.has_more) == ([1, 2], False)


async def test_a_page_does_not_wait_for_a_source_that_is_away() -> None:
    """Once this is known nobody waits for it; with `wait` neither."""
    source = DistantSource()
    async with at_work(source) as running:
        await wait_all_tasks_blocked()
        source.leave()
        await until(lambda: running.hub.degraded)
        for wait in (0.0, 30.0):
            with pytest.raises(SourceUnavailable):
                await page(running, "latest", wait=wait)


# Waiting


async def test_a_page_waits_for_the_first_match() -> None:
    """Not for any other event, and not for a second one."""
    source = MemorySource()
    async with at_work(source) as running, anyio.create_task_group() as tasks:
        found: list[ForumPage] = []

        async def read() -> None:
            found.append(await page(running, "latest", wait=60.0, ticket="mine"))

        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        await source.publish(entries(3, ticket="other"))
        await wait_all_tasks_blocked()
        assert found == []
        await source.publish(entries(2, ticket="mine"))
        await until(lambda: found)
        assert sequences(*found) == [4, 5]
        assert len(running.hub.channels) == 0


async def test_a_page_does_not_wait_where_there_is_something() -> None:
    """Stored history is an answer."""
    async with at_work(await log(3)) as running:
        assert sequences(await page(running, "1", wait=60.0)) == [2, 3]


@pytest.mark.parametrize("wish", [{}, {"ticket": "none"}])
async def test_a_wait_is_over_when_its_time_is(wish: dict[str, Any]) -> None:
    """An empty page, at the log's end, not before."""
    async with at_work(await log(3)) as running:
        before = anyio.current_time()
        found = await page(running, "latest", wait=0.05, **wish)
        assert anyio.current_time() - before >= 0.05
        assert (sequences(found), found.has_more) == ([], False)


async def test_a_wait_moves_past_what_did_not_match() -> None:
    """Who asks again does not look at the same entries twice."""
    source = MemorySource()
    async with at_work(source) as running, anyio.create_task_group() as tasks:
        found: list[ForumPage] = []

        async def read() -> None:
            found.append(await page(running, "latest", wait=0.5, ticket="none"))

        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        receipts = await source.publish(entries(3))
        await until(lambda: found)
        assert found[0].next_cursor == receipts[-1].cursor


async def test_a_wait_ends_with_what_it_has_when_the_forum_stops() -> None:
    """An empty page is an answer; the client comes back."""
    async with at_work(await log(3)) as running:
        found: list[ForumPage] = []

        async def read() -> None:
            with running.streams.admitted("page") as place:
                found.append(await page(running, "latest", wait=60.0, place=place))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await wait_all_tasks_blocked()
            running.streams.end_all(ShuttingDown())
        assert sequences(*found) == []
        assert len(found) == 1


async def test_a_wait_hears_that_the_log_was_replaced() -> None:
    """The feed brings another log: the page would wait for one that is gone."""
    source = DistantSource()
    await source.append(draft())
    async with at_work(source) as running, anyio.create_task_group() as tasks:
        told: list[CursorExpired] = []

        async def read() -> None:
            try:
                await page(running, LATEST, wait=60.0)
            except CursorExpired as error:
                told.append(error)

        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        source.log = MemorySource()
        await source.append(draft())
        running.hub.accept(await source.read(0, 10))
        await until(lambda: told)
        assert told[0].reason == "replaced"


async def test_a_source_without_a_feed_has_waits_that_end() -> None:
    """Nothing can wake it, so its time has to."""
    source = HistorySource()
    await source.append(draft())
    async with at_work(source) as running:
        assert sequences(await page(running, wait=60.0)) == [1]
        assert sequences(await page(running, "latest", wait=0.05)) == []
