"""The log in memory: all or nothing, each id once, and pages that say where they stand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.cursor import Cursor
from asgi_forum.errors import ConfigurationError, EventIdConflict
from asgi_forum.models import Receipt
from asgi_forum.sources import EventSource, LiveSource, MemorySource, Page, SourceOptions, WritableSource
from tests.events import entries, entry, sequences

pytestmark = pytest.mark.anyio


async def filled(count: int, **settings: Any) -> tuple[MemorySource, list[Receipt]]:
    """A log that so many events were published to, in one batch, and their receipts."""
    source = MemorySource(**settings)
    return source, await source.publish(entries(count)) if count else []


async def whole(source: MemorySource) -> list[int]:
    """The sequences of all that a log retains."""
    return sequences(await source.read(0, 10_000))


# Publishing


async def test_events_are_numbered_without_gaps() -> None:
    """From 1 on, across batches, in their order; each receipt has its event's id and cursor."""
    source = MemorySource()
    batches = [entries(2), entries(1), entries(3)]
    receipts = [receipt for batch in batches for receipt in await source.publish(batch)]
    page = await source.read(0, 10)
    assert [receipt.sequence for receipt in receipts] == sequences(page) == [1, 2, 3, 4, 5, 6]
    assert [receipt.event_id for receipt in receipts] == [each.event_id for batch in batches for each in batch]
    assert [receipt.cursor for receipt in receipts] == [event.cursor for event in page.events]
    assert not any(receipt.duplicate for receipt in receipts)


async def test_a_known_id_is_not_appended_again() -> None:
    """Its receipt is the first one's, marked as a duplicate, in its place among new ones."""
    source = MemorySource()
    (first,) = await source.publish([entry(event_id="a")])
    receipts = await source.publish([entry(event_id="b"), entry(event_id="a"), entry(event_id="c")])
    assert [(each.event_id, each.sequence, each.duplicate) for each in receipts] == [
        ("b", 2, False),
        ("a", 1, True),
        ("c", 3, False),
    ]
    assert receipts[1].cursor == first.cursor
    assert await whole(source) == [1, 2, 3]


async def test_an_id_that_comes_twice_in_one_batch_is_a_duplicate() -> None:
    """The second is answered with the first one's place, which it got in the same batch."""
    source = MemorySource()
    receipts = await source.publish([entry(event_id="a"), entry(event_id="b"), entry(event_id="a")])
    assert [(each.sequence, each.duplicate) for each in receipts] == [(1, False), (2, False), (1, True)]
    assert receipts[2].cursor == receipts[0].cursor


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("known", ["stored", "in the batch", "trimmed"])
async def test_a_conflict_leaves_nothing_behind(position: int, known: str) -> None:
    """All or none: no event of the batch, no number used, no id remembered; the error names id, fields and index."""
    source = MemorySource(retain=1)
    before = 0
    batch = entries(2)
    batch.insert(position, entry(event_id="x", ticket="T-2"))
    if known == "in the batch":
        batch.insert(0, entry(event_id="x"))
    else:
        await source.publish([entry(event_id="x")])
        before = 1
    if known == "trimmed":
        await source.publish(entries(1))
        before = 2
    heard: list[Page] = []
    async with following(source, heard.append):
        heard.clear()
        with pytest.raises(EventIdConflict) as caught:
            await source.publish(batch)
        assert (caught.value.event_id, caught.value.fields) == ("x", ("ticket",))
        assert caught.value.index == batch.index(next(each for each in batch if each.given["ticket"] == "T-2"))
        assert heard == []
    assert (await source.read(0, 10)).end.sequence == before
    (receipt,) = await source.publish([batch[-1]] if batch[-1].event_id != "x" else [batch[-2]])
    assert (receipt.sequence, receipt.duplicate) == (before + 1, False)


async def test_two_that_conflict_are_a_whole_batch() -> None:
    """Nothing else has to be in it."""
    source = MemorySource()
    with pytest.raises(EventIdConflict) as caught:
        await source.publish([entry(event_id="x"), entry(event_id="x", ticket="T-2")])
    assert (caught.value.event_id, caught.value.fields, caught.value.index) == ("x", ("ticket",), 1)
    assert await whole(source) == []


