"""What trimming owes: enough is kept, the gap shows, and nothing else changes."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from asgi_forum.cursor import Cursor
from asgi_forum.errors import EventIdConflict
from asgi_forum.sources.base import EventSource, WritableSource
from asgi_forum.testing.sources.case import SourceCase, entries, entry, fresh, writable
from asgi_forum.testing.sources.looks import FAR, check_after, check_before, continues, everything, sequences

__all__ = ["TrimTests"]

RETAIN = 7


async def _publish(source: WritableSource, count: int) -> None:
    """Publish so many events, in batches that are not too large for anybody."""
    for first in range(0, count, 500):
        await source.publish(entries(min(500, count - first)))


class TrimTests(SourceCase):
    """Retention by number. Skipped for a source that never trims."""

    @pytest.mark.parametrize("batch", [1, 3, 500])
    async def test_the_newest_are_retained(self, batch: int) -> None:
        """At least `retain`, not many more, and just the newest; the start lies just before the earliest of them."""
        margin = self.margin()
        async with self.opened(fresh(RETAIN)) as source:
            published = 0
            # One by one is slow where the margin is large: the numbers that matter come last.
            await _publish(writable(source), margin)
            published += margin
            while published < margin + 3 * RETAIN:
                await writable(source).publish(entries(batch))
                published += batch
                page = await source.read(0, 1)
                check_after(page, 0, 1)
                kept = page.end.sequence - page.start.sequence
                assert page.end.sequence == published
                assert min(RETAIN, published) <= kept <= RETAIN + margin
                found = await everything(source)
                assert [each.sequence for each in found] == list(range(published - kept + 1, published + 1))

    async def test_numbers_and_cursors_outlast_the_trimming(self) -> None:
        """What is still there has the sequence, the cursor and the bytes that it had."""
        margin = self.margin()
        async with self.opened(fresh(RETAIN)) as source:
            await _publish(writable(source), RETAIN)
            before = {each.sequence: each.json for each in await everything(source)}
            while (page := await source.read(0, 1000)).start.sequence < RETAIN - 2:
                assert page.end.sequence <= 2 * (RETAIN + margin)
                before |= {each.sequence: each.json for each in await everything(source)}
                await writable(source).publish(entries(1))
            before |= {each.sequence: each.json for each in await everything(source)}
            after = await everything(source)
            assert after
            assert [each.json for each in after] == [before[each.sequence] for each in after]

    @pytest.mark.parametrize("limit", [0, 1, 3, 1000])
    async def test_a_page_before_the_start_shows_the_gap(self, limit: int) -> None:
        """It has what is retained, its start lies behind the position asked for, and there is no anchor."""
        margin = self.margin()
        async with self.opened(fresh(RETAIN)) as source:
            await _publish(writable(source), 2 * (RETAIN + margin))
            start = (await source.read(FAR, 0)).start.sequence
            assert start > 0
            for at in sorted({0, 1, start - 1, start, start + 1, start + 2}):
                page = await source.read(at, limit)
                check_after(page, at, limit)
                assert page.start.sequence == start
                check_before(await source.read_before(at, limit), at, limit)
            check_before(await source.read_before(FAR, limit), FAR, limit)

    async def test_trimming_between_two_pages_shows(self) -> None:
        """A reader that goes on from a position behind which entries are gone finds that no page continues it."""
        margin = self.margin()
        async with self.opened(fresh(RETAIN)) as source:
            await _publish(writable(source), RETAIN)
            position = (await source.read(0, 3)).position
            assert continues(await source.read(position.sequence, 3), position)
            await _publish(writable(source), 2 * (RETAIN + margin))
            page = await source.read(position.sequence, 3)
            check_after(page, position.sequence, 3)
            assert not continues(page, position)
            assert sequences(page)[0] == page.start.sequence + 1

    async def test_trimming_in_the_middle_of_a_page_leaves_no_silent_hole(self) -> None:
        """While others publish and the log is trimmed, a reader's page continues the one before, or its start tells of the gap."""
        margin = self.margin()
        async with self.opened(fresh(RETAIN)) as source:
            writable(source)
            rounds = 10 + 2 * margin // 20
            at_work = True

            async def publish() -> None:
                nonlocal at_work
                for _ in range(rounds):
                    await writable(source).publish(entries(20))
                    await checkpoint()
                at_work = False

            async def look(reader: EventSource, limit: int) -> None:
                position = (await reader.read(0, 0)).position
                while at_work or position.sequence < rounds * 20:
                    page = await reader.read(position.sequence, limit)
                    check_after(page, position.sequence, limit)
                    assert continues(page, position) or page.start.sequence > position.sequence
                    position = page.position
                    await checkpoint()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(publish)
                for limit in (1, 5, 1000):
                    tasks.start_soon(look, source, limit)

    async def test_an_id_is_known_after_its_event_is_gone(self) -> None:
        """A repeat is a duplicate of the first one's place; one with other content is a conflict, and appends nothing."""
        margin = self.margin()
        async with self.opened(fresh(RETAIN)) as source:
            (first,) = await writable(source).publish([entry(event_id="x", payload={"n": 1})])
            await _publish(writable(source), 2 * (RETAIN + margin))
            page = await source.read(FAR, 0)
            assert page.start.sequence >= first.sequence
            (again,) = await writable(source).publish([entry(event_id="x", payload={"n": 1})])
            assert (again.event_id, again.sequence, again.duplicate) == ("x", first.sequence, True)
            # The source need not know the entry any more: then the cursor says the place only.
            there = Cursor.parse(again.cursor)
            assert there in (Cursor.parse(first.cursor), Cursor(page.epoch, first.sequence))
            with pytest.raises(EventIdConflict) as caught:
                await writable(source).publish([entry(), entry(event_id="x", ticket="T-2", payload={"n": 2})])
            assert (caught.value.fields, caught.value.index) == (("payload", "ticket"), 1)
            assert (await source.read(FAR, 0)).end == page.end
