"""What a cursor owes: it is the same wherever it is seen, and names its log."""

from __future__ import annotations

import re

from asgi_forum.cursor import Cursor
from asgi_forum.testing.sources.case import SourceCase, entries, entry, fresh, live, writable
from asgi_forum.testing.sources.feed import following
from asgi_forum.testing.sources.looks import FAR, everything

__all__ = ["CursorTests"]


class CursorTests(SourceCase):
    """Cursors, within one log and across logs."""

    async def test_a_cursor_is_the_same_wherever_it_is_seen(self) -> None:
        """In pages of every kind, as their anchor, position and end, for every source of the log."""
        async with self.sharing(3) as sources:
            await self.append(sources[0], entries(4))
            cursors = [event.cursor for event in await everything(sources[0])]
            assert len(set(cursors)) == 4
            for source in sources:
                assert [event.cursor for event in (await source.read_before(FAR, 4)).events] == cursors
                for sequence, cursor in enumerate(cursors, 1):
                    assert [event.cursor for event in (await source.read(sequence - 1, 1)).events] == [cursor]
                    assert str((await source.read(sequence - 1, 1)).position) == cursor
                    assert (await source.read(sequence, 1)).anchor == cursor
                    assert str((await source.read(sequence, 0)).position) == cursor
                    assert str((await source.read_before(4, 4 - sequence)).position) == cursor
                assert str((await source.read(FAR, 0)).end) == cursors[-1]

    async def test_a_cursor_does_not_change_when_the_log_grows(self) -> None:
        """What was the end has the cursor that it had, and so has every event."""
        async with self.opened() as source:
            before: list[str] = []
            for _ in range(5):
                await self.append(source, entries(2))
                cursors = [event.cursor for event in await everything(source)]
                assert cursors[: len(before)] == before
                assert str((await source.read(FAR, 0)).end) == cursors[-1]
                before = cursors

    async def test_a_cursor_is_opaque_and_short(self) -> None:
        """Printable ASCII without blanks, 128 characters at most, that reads as a position of its log."""
        async with self.opened() as source:
            await self.append(source, entries(2))
            page = await source.read(0, 10)
            for cursor in [event.cursor for event in page.events] + [
                str(page.start),
                str(page.end),
                str(page.position),
            ]:
                assert re.fullmatch(r"[!-~]{1,128}", cursor)
                assert Cursor.parse(cursor).epoch == page.epoch

    async def test_a_feed_has_the_same_cursors(self) -> None:
        """And the same bytes: an event that was pushed is the event that is read."""
        async with self.opened() as source:
            receipts = await writable(source).publish(entries(2))
            async with following(live(source), (await source.read(0, 0)).position, self.deadline) as feed:
                receipts += await writable(source).publish(entries(2))
                await feed.reach(4)
            assert [event.json for event in feed.events] == [event.json for event in await everything(source)]
            assert [event.cursor for event in feed.events] == [receipt.cursor for receipt in receipts]

    async def test_every_log_has_an_epoch_of_its_own(self) -> None:
        """Two logs with the same events share no cursor, so that of one is never taken for the other's."""
        async with self.opened(fresh()) as one, self.opened(fresh()) as two:
            assert (await one.read(0, 0)).epoch != (await two.read(0, 0)).epoch
            same = [entry(event_id=f"e{number}", occurred_at="2020-01-01T00:00:00Z") for number in range(3)]
            await self.append(one, same)
            await self.append(two, same)
            first, second = await everything(one), await everything(two)
            assert not {event.cursor for event in first} & {event.cursor for event in second}
            assert (await one.read(0, 0)).epoch != (await two.read(0, 0)).epoch

    async def test_an_epoch_lasts_as_long_as_its_log(self) -> None:
        """Publishing doesn't change it, and all sources of the log name the same."""
        async with self.sharing(3) as sources:
            epochs = {(await source.read(0, 0)).epoch for source in sources}
            for source in sources:
                await self.append(source, entries(1))
                epochs |= {(await each.read(0, 0)).epoch for each in sources}
            assert len(epochs) == 1
