"""What the live feed owes: a first page at once, then every entry once, each page joined to the one before."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.lowlevel import checkpoint

from asgi_forum.cursor import Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.sources.base import EventSource, LiveSource, Page
from asgi_forum.testing.sources.case import SourceCase, entries, entry, fresh, live, writable
from asgi_forum.testing.sources.looks import FAR, check_after, continues, everything

__all__ = ["FeedTests", "Follower", "following"]


class Follower:
    """What was told of a feed. Its first page continues the position that was followed from, each other the one before."""

    def __init__(self, after: Cursor, patience: float) -> None:
        self.after = after
        self.pages: list[Page] = []
        self._patience = patience
        self._told = anyio.Event()

    @property
    def events(self) -> list[StoredEvent]:
        """All events, in the order in which they came."""
        return [event for page in self.pages for event in page.events]

    @property
    def position(self) -> Cursor:
        """Up to where the feed has told."""
        return self.pages[-1].position if self.pages else self.after

    def deliver(self, page: Page) -> None:
        """Take a page."""
        self.pages.append(page)
        self._told.set()

    async def reach(self, sequence: int) -> None:
        """Wait until the feed has told up to a sequence."""
        await self.until(lambda: self.position.sequence >= sequence, f"told up to {sequence}")

    async def until(self, found: Callable[[], bool], what: str) -> None:
        """Wait until something holds, looking again at every page."""
        with anyio.move_on_after(self._patience):
            while not found():
                self._told = anyio.Event()
                await self._told.wait()
        assert found(), f"the feed has told up to {self.position.sequence} in {self._patience} s, expected: {what}"

    def check(self) -> None:
        """Hold the pages against what they owe each other."""
        position = self.after
        for page in self.pages:
            assert continues(page, position), "a page of the feed continues the one before it"
            asked = position.sequence
            first = max(asked, page.start.sequence) + 1 if page.anchor is None else asked + 1
            numbers = [event.sequence for event in page.events]
            assert numbers == list(range(first, first + len(numbers))), "a feed leaves nothing out and repeats nothing"
            assert page.position.sequence == (numbers[-1] if numbers else asked), "its position is its last entry"
            assert page.position.sequence <= page.end.sequence, "the end is not before what was told"
            if page.events:
                assert page.events[-1].cursor == str(page.position)
            position = page.position


@asynccontextmanager
async def following(source: LiveSource, after: Cursor, patience: float) -> AsyncGenerator[Follower]:
    """Follow a log from a position until the block ends; it begins when the first page has come."""
    follower = Follower(after, patience)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.follow, after, follower.deliver)
        await follower.until(lambda: bool(follower.pages), "a first page at once")
        yield follower
        tasks.cancel_scope.cancel()


class FeedTests(SourceCase):
    """Following a log. Skipped for a source without a live feed."""

    async def test_the_first_page_comes_at_once(self) -> None:
        """Also where there is nothing new: an empty one, at the position followed from, says that the feed works."""
        async with self.opened() as source:
            for count in (0, 3):
                if count:
                    await self.append(source, entries(count))
                end = (await source.read(FAR, 0)).end
                async with following(live(source), end, self.deadline) as feed:
                    assert feed.position == end
                feed.check()
                assert feed.events == []

    async def test_what_lies_behind_the_position_comes_first(self) -> None:
        """Then what is published; every page continues the one before it."""
        async with self.opened() as source:
            for _ in range(3):
                await self.append(source, entries(500))
            for after in (0, 99, 1000, 1500):
                position = (await source.read(after, 0)).position
                end = (await source.read(FAR, 0)).end.sequence
                async with following(live(source), position, self.deadline) as feed:
                    await feed.reach(end)
                    await self.append(source, entries(2))
                    await feed.reach(end + 2)
                feed.check()
                assert [event.sequence for event in feed.events] == list(range(after + 1, end + 3))

    async def test_every_batch_comes_through(self) -> None:
        """In order, with the events that readers find, whichever source of the log it was published by."""
        async with self.sharing(2) as (one, two):
            async with following(live(one), (await one.read(FAR, 0)).end, self.deadline) as feed:
                for count, source in ((1, one), (5, two), (1, two), (300, one)):
                    published = await writable(source).publish(entries(count))
                    await feed.reach(published[-1].sequence)
            feed.check()
            assert [event.json for event in feed.events] == [event.json for event in await everything(two)]

    async def test_a_feed_joins_what_was_read(self) -> None:
        """While publishers are at work: read up to some page, follow from its position, and nothing is missing or twice."""
        async with self.sharing(4) as sources:
            reader = live(sources[3])
            writable(reader)

            async def publish(source: EventSource) -> None:
                for _ in range(20):
                    await writable(source).publish(entries(4))
                    await checkpoint()

            found: list[StoredEvent] = []
            position = (await reader.read(0, 0)).position
            async with anyio.create_task_group() as tasks:
                for source in sources[:3]:
                    tasks.start_soon(publish, source)
                for limit in (1, 7, 20, 3):
                    await checkpoint()
                    page = await reader.read(position.sequence, limit)
                    check_after(page, position.sequence, limit)
                    assert continues(page, position)
                    found.extend(page.events)
                    position = page.position
                async with following(reader, position, self.deadline) as feed:
                    await feed.reach(240)
                feed.check()
                found.extend(feed.events)
            assert [event.json for event in found] == [event.json for event in await everything(reader)]

    async def test_followers_do_not_share_a_fate(self) -> None:
        """Several follow one log at once, each from its own position; when some leave, the others go on, and those hear no more."""
        async with self.opened() as source:
            await self.append(source, entries(5))
            positions = [(await source.read(after, 0)).position for after in (0, 2, 5)]
            async with following(live(source), positions[0], self.deadline) as stays:
                async with following(live(source), positions[1], self.deadline) as leaves:
                    async with following(live(source), positions[2], self.deadline) as leaves_too:
                        await self.append(source, entries(2))
                        for feed in (stays, leaves, leaves_too):
                            await feed.reach(7)
                told = len(leaves.pages), len(leaves_too.pages)
                await self.append(source, entries(2))
                await stays.reach(9)
            assert (len(leaves.pages), len(leaves_too.pages)) == told
            for feed, after, last in ((stays, 0, 9), (leaves, 2, 7), (leaves_too, 5, 7)):
                feed.check()
                assert [event.sequence for event in feed.events] == list(range(after + 1, last + 1))

    async def test_a_duplicate_is_no_news(self) -> None:
        """What was there already is not told again, alone or among new events."""
        async with self.opened() as source:
            await writable(source).publish([entry(event_id="a"), entry(event_id="b")])
            async with following(live(source), (await source.read(FAR, 0)).end, self.deadline) as feed:
                await writable(source).publish([entry(event_id="a")])
                await writable(source).publish([entry(event_id="b"), entry(event_id="c"), entry(event_id="a")])
                await feed.reach(3)
                await writable(source).publish([entry(event_id="d")])
                await feed.reach(4)
            feed.check()
            assert [event.envelope.event_id for event in feed.events] == ["c", "d"]

    async def test_a_feed_from_before_the_start_shows_the_gap(self) -> None:
        """Its first page has what is retained, and does not claim to continue the position."""
        margin = self.margin()
        async with self.opened(fresh(5)) as source:
            await self.append(source, entries(1))
            position = (await source.read(FAR, 0)).end
            for _ in range(3):
                await self.append(source, entries(5 + margin))
            page = await source.read(FAR, 0)
            assert page.start.sequence > position.sequence
            async with following(live(source), position, self.deadline) as feed:
                await feed.reach(page.end.sequence)
            assert not continues(feed.pages[0], position)
            assert [event.sequence for event in feed.events] == list(
                range(page.start.sequence + 1, page.end.sequence + 1)
            )

    async def test_a_position_of_another_log_is_told_by_the_epoch(self) -> None:
        """The first page is of the log that there is, wherever the position lay in the other one."""
        async with self.opened(fresh()) as other, self.opened(fresh()) as source:
            await self.append(other, entries(5))
            await self.append(source, entries(2))
            epoch = (await source.read(0, 0)).epoch
            for after in (1, 2, 5):
                async with following(live(source), (await other.read(after, 0)).position, self.deadline) as feed:
                    assert feed.pages[0].epoch == epoch != feed.after.epoch
