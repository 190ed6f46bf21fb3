"""What opening and closing owe: they come again and again, and the log is still there."""

from __future__ import annotations

import gc
import warnings

import anyio
import pytest

from asgi_forum.sources.base import EventSource, LiveSource
from asgi_forum.testing.sources.case import SourceCase, entries, entry, fresh, writable
from asgi_forum.testing.sources.feed import following
from asgi_forum.testing.sources.looks import FAR, everything

__all__ = ["ReopenTests"]


class ReopenTests(SourceCase):
    """A source that is closed and opened again, in one event loop and in several."""

    async def test_closing_is_harmless(self) -> None:
        """When it was never opened, and when it is closed already."""
        source = self.make_source(fresh())
        with anyio.fail_after(3 * self.deadline):
            await source.close()
            await source.open()
            await source.close()
            await source.close()
            await source.open()
            assert (await source.read(0, 10)).end.sequence == 0
            await source.close()

    @pytest.mark.parametrize("again", ["the same source", "another source"])
    async def test_the_log_is_there_when_it_is_opened_again(self, again: str) -> None:
        """With its epoch, its events, their cursors, and the ids that it knows; numbers go on."""
        if again == "another source" and not self.shared:
            pytest.skip("the log belongs to the object (`shared`)")
        options = fresh()
        source = self.make_source(options)
        with anyio.fail_after(3 * self.deadline):
            await source.open()
            await self.append(source, [entry(event_id="a"), entry(event_id="b")])
            before, epoch = await everything(source), (await source.read(0, 0)).epoch
            await source.close()
            if again == "another source":
                source = self.make_source(options)
            await source.open()
            assert [event.json for event in await everything(source)] == [event.json for event in before]
            assert (await source.read(0, 0)).epoch == epoch
            receipts = await writable(source).publish([entry(event_id="a"), entry(event_id="c")])
            assert [(each.sequence, each.duplicate) for each in receipts] == [(1, True), (3, False)]
            assert receipts[0].cursor == before[0].cursor
            await source.close()

    async def test_closing_one_source_leaves_the_others_at_work(self) -> None:
        """Of one log: what they read, publish and follow goes on."""
        if not self.shared:
            pytest.skip("the log belongs to the object (`shared`)")
        options = fresh()
        async with self.opened(options) as stays:
            async with self.opened(options) as leaves:
                await self.append(leaves, entries(2))
            await self.append(stays, entries(2))
            assert [event.sequence for event in await everything(stays)] == [1, 2, 3, 4]

    @pytest.mark.parametrize("closed", [True, False], ids=["closed", "left open"])
    def test_event_loops_come_and_go(self, closed: bool) -> None:
        """The next one opens the source again, whether it was closed in the one before or that ended with it open."""
        source = self.make_source(fresh())

        async def visit(number: int) -> None:
            with anyio.fail_after(3 * self.deadline):
                await source.open()
                await self._use(source, number)
                if closed or number == 2:
                    await source.close()

        with warnings.catch_warnings():
            # What an event loop leaves open when it ends, Python complains of when it is collected.
            warnings.simplefilter("ignore", ResourceWarning)
            for number in range(3):
                anyio.run(visit, number)
            gc.collect()

    async def _use(self, source: EventSource, number: int) -> None:
        """Append, follow and read in one event loop; a log that was used in `number` loops before has two events of each."""
        await self.append(source, entries(1))
        if isinstance(source, LiveSource):
            async with following(source, (await source.read(FAR, 0)).end, self.deadline) as feed:
                await self.append(source, entries(1))
                await feed.reach(2 * number + 2)
        else:
            await self.append(source, entries(1))
        assert [event.sequence for event in await everything(source)] == list(range(1, 2 * number + 3))
