"""Sources that are wrong in one thing each: in what they keep, in how they name it, and in what they push."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import anyio

from asgi_forum.cursor import Cursor, CursorKey
from asgi_forum.entries import Entry
from asgi_forum.models import Receipt
from asgi_forum.sources import MemorySource, Page, SourceOptions
from tests.testing.sound import Shelf, renamed
from tests.testing.wrong_pages import Broken

EVERY_BATCH = "test_every_batch_comes_through"


# Trimming


class TrimsTooMuch(Broken):
    """Less is kept than was asked for."""

    caught_by = ("test_the_newest_are_retained[1]", "test_the_newest_are_retained[500]")

    def make_log(self) -> MemorySource:
        """Keep one less."""
        return MemorySource(retain=self.options.retain - 1)


class NeverTrims(Broken):
    """All is kept, without a word of it."""

    caught_by = ("test_the_newest_are_retained[1]",)

    def make_log(self) -> MemorySource:
        """Keep all."""
        return MemorySource()


class HidesTheGap(Broken):
    """The start stays at the beginning."""

    caught_by = ("test_a_page_before_the_start_shows_the_gap[3]", "test_trimming_between_two_pages_shows")

    async def read(self, after: int, limit: int) -> Page:
        """Say that all is there."""
        page = await super().read(after, limit)
        return replace(page, start=Cursor(page.epoch, 0))


# Cursors, and the log's life


class SignsByItself(Broken):
    """Each source of a log makes cursors with a secret of its own."""

    caught_by = ("test_a_cursor_is_the_same_wherever_it_is_seen",)

    async def read(self, after: int, limit: int) -> Page:
        """Make the end's cursor."""
        page = await super().read(after, limit)
        key = CursorKey(page.epoch, str(id(self)).encode())
        end = key.cursor(page.end.sequence, b"")
        return replace(page, end=end, position=end if page.position == page.end else page.position)


class HasNoEpoch(Broken):
    """All logs have one name."""

    caught_by = (
        "test_every_log_has_an_epoch_of_its_own",
        "test_a_log_that_was_deleted_begins_anew",
        "test_a_log_that_has_grown_again_is_noticed_too[2]",
        "test_a_follower_is_told_that_its_log_was_replaced[5]",
    )

    async def read(self, after: int, limit: int) -> Page:
        """Name it."""
        return renamed(await super().read(after, limit), "forum")


class DrawsAnEpochAtOpening(Broken):
    """The epoch is the object's, not the log's."""

    caught_by = (
        "test_the_log_is_there_when_it_is_opened_again[another source]",
        "test_an_epoch_lasts_as_long_as_its_log",
    )

    async def read(self, after: int, limit: int) -> Page:
        """Name the log after the object."""
        return renamed(await super().read(after, limit), f"x{id(self)}")


class LosesItsLog(Broken):
    """Closed is gone."""

    caught_by = (
        "test_the_log_is_there_when_it_is_opened_again[the same source]",
        "test_event_loops_come_and_go[closed]",
    )

    async def close(self) -> None:
        """Drop it."""
        self.shelf.logs.pop(self.options.name, None)


class ClosesOnce(Broken):
    """What is closed can't be closed."""

    caught_by = ("test_closing_is_harmless",)

    async def close(self) -> None:
        """Let go of the options."""
        del self.options


class StaysInItsLoop(Broken):
    """What it made in the first event loop, it uses in the next."""

    caught_by = ("test_event_loops_come_and_go[left open]",)

    _lock: anyio.Event | None = None

    async def read(self, after: int, limit: int) -> Page:
        """Wait for something that was made in the loop before."""
        if self._lock is None:
            self._lock = anyio.Event()
            with anyio.move_on_after(0):
                await self._lock.wait()
        with anyio.move_on_after(0):
            await self._lock.wait()
        return await super().read(after, limit)


# The feed


class FollowsFromTheEnd(Broken):
    """What came between the read and the feed is lost."""

    caught_by = ("test_what_lies_behind_the_position_comes_first", "test_a_feed_joins_what_was_read")

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """Begin where the log ends."""
        await super().follow((await self.read(after.sequence + 2**40, 0)).end, deliver)


class SkipsAPage(Broken):
    """One of the feed's pages is lost."""

    caught_by = (EVERY_BATCH, "test_a_feed_joins_what_was_read")

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """Drop the second."""
        count = 0

        def some(page: Page) -> None:
            nonlocal count
            count += 1
            if count != 2:
                deliver(page)

        await super().follow(after, some)


class TellsTwice(Broken):
    """Each of the feed's pages comes again."""

    caught_by = (EVERY_BATCH, "test_a_feed_has_the_same_cursors")

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """Deliver, and deliver."""

        def twice(page: Page) -> None:
            deliver(page)
            deliver(page)

        await super().follow(after, twice)


class IsSilentAtFirst(Broken):
    """Where there is nothing new, nothing is told."""

    caught_by = ("test_the_first_page_comes_at_once",)

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """Keep empty pages back."""
        await super().follow(after, lambda page: deliver(page) if page.events else None)


class JoinsWrongly(Broken):
    """The anchor of a page of the feed is that of its own position."""

    caught_by = (EVERY_BATCH, "test_what_lies_behind_the_position_comes_first")

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """Name the end of the page."""
        await super().follow(after, lambda page: deliver(replace(page, anchor=str(page.position))))


class StaysWithTheOldLog(Broken):
    """The feed goes on with a log that is gone."""

    caught_by = ("test_a_follower_is_told_that_its_log_was_replaced[0]",)

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """Hold on to it."""
        await self.log.follow(after, deliver)


class HearsItselfOnly(Broken):
    """What another source of the log publishes is not told."""

    caught_by = (EVERY_BATCH, "test_a_feed_joins_what_was_read")

    def __init__(self, shelf: Shelf, options: SourceOptions) -> None:
        super().__init__(shelf, options)
        self.shelf = Shelf()
        self.shelf.logs = shelf.logs


class GoesOnTelling(Broken):
    """A follower that has left is told all the same."""

    caught_by = ("test_followers_do_not_share_a_fate",)

    _left: ClassVar[list[Callable[[Page], None]]] = []

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """Tell whoever was there once."""
        self._left.append(deliver)
        await super().follow(after, deliver)

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Tell them."""
        receipts = await super().publish(entries)
        for deliver in self._left:
            deliver(await self.read(receipts[0].sequence - 1, len(receipts)))
        return receipts