@pytest.mark.parametrize(
    ("retain", "kept"), [(1, [6]), (3, [4, 5, 6]), (6, [1, 2, 3, 4, 5, 6]), (7, [1, 2, 3, 4, 5, 6])]
)
async def test_the_newest_are_retained(retain: int, kept: list[int]) -> None:
    """Just so many, also where one batch is more than that; the start lies just before the earliest."""
    source, _ = await filled(6, retain=retain)
    page = await source.read(0, 10)
    assert sequences(page) == kept
    assert page.start.sequence == kept[0] - 1


async def test_an_id_is_remembered_after_its_event_is_gone() -> None:
    """For the time that was set, by a clock that is moved by hand; until then the repeat has the first one's place."""
    now = 0.0
    source = MemorySource(retain=1, remember=10.0, clock=lambda: now)
    (first,) = await source.publish([entry(event_id="a", payload={"n": 1})])
    await source.publish(entries(1))
    now = 9.9
    (again,) = await source.publish([entry(event_id="a", payload={"n": 1})])
    assert again == Receipt("a", 1, first.cursor, duplicate=True)
    with pytest.raises(EventIdConflict):
        await source.publish([entry(event_id="a", payload={"n": 2})])
    now = 100.0
    await source.publish(entries(1))
    (new,) = await source.publish([entry(event_id="a", payload={"n": 2})])
    assert (new.sequence, new.duplicate) == (4, False)


@pytest.mark.parametrize("depth", [150, 200, 250, 500])
async def test_no_event_that_was_taken_spoils_the_log(depth: int) -> None:
    """However deep its payload: if it is taken, it is also let go when its time has come, and publishing goes on."""
    payload: dict[str, Any] = {}
    for _ in range(depth - 1):
        payload = {"a": payload}
    source = MemorySource(retain=1)
    try:
        batch = [entry(payload=payload)]
    except Exception:
        return
    await source.publish(batch)
    for number in (2, 3, 4):
        assert [receipt.sequence for receipt in await source.publish(entries(1))] == [number]


async def test_publishers_that_come_at_once_get_whole_blocks() -> None:
    """Batches are not mixed."""
    source = MemorySource()
    results: list[list[Receipt]] = []

    async def publish() -> None:
        results.append(await source.publish(entries(5)))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(publish)
    blocks = [[receipt.sequence for receipt in receipts] for receipts in results]
    assert sorted(blocks) == [list(range(first, first + 5)) for first in range(1, 51, 5)]


# Pages


@pytest.mark.parametrize(
    ("after", "limit", "found", "position", "anchor"),
    [
        (0, 10, [3, 4, 5, 6], 6, False),
        (1, 10, [3, 4, 5, 6], 6, False),
        (2, 10, [3, 4, 5, 6], 6, False),
        (2, 2, [3, 4], 4, False),
        (3, 10, [4, 5, 6], 6, True),
        (5, 10, [6], 6, True),
        (6, 10, [], 6, True),
        (7, 10, [], 6, False),
        (2**62, 10, [], 6, False),
        (4, 0, [], 4, True),
        (0, 0, [], 0, False),
        (2**62, 0, [], 6, False),
    ],
)
async def test_a_page_holds_what_follows_a_position(
    after: int, limit: int, found: list[int], position: int, anchor: bool
) -> None:
    """Oldest first, at most `limit`; it says up to where it looked, and whether the entry asked for is retained."""
    source, receipts = await filled(6, retain=4)
    page = await source.read(after, limit)
    assert sequences(page) == found
    assert page.position.sequence == position
    assert (page.start.sequence, page.end.sequence) == (2, 6)
    assert page.anchor == (receipts[after - 1].cursor if anchor else None)
    assert {page.start.epoch, page.end.epoch, page.position.epoch} == {page.epoch}
    assert str(page.end) == receipts[-1].cursor


@pytest.mark.parametrize(
    ("before", "limit", "found", "position"),
    [
        (6, 10, [3, 4, 5, 6], 2),
        (2**62, 10, [3, 4, 5, 6], 2),
        (6, 2, [5, 6], 4),
        (5, 2, [4, 5], 3),
        (3, 2, [3], 2),
        (3, 1, [3], 2),
        (2, 5, [], 2),
        (1, 5, [], 2),
        (6, 0, [], 6),
    ],
)
async def test_a_page_holds_what_leads_up_to_a_position(
    before: int, limit: int, found: list[int], position: int
) -> None:
    """The last ones, oldest first; its position is just before the earliest that it looked at."""
    source, _ = await filled(6, retain=4)
    page = await source.read_before(before, limit)
    assert sequences(page) == found
    assert page.position.sequence == position
    assert (page.start.sequence, page.end.sequence) == (2, 6)


