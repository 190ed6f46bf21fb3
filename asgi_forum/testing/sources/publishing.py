"""What publishing owes: whole batches, consecutive numbers, every id once, and conflicts that leave nothing behind."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from asgi_forum.errors import EventIdConflict
from asgi_forum.models import Receipt
from asgi_forum.sources.base import EventSource
from asgi_forum.testing.sources.case import SourceCase, entries, entry, writable
from asgi_forum.testing.sources.looks import FAR, everything

__all__ = ["PublishTests"]


class PublishTests(SourceCase):
    """Publishing, by one and by many."""

    async def test_a_receipt_tells_where_its_event_is(self) -> None:
        """One for each event, in order, with the sequence and the cursor that readers see."""
        async with self.opened() as source:
            batches = [entries(2), entries(1), entries(3)]
            receipts = [receipt for batch in batches for receipt in await writable(source).publish(batch)]
            found = await everything(source)
            assert [each.event_id for each in receipts] == [each.event_id for batch in batches for each in batch]
            assert [(each.sequence, each.cursor) for each in receipts] == [
                (each.sequence, each.cursor) for each in found
            ]
            assert not any(each.duplicate for each in receipts)

    async def test_the_largest_batch_is_taken_whole(self) -> None:
        """A thousand events, in one piece."""
        async with self.opened() as source:
            await writable(source).publish(entries(1))
            receipts = await writable(source).publish(entries(1000))
            assert [each.sequence for each in receipts] == list(range(2, 1002))
            assert [each.event_id for each in receipts] == [
                each.envelope.event_id for each in (await everything(source))[1:]
            ]

    async def test_a_known_id_is_not_appended_again(self) -> None:
        """Its receipt is the first one's, marked as a duplicate, in its place among new ones."""
        async with self.opened() as source:
            (first,) = await writable(source).publish([entry(event_id="a")])
            receipts = await writable(source).publish([entry(event_id="b"), entry(event_id="a"), entry(event_id="c")])
            assert [(each.event_id, each.sequence, each.duplicate) for each in receipts] == [
                ("b", 2, False),
                ("a", 1, True),
                ("c", 3, False),
            ]
            assert receipts[1].cursor == first.cursor
            assert [each.envelope.event_id for each in await everything(source)] == ["a", "b", "c"]

    async def test_an_id_that_comes_twice_in_one_batch_is_a_duplicate(self) -> None:
        """The later ones get the place that the first one got in the same batch."""
        async with self.opened() as source:
            # The later ones say less of the event, so their bytes are not the first one's: its cursor is.
            first = entry(event_id="a", run_id="r", payload={"n": 1}, occurred_at="2020-01-01T00:00:00Z")
            batch = [first, *(entry(event_id=event_id) for event_id in ("b", "a", "a", "c"))]
            receipts = await writable(source).publish(batch)
            assert [(each.sequence, each.duplicate) for each in receipts] == [
                (1, False),
                (2, False),
                (1, True),
                (1, True),
                (3, False),
            ]
            found = await everything(source)
            assert [each.envelope.event_id for each in found] == ["a", "b", "c"]
            assert receipts[2].cursor == receipts[3].cursor == receipts[0].cursor == found[0].cursor

    async def test_a_batch_that_is_repeated_appends_nothing(self) -> None:
        """All its receipts are those of the first time, marked; the log's end stays where it is."""
        async with self.opened() as source:
            first = await writable(source).publish([entry(event_id=f"e{number}") for number in range(5)])
            end = (await source.read(FAR, 0)).end
            again = await writable(source).publish([entry(event_id=f"e{number}") for number in range(5)])
            assert again == [Receipt(each.event_id, each.sequence, each.cursor, duplicate=True) for each in first]
            assert (await source.read(FAR, 0)).end == end
            assert [each.sequence for each in await writable(source).publish(entries(1))] == [6]

    async def test_the_very_same_entry_is_appended_once(self) -> None:
        """A caller whose answer was lost hands in the same objects; whether that counts as a duplicate is the source's affair."""
        async with self.opened() as source:
            batch = entries(3)
            first, again = await writable(source).publish(batch), await writable(source).publish(batch)
            assert [(each.sequence, each.cursor) for each in first] == [(each.sequence, each.cursor) for each in again]
            assert len(await everything(source)) == 3

    @pytest.mark.parametrize("position", [0, 1, 2])
    @pytest.mark.parametrize("known", ["stored", "in the batch"])
    async def test_a_conflict_leaves_nothing_behind(self, position: int, known: str) -> None:
        """All or none: no event, no number, no id; the error names the id, its fields and its index in the batch."""
        async with self.opened() as source:
            batch = entries(2)
            batch.insert(position, entry(event_id="x", ticket="T-2"))
            index = position
            if known == "stored":
                await writable(source).publish([entry(event_id="x")])
            else:
                batch.insert(0, entry(event_id="x"))
                index += 1
            before = [each.json for each in await everything(source)]
            with pytest.raises(EventIdConflict) as caught:
                await writable(source).publish(batch)
            assert (caught.value.event_id, caught.value.fields, caught.value.index) == ("x", ("ticket",), index)
            assert [each.json for each in await everything(source)] == before
            others = [entry(event_id=each.event_id) for each in batch if each.event_id != "x"]
            receipts = await writable(source).publish(others)
            assert [(each.sequence, each.duplicate) for each in receipts] == [
                (len(before) + 1, False),
                (len(before) + 2, False),
            ]

    @pytest.mark.parametrize(
        ("first", "second", "fields"),
        [
            ({}, {"ticket": "T-2", "run_id": "r", "payload": {"n": 1}}, ("payload", "run_id", "ticket")),
            ({"payload": {"n": 1}}, {"payload": {"n": True}}, ("payload",)),
            ({"payload": {"n": 1}}, {"payload": {"n": 1.0}}, ("payload",)),
            ({"payload": {"n": 1}}, {"payload": {}}, ("payload",)),
            ({"payload": {"a": [1, 2]}}, {"payload": {"a": [2, 1]}}, ("payload",)),
            ({"actor_type": "agent"}, {"actor_type": "human"}, ("actor_type",)),
            ({}, {"event_version": 2}, ("event_version",)),
            ({"thread_id": "t"}, {"thread_id": "T"}, ("thread_id",)),
            ({}, {"event_type": "forum.assigned"}, ("event_type",)),
            ({}, {"occurred_at": "2020-01-01T00:00:00Z"}, ("occurred_at",)),
        ],
    )
    async def test_a_conflict_names_the_fields_that_differ(
        self, first: dict[str, Any], second: dict[str, Any], fields: tuple[str, ...]
    ) -> None:
        """In order of their names, those only."""
        async with self.opened() as source:
            await writable(source).publish([entry(event_id="x", **first)])
            with pytest.raises(EventIdConflict) as caught:
                await writable(source).publish([entry(event_id="x", **second)])
            assert caught.value.fields == fields

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"run_id": "r", "payload": {"n": 1}, "occurred_at": "2020-01-01T00:00:00Z"}, {}),
            ({"payload": {"a": 1, "b": {"c": 2, "d": 3}}}, {"payload": {"b": {"d": 3, "c": 2}, "a": 1}}),
            ({}, {"event_version": 1, "actor_type": "system", "payload": {}}),
            ({"occurred_at": "2020-01-01T00:00:00Z"}, {"occurred_at": "2020-01-01T01:00:00+01:00"}),
        ],
    )
    async def test_only_what_was_given_is_compared(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        """A repeat that leaves a field out, or writes the same value in another way, is a duplicate."""
        async with self.opened() as source:
            await writable(source).publish([entry(event_id="x", **first)])
            (receipt,) = await writable(source).publish([entry(event_id="x", **second)])
            assert (receipt.sequence, receipt.duplicate) == (1, True)

    async def test_publishers_that_come_at_once_get_whole_blocks(self) -> None:
        """No number is missing or given twice, no batch is mixed with another, and every receipt is right."""
        async with self.sharing(4) as sources:
            results: list[list[Receipt]] = []
            writable(sources[0])

            async def publish(source: EventSource, sizes: list[int]) -> None:
                for size in sizes:
                    results.append(await writable(source).publish(entries(size)))
                    await checkpoint()

            async with anyio.create_task_group() as tasks:
                for number in range(8):
                    tasks.start_soon(publish, sources[number % 4], [1, 5, 2, 9, 3])
            found = await everything(sources[0])
            assert len(found) == 8 * 20
            for receipts in results:
                first = receipts[0].sequence
                assert [each.sequence for each in receipts] == list(range(first, first + len(receipts)))
                there = found[first - 1 : first - 1 + len(receipts)]
                assert [(each.event_id, each.cursor) for each in receipts] == [
                    (each.envelope.event_id, each.cursor) for each in there
                ]

    async def test_publishers_of_the_same_ids_append_each_once(self) -> None:
        """Whoever comes first has it; all others get a duplicate of the same place."""
        async with self.sharing(4) as sources:
            receipts: list[Receipt] = []
            writable(sources[0])

            async def publish(source: EventSource, numbers: list[int]) -> None:
                for number in numbers:
                    pair = [entry(event_id=f"e{number}"), entry(event_id=f"f{number}")]
                    receipts.extend(await writable(source).publish(pair))
                    await checkpoint()

            async with anyio.create_task_group() as tasks:
                for number, source in enumerate(sources):
                    tasks.start_soon(publish, source, [*range(number * 5, 20), *range(number * 5)])
            found = await everything(sources[0])
            assert len(found) == len({each.envelope.event_id for each in found}) == 40
            assert len([each for each in receipts if not each.duplicate]) == 40
            places = {each.envelope.event_id: (each.sequence, each.cursor) for each in found}
            assert all((each.sequence, each.cursor) == places[each.event_id] for each in receipts)
