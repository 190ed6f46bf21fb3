"""What cancelling leaves: a whole log, and a source that goes on, wherever in a call it struck."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from functools import partial

import anyio
from anyio.lowlevel import checkpoint

from asgi_forum.entries import Entry
from asgi_forum.models import Receipt
from asgi_forum.testing.sources.case import SourceCase, entries, entry, live, writable
from asgi_forum.testing.sources.feed import Follower
from asgi_forum.testing.sources.looks import FAR, check_after, check_before, continues, everything

__all__ = ["CancelTests"]

MOST_TURNS = 5000


def _turns() -> Iterator[int]:
    """Yield 0, 1, 2, ...: first every number, then each a quarter more than the one before."""
    turns = 0
    while turns < MOST_TURNS:
        yield turns
        turns = max(turns + 1, turns * 5 // 4)


async def _cancelled(call: Callable[[], Awaitable[object]], turns: int) -> bool:
    """Make a call, and cancel it after so many turns of the event loop. Returns whether it had ended before."""
    ended = done = False

    async def run() -> None:
        nonlocal ended
        await call()
        ended = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        for _ in range(turns):
            if ended:
                break
            await checkpoint()
        done = ended
        tasks.cancel_scope.cancel()
    return done


async def _cancelled_everywhere(call: Callable[[], Awaitable[object]]) -> AsyncGenerator[None]:
    """Make a call again and again, each time cancelled one turn later, until it ends before; yields after each."""
    for turns in _turns():
        done = await _cancelled(call, turns)
        yield
        if done:
            return


class CancelTests(SourceCase):
    """Cancelling every call after 0, 1, 2, ... turns of the event loop, until it was not reached any more."""

    async def test_a_publish_that_is_cancelled_is_whole_or_not_there(self) -> None:
        """At every `await`: all of its batch or nothing is in the log, and repeating it with the same ids appends each once."""
        async with self.opened() as source:
            names: list[list[str]] = []

            async def publish() -> None:
                names.append([f"{len(names)}-{number}" for number in range(5)])
                await writable(source).publish([entry(event_id=name) for name in names[-1]])

            writable(source)
            async for _ in _cancelled_everywhere(publish):
                there = {event.envelope.event_id for event in await everything(source)}
                for batch in names:
                    assert len(there & set(batch)) in (0, 5), "half a batch is in the log"
                if names:
                    again = await writable(source).publish([entry(event_id=name) for name in names[-1]])
                    first = again[0].sequence
                    assert [each.sequence for each in again] == list(range(first, first + 5))
            found = [event.envelope.event_id for event in await everything(source)]
            assert sorted(found[at : at + 5] for at in range(0, len(found), 5)) == sorted(names)

    async def test_one_publisher_that_is_cancelled_does_not_hurt_another(self) -> None:
        """Who publishes at the same time gets its receipts, and its batch is whole."""
        async with self.opened() as source:
            target = writable(source)

            receipts: list[Receipt] = []

            async def stays(batch: Sequence[Entry]) -> None:
                receipts.extend(await target.publish(batch))

            for turns in _turns():
                batch, done = entries(3), False
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(stays, batch)
                    done = await _cancelled(lambda: target.publish(entries(3)), turns)
                assert [each.event_id for each in receipts[-3:]] == [each.event_id for each in batch]
                if done:
                    break
            places = {each.sequence: each.envelope.event_id for each in await everything(source)}
            assert len(places) % 3 == 0
            assert all(places[each.sequence] == each.event_id and not each.duplicate for each in receipts)

    async def test_a_read_that_is_cancelled_leaves_nothing_open(self) -> None:
        """At every `await`, forwards and backwards: the next read gives its own page, not what the cancelled one would have got."""
        async with self.opened() as source:
            await self.append(source, entries(20))
            async for _ in _cancelled_everywhere(lambda: source.read(0, 20)):
                check_after(page := await source.read(15, 2), 15, 2)
                assert len(page.events) == 2
            async for _ in _cancelled_everywhere(lambda: source.read_before(20, 20)):
                check_before(page := await source.read_before(4, 2), 4, 2)
                assert len(page.events) == 2

    async def test_a_feed_that_is_cancelled_can_be_taken_up_where_it_was(self) -> None:
        """At every `await`: what it has told is joined, and following on from there misses nothing."""
        async with self.opened() as source:
            follow = live(source).follow
            position = (await source.read(FAR, 0)).end
            told: list[int] = []
            for turns in _turns():
                await self.append(source, entries(2))
                feed = Follower(position, self.deadline)
                await _cancelled(partial(follow, position, feed.deliver), turns)
                feed.check()
                told += [event.sequence for event in feed.events]
                position = feed.position
                end = (await source.read(FAR, 0)).end
                if position == end:
                    break
            assert told == list(range(1, position.sequence + 1))
            assert continues(await source.read(position.sequence, 1), position)
