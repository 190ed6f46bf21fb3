"""What a log that was replaced owes: another epoch, told to readers and followers alike."""

from __future__ import annotations

import pytest

from asgi_forum.testing.sources.case import SourceCase, entries, entry, fresh, live, writable
from asgi_forum.testing.sources.feed import following
from asgi_forum.testing.sources.looks import FAR, check_after, everything

__all__ = ["ReplaceTests"]


class ReplaceTests(SourceCase):
    """Deleting the log behind the back of those who have it open. Skipped where the suite has no `wipe`."""

    async def test_a_log_that_was_deleted_begins_anew(self) -> None:
        """An open source finds an empty log of another epoch, where numbers begin at 1 and no id is known."""
        self.wipes()
        options = fresh()
        async with self.opened(options) as source:
            await self.append(source, [entry(event_id="a"), entry(event_id="b")])
            before = await source.read(0, 10)
            await self.wipe(options)
            page = await source.read(before.end.sequence, 10)
            check_after(page, before.end.sequence, 10)
            assert page.epoch != before.epoch
            assert (page.start.sequence, page.end.sequence) == (0, 0)
            receipts = await writable(source).publish([entry(event_id="b", ticket="T-2"), entry(event_id="c")])
            assert [(each.sequence, each.duplicate) for each in receipts] == [(1, False), (2, False)]
            assert not {event.cursor for event in before.events} & {event.cursor for event in await everything(source)}

    @pytest.mark.parametrize("count", [1, 2, 3])
    async def test_a_log_that_has_grown_again_is_noticed_too(self, count: int) -> None:
        """Whoever publishes first after it was deleted: shorter than before, as long, or longer, its epoch is another."""
        self.wipes()
        options = fresh()
        async with self.opened(options) as source:
            await self.append(source, entries(2))
            before = await source.read(0, 10)
            await self.wipe(options)
            await self.append(source, entries(count))
            page = await source.read(0, 10)
            check_after(page, 0, 10)
            assert page.epoch != before.epoch
            assert page.end.sequence == count

    @pytest.mark.parametrize("count", [0, 1, 3, 5])
    async def test_a_follower_is_told_that_its_log_was_replaced(self, count: int) -> None:
        """By a page of the new epoch, however far the new log has grown; then by what comes."""
        self.wipes()
        options = fresh()
        async with self.opened(options) as source:
            await self.append(source, entries(3))
            async with following(live(source), (await source.read(FAR, 0)).end, self.deadline) as feed:
                epoch = feed.position.epoch
                await self.wipe(options)
                if count:
                    await self.append(source, entries(count))
                await feed.until(lambda: feed.position.epoch != epoch, "a page of another epoch")
                await self.append(source, [entry(event_id="last")])
                await feed.reach(count + 1)
            assert feed.position == (await source.read(FAR, 0)).end
            assert feed.events[-1].envelope.event_id == "last"