@pytest.mark.parametrize("limit", [0, 1, 100])
async def test_an_empty_log_has_pages_too(limit: int) -> None:
    """Start, end and position are 0, in both directions."""
    source = MemorySource()
    for page in (await source.read(0, limit), await source.read(2**62, limit), await source.read_before(2**62, limit)):
        assert (page.start.sequence, page.end.sequence, page.position.sequence) == (0, 0, 0)
        assert (page.anchor, sequences(page)) == (None, [])


async def test_a_cursor_is_the_same_whenever_it_is_read() -> None:
    """In receipts, pages, anchors, ends and feeds."""
    source, receipts = await filled(3)
    page = await source.read(0, 3)
    assert [event.cursor for event in page.events] == [each.cursor for each in receipts]
    assert str(page.end) == (await source.read(3, 1)).anchor == receipts[2].cursor
    assert str((await source.read(0, 1)).position) == receipts[0].cursor


async def test_an_event_is_encoded_once() -> None:
    """Whoever reads it gets the same bytes."""
    source, _ = await filled(2)
    one, two = await source.read(0, 2), await source.read_before(2, 2)
    assert one.events[0].sse is two.events[0].sse


async def test_an_epoch_is_the_objects_own() -> None:
    """It stays when the source is closed and opened again, with its log; another object is another log."""
    source, _ = await filled(2)
    epoch = (await source.read(0, 1)).epoch
    await source.close()
    await source.close()
    await source.open()
    assert (await source.read(0, 1)).epoch == epoch
    assert await whole(source) == [1, 2]
    assert (await MemorySource().read(0, 1)).epoch != epoch


# The live feed


@asynccontextmanager
async def following(
    source: MemorySource, deliver: Callable[[Page], None], after: Cursor | None = None
) -> AsyncGenerator[None, None]:
    """Follow a log, from its end unless something else is said, until the block ends."""
    position = (await source.read(2**62, 0)).end if after is None else after
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.follow, position, deliver)
        await wait_all_tasks_blocked()
        yield
        tasks.cancel_scope.cancel()


async def test_followers_have_an_event_before_its_publisher_knows() -> None:
    """When `publish` returns the page was delivered, so who reads after it misses nothing."""
    source = MemorySource()
    heard: list[int] = []
    async with following(source, lambda page: heard.extend(sequences(page))):
        await source.publish(entries(2))
        assert heard == [1, 2]
        await source.publish(entries(1))
        assert heard == [1, 2, 3]


async def test_a_follower_gets_what_came_after_its_position_first() -> None:
    """Then what is published; every page continues the one before it, and says so by its anchor."""
    source, receipts = await filled(2500)
    pages: list[Page] = []
    async with following(source, pages.append, Cursor.parse(receipts[99].cursor)):
        assert sequences(*pages) == list(range(101, 2501))
        await source.publish(entries(2))
    assert sequences(*pages) == list(range(101, 2503))
    anchors = [receipts[99].cursor, *(str(page.position) for page in pages[:-1])]
    assert [page.anchor for page in pages] == anchors
    assert max(len(page.events) for page in pages) <= 1000


async def test_a_batch_of_duplicates_is_no_news() -> None:
    """Followers hear of new events only."""
    source = MemorySource()
    await source.publish([entry(event_id="a")])
    heard: list[Page] = []
    async with following(source, heard.append):
        heard.clear()
        await source.publish([entry(event_id="a")])
        assert heard == []
        await source.publish([entry(event_id="a"), entry(event_id="b")])
        assert sequences(*heard) == [2]


async def test_a_follower_that_was_cancelled_hears_nothing_more() -> None:
    """It leaves nothing behind in the source."""
    source = MemorySource()
    heard: list[Page] = []
    async with following(source, heard.append):
        pass
    heard.clear()
    await source.publish(entries(1))
    assert heard == []


async def test_followers_do_not_share_a_fate() -> None:
    """Several follow one log, each from its own position."""
    source, _ = await filled(2)
    one: list[Page] = []
    two: list[Page] = []
    async with following(source, one.append, (await source.read(0, 0)).position), following(source, two.append):
        await source.publish(entries(1))
    assert (sequences(*one), sequences(*two)) == ([1, 2, 3], [3])


