"""What a page owes: order, both ends, where it has looked, and that it is one look."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from asgi_forum.sources.base import EventSource, NearSource, ReportingSource
from asgi_forum.testing.sources.case import SourceCase, entries, entry, writable
from asgi_forum.testing.sources.looks import FAR, check_after, check_before, continues, everything, ids, sequences

__all__ = ["PageTests"]

POSITIONS = [0, 1, 2, 3, 4, 5, 6, 7, 2**31, 2**53, FAR]
LIMITS = [0, 1, 2, 5, 6, 7, 1000]


class PageTests(SourceCase):
    """Reading, forwards and backwards."""

    async def test_a_source_says_what_it_is(self) -> None:
        """Its kind is a word, and what it reports are JSON values without `kind` and `available`, which health adds."""
        async with self.opened() as source:
            assert isinstance(source, EventSource)
            assert source.kind.split() == [source.kind]
            if isinstance(source, ReportingSource):
                assert not {"kind", "available"} & set(source.report())

    @pytest.mark.parametrize("limit", LIMITS)
    async def test_an_empty_log_has_pages_too(self, limit: int) -> None:
        """Start, end and position are 0, wherever it is read."""
        async with self.opened() as source:
            for at in POSITIONS:
                for page in (await source.read(at, limit), await source.read_before(at, limit)):
                    assert (page.start.sequence, page.end.sequence, page.position.sequence) == (0, 0, 0)
                    assert (page.anchor, sequences(page)) == (None, [])
                    assert page.start.epoch == page.end.epoch == page.position.epoch

    async def test_events_are_numbered_from_1_without_gaps(self) -> None:
        """In their order, within a batch and across batches."""
        async with self.opened() as source:
            batches = [entries(2), entries(1), entries(5)]
            for batch in batches:
                await self.append(source, batch)
            found = await everything(source)
            assert [event.sequence for event in found] == [1, 2, 3, 4, 5, 6, 7, 8]
            assert [event.envelope.event_id for event in found] == [
                each.event_id for batch in batches for each in batch
            ]

    async def test_an_event_is_read_as_it_was_published(self) -> None:
        """Every field of the envelope, and the payload with its text, numbers and depth."""
        fields = ("thread_id", "run_id", "agent_name", "actor_name", "correlation_id", "causation_id", "event_id")
        given: dict[str, Any] = {
            **{name: f"{name} ü 😀" for name in fields},
            "actor_type": "agent",
            "event_version": 7,
            "occurred_at": "2026-02-10T12:56:00.123456Z",
        }
        payload: dict[str, Any] = {
            "text": 'ü 😀 " \\ \n \u2028',
            "numbers": [0, -1, 2**53, 0.5, 1e300],
            "deep": [[{"a": [None, True, {}]}]],
        }
        async with self.opened() as source:
            full, plain = entry(**given, payload=payload), entry()
            await self.append(source, [full, plain])
            for event, published in zip(await everything(source), (full, plain), strict=True):
                assert event.json.endswith(b",%b}" % published.body)
            first, second = await everything(source)
            assert {name: getattr(first.envelope, name) for name in fields} == {name: given[name] for name in fields}
            assert first.envelope.occurred_at.microsecond == 123456
            assert (first.payload, second.payload) == (payload, {})

    @pytest.mark.parametrize("limit", LIMITS)
    async def test_a_page_holds_what_follows_a_position(self, limit: int) -> None:
        """Oldest first, at most `limit`, from every position; it says up to where it has looked."""
        async with self.opened() as source:
            published = entries(6)
            await self.append(source, published)
            for after in POSITIONS:
                page = await source.read(after, limit)
                check_after(page, after, limit)
                if isinstance(source, NearSource):
                    assert source.read_nowait(after, limit) == page, "`read_nowait` returns what `read` does"
                assert (page.start.sequence, page.end.sequence) == (0, 6)
                assert ids(page) == [each.event_id for each in published[after:][: len(page.events)]]

    @pytest.mark.parametrize("limit", LIMITS)
    async def test_a_page_holds_what_leads_up_to_a_position(self, limit: int) -> None:
        """The last ones up to and including every position, oldest first."""
        async with self.opened() as source:
            published = entries(6)
            await self.append(source, published)
            for before in POSITIONS:
                page = await source.read_before(before, limit)
                check_before(page, before, limit)
                assert (page.start.sequence, page.end.sequence) == (0, 6)
                last = min(before, 6)
                assert ids(page) == [each.event_id for each in published[last - len(page.events) : last]]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    async def test_page_after_page_holds_every_event_once(self, limit: int) -> None:
        """Forwards and backwards; forwards each page continues the one before it, by its anchor."""
        async with self.opened() as source:
            await self.append(source, entries(20))
            position = (await source.read(0, 0)).position
            found: list[int] = []
            while position.sequence < 20:
                page = await source.read(position.sequence, limit)
                assert continues(page, position)
                position = page.position
                found += sequences(page)
            assert found == list(range(1, 21))
            before = FAR
            found = []
            while before:
                page = await source.read_before(before, limit)
                check_before(page, before, limit)
                found = sequences(page) + found
                before = page.position.sequence
            assert found == list(range(1, 21))

    async def test_large_events_are_read_too(self) -> None:
        """A page may hold fewer than `limit` where they are large, but it holds one, and the next goes on behind it."""
        async with self.opened() as source:
            for _ in range(6):
                await self.append(source, [entry(payload={"text": "x" * 900_000})])
            assert [event.sequence for event in await everything(source, 100)] == [1, 2, 3, 4, 5, 6]
            before = FAR
            while before:
                page = await source.read_before(before, 100)
                check_before(page, before, 100)
                before = page.position.sequence

    async def test_a_page_is_one_look_while_others_publish(self) -> None:
        """Its ends, its position and its events belong together, whatever is appended meanwhile; the end never goes back."""
        async with self.sharing(4) as (one, two, *readers):
            at_work = 2

            async def publish(source: EventSource) -> None:
                nonlocal at_work
                for _ in range(15):
                    await writable(source).publish(entries(3))
                    await checkpoint()
                at_work -= 1

            async def look(source: EventSource, limit: int) -> None:
                end = position = 0
                while at_work:
                    page = await source.read(position, limit)
                    check_after(page, position, limit)
                    back = await source.read_before(FAR, limit)
                    check_before(back, FAR, limit)
                    assert end <= page.end.sequence <= back.end.sequence
                    end, position = page.end.sequence, page.position.sequence
                    await checkpoint()

            writable(one)
            async with anyio.create_task_group() as tasks:
                for source in (one, two):
                    tasks.start_soon(publish, source)
                for source, limit in zip(readers, (4, 1000), strict=True):
                    tasks.start_soon(look, source, limit)
            assert len(await everything(one)) == 90