async def test_a_feed_hands_out_the_same_events() -> None:
    """A page of the feed and a page that is read hold the same objects."""
    source = MemorySource()
    heard: list[Page] = []
    async with following(source, heard.append):
        await source.publish(entries(1))
    assert heard[-1].events[0] is (await source.read(0, 1)).events[0]


def test_a_log_outlives_its_loop() -> None:
    """It belongs to the object: a new event loop goes on with it, whatever was left open in the old one."""
    source = MemorySource()
    old = asyncio.new_event_loop()
    old.run_until_complete(source.publish([entry()]))
    old.close()
    assert [each.sequence for each in asyncio.run(source.publish([entry()]))] == [2]


# Settings


@pytest.mark.parametrize("retain", [0, -1])
def test_a_log_retains_one_event_at_least(retain: int) -> None:
    """Zero would be a log that forgets what it has just accepted."""
    with pytest.raises(ConfigurationError, match="retain: got"):
        MemorySource(retain=retain)


@pytest.mark.parametrize("url", ["memory://x", "memory:///", "memory://?retain=5", "memory://localhost:5", "memory:/"])
def test_the_url_says_nothing_more(url: str) -> None:
    """What stands behind `memory://` would be ignored, so it is a mistake."""
    with pytest.raises(ConfigurationError, match="expected 'memory://' and no more"):
        MemorySource.from_url(url, SourceOptions())


async def test_the_url_obeys_the_options() -> None:
    """`retain` is the forum's."""
    source = MemorySource.from_url("memory://", SourceOptions(retain=2))
    await source.publish(entries(5))
    assert await whole(source) == [4, 5]


def test_it_can_do_all_that_a_source_can() -> None:
    """It reads, takes events, and has a live feed."""
    source = MemorySource()
    assert isinstance(source, EventSource)
    assert isinstance(source, WritableSource)
    assert isinstance(source, LiveSource)
    assert source.kind == "memory"


# Retention by age


async def test_events_go_by_their_age() -> None:
    """Counted from when they were published, batch by batch; what is read shows it, and so does the start."""
    now = 0.0
    source = MemorySource(retain_for=10.0, clock=lambda: now)
    await source.publish(entries(2))
    now = 5.0
    await source.publish(entries(1))
    now = 9.9
    assert await whole(source) == [1, 2, 3]
    now = 10.0
    assert await whole(source) == [3]
    assert (await source.read(0, 10)).start.sequence == 2
    assert sequences(await source.read_before(10, 10)) == [3]
    now = 15.0
    page = await source.read(3, 10)
    assert (sequences(page), page.start.sequence, page.position) == ([], 3, page.end)
    assert [receipt.sequence for receipt in await source.publish(entries(1))] == [4]


async def test_a_follower_hears_what_has_grown_too_old() -> None:
    """Though nothing is published: where the log begins, and that nothing is new."""
    source, pages = MemorySource(retain_for=0.05), list[Page]()
    await source.publish(entries(3))
    end = (await source.read(0, 0)).end
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.follow, end, pages.append)
            while not pages or pages[-1].start.sequence < 3:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert [(page.events, page.position) for page in pages] == [([], end), ([], end)]


async def test_an_id_whose_event_is_too_old_is_remembered_all_the_same() -> None:
    """For as long as ids are."""
    now = 0.0
    source = MemorySource(retain_for=10.0, remember=100.0, clock=lambda: now)
    await source.publish([entry(event_id="a")])
    now = 50.0
    (again,) = await source.publish([entry(event_id="a")])
    assert (again.sequence, again.duplicate) == (1, True)


async def test_arrivals_are_noted_only_where_age_counts() -> None:
    """A log that lives for long keeps nothing of each batch but its events."""
    source = MemorySource(retain=1)
    for _ in range(5):
        await source.publish(entries(1))
    assert len(source._arrivals) == 0  # pyright: ignore[reportPrivateUsage]  # nobody else can tell


@pytest.mark.parametrize("retain_for", [0, -1.0, float("nan"), float("inf"), True, "10"])
def test_an_age_that_is_off_is_refused(retain_for: Any) -> None:
    """At once, by name."""
    with pytest.raises(ConfigurationError, match="retain_for: got"):
        MemorySource(retain_for=retain_for)
