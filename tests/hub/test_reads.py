"""Shared reads: a crowd at one position costs few reads, and nobody gets a page that is older than the question."""

from __future__ import annotations

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.cursor import Cursor
from asgi_forum.errors import ForumError, SourceUnavailable
from asgi_forum.hub.reads import BLOCK, Read, SharedReads, cut
from asgi_forum.sources import MemorySource, Page
from tests.events import entries, sequences
from tests.hub.bench import DEADLINE, bench, told
from tests.wire.sources import DistantSource

pytestmark = pytest.mark.anyio


async def test_a_read_is_the_sources_answer() -> None:
    """Forwards and backwards."""
    async with bench(5) as made:
        assert sequences(await made.hub.reads.read(2, 2).page()) == [3, 4]
        assert sequences(await made.hub.reads.read_before(4, 2).page()) == [3, 4]


async def test_a_crowd_shares_two_reads() -> None:
    """One is under way; who asks meanwhile shares the next, which begins after they asked."""
    async with bench(3) as made:
        made.source.fall_mute()
        before = made.source.reads
        first = made.hub.reads.read(0, 10)
        await wait_all_tasks_blocked()
        crowd = [made.hub.reads.read(0, 10) for _ in range(1000)]
        assert first is not crowd[0]
        assert all(each is crowd[0] for each in crowd)
        await wait_all_tasks_blocked()
        assert made.source.reads - before == 1
        made.source.speak()
        assert sequences(await crowd[0].page(), await first.page()) == [1, 2, 3, 1, 2, 3]
        assert made.source.reads - before == 2


async def test_a_read_that_has_begun_is_too_old() -> None:
    """What was published before the question is in the answer, though another read of the same page was under way."""
    log = MemorySource()

    class Slow(DistantSource):
        """A log whose answers are on the way for a while."""

        def __init__(self) -> None:
            super().__init__(log)
            self.gates: list[anyio.Event] = []

        async def read(self, after: int, limit: int) -> Page:
            """Look first, and answer when the gate opens."""
            page = await super().read(after, limit)
            gate = anyio.Event()
            self.gates.append(gate)
            await gate.wait()
            return page

    source = Slow()
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(DEADLINE):
            reads = SharedReads(source, 2, 2**20)
            reads.begin(tasks)
            early = reads.read(0, 10)
            await wait_all_tasks_blocked()
            await log.publish(entries(1))
            late = reads.read(0, 10)
            for number in range(2):
                await wait_all_tasks_blocked()
                source.gates[number].set()
            assert sequences(await early.page()) == []
            assert sequences(await late.page()) == [1]


async def test_other_questions_are_other_reads() -> None:
    """Position, size and direction all count, and one does not wait for another."""
    async with bench(5) as made:
        made.source.fall_mute()
        asked = [
            made.hub.reads.read(0, 10),
            made.hub.reads.read(1, 10),
            made.hub.reads.read(0, 9),
            made.hub.reads.read_before(0, 10),
        ]
        assert len({id(each) for each in asked}) == 4
        before = made.source.reads
        await wait_all_tasks_blocked()
        assert made.source.reads - before == 4


async def test_only_so_many_run_at_once() -> None:
    """Further ones wait for their turn, and one that waits serves whoever asks for the same; a limit of one is enough to go on."""
    async with bench(5, catch_up_reads=2) as made:
        reads, before = made.hub.reads, made.source.reads
        made.source.fall_mute()
        asked = [reads.read(0, limit) for limit in range(1, 6)]
        await wait_all_tasks_blocked()
        assert made.source.reads - before == 2
        assert (reads.under_way, reads.delayed) == (5, 3)
        assert reads.read(0, 5) is asked[4]
        made.source.speak()
        assert [len((await each.page()).events) for each in asked] == [1, 2, 3, 4, 5]
        await wait_all_tasks_blocked()
        assert (made.source.reads - before, reads.under_way, reads.delayed) == (5, 0, 3)


async def test_waiting_may_be_cancelled() -> None:
    """The read goes on, and can be waited for again; it is not asked a second time."""
    async with bench(3) as made:
        made.source.fall_mute()
        asked = made.hub.reads.read(0, 10)
        for _ in range(3):
            with anyio.move_on_after(0):
                await asked.page()
        await wait_all_tasks_blocked()
        before = made.source.reads
        made.source.speak()
        assert sequences(await asked.page()) == [1, 2, 3]
        assert made.source.reads == before


async def test_all_hear_that_the_source_is_away() -> None:
    """What the source raises is raised to everybody who waits, each time; the next question is a new one."""
    async with bench(3) as made:
        made.source.leave()
        asked = made.hub.reads.read(0, 10)
        for _ in range(2):
            with pytest.raises(SourceUnavailable):
                await asked.page()
        made.source.come_back()
        assert sequences(await made.hub.reads.read(0, 10).page()) == [1, 2, 3]


async def test_a_source_with_a_bug_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """An error that is none of the forum's is logged once, and told without its text."""
    async with bench(3) as made:
        made.source.bug = ZeroDivisionError("the secret")
        with pytest.raises(SourceUnavailable) as caught:
            await made.hub.reads.read(0, 10).page()
        assert "secret" not in str(caught.value)
        assert [record.message for record in caplog.records] == ["asgi_forum.read_failed"]


async def test_what_was_answered_is_not_held() -> None:
    """A read, and the page in it, goes with those who asked for it."""
    async with bench(3) as made:
        await made.hub.reads.read(0, 10).page()
        made.source.leave()
        with pytest.raises(SourceUnavailable):
            await made.hub.reads.read(1, 10).page()
        await wait_all_tasks_blocked()
        assert made.hub.reads._open == set()  # pyright: ignore[reportPrivateUsage]  # nobody else can tell


async def test_an_error_of_the_forum_is_told_as_it_is() -> None:
    """A source may say why."""
    async with bench(3) as made:
        made.source.bug = SourceUnavailable("the disk is full")
        with pytest.raises(ForumError, match="the disk is full"):
            await made.hub.reads.read(0, 10).page()


async def test_a_read_that_was_stopped_leaves_nobody_waiting() -> None:
    """When the forum's tasks end, who waits hears that the source is away."""
    read = Read()

    async def never() -> Page:
        await anyio.sleep_forever()
        raise AssertionError

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read.run, never)
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(DEADLINE), pytest.raises(SourceUnavailable):
        await read.page()


async def test_a_stop_ends_what_nobody_will_answer() -> None:
    """A read that hangs, one that waits behind it, and those that come later: all hear that the forum is stopping."""
    async with bench(3) as made:
        made.source.fall_mute()
        hung = made.hub.reads.read(0, 10)
        await wait_all_tasks_blocked()
        behind = made.hub.reads.read(0, 10)
        made.hub.reads.close()
        for read in (hung, behind):
            with pytest.raises(SourceUnavailable):
                await read.page()
        with pytest.raises(SourceUnavailable):
            made.hub.reads.read(1, 10)
        made.source.speak()


async def test_nothing_is_read_before_the_forum_has_started() -> None:
    """There is nobody yet whose task it could be."""
    with pytest.raises(SourceUnavailable, match="starting"):
        SharedReads(MemorySource(), 1, 2**20).read(0, 10)


# Blocks of history, for readers that stand close to each other


@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("hidden", [set[int](), {4}, {6}, {5, 6}])
@pytest.mark.parametrize("retain", [4, 100])
async def test_a_cut_is_what_would_have_been_read(after: int, hidden: set[int], retain: int) -> None:
    """Or nothing, where the page can't tell: behind an entry that could not be decoded, and past the page's end."""
    async with bench(6, retain=retain) as made:
        made.source.hidden = hidden
        page = await made.source.read(0, 100)
        part, asked = cut(page, 0, after, 2), await made.source.read(after, 2)
        if after > 6 or after in hidden - {6}:
            assert part is None
        elif part is not None and len(hidden) < 2:
            assert (part.anchor, part.start, part.end) == (asked.anchor, asked.start, asked.end)
            assert sequences(part)[: len(asked.events)] == sequences(asked)
            assert part.position.sequence >= asked.position.sequence


async def test_a_page_of_nothing_but_holes_can_be_cut() -> None:
    """Where no entry could be decoded it tells only of its own ends."""
    async with bench(6) as made:
        made.source.hidden = {1, 2, 3, 4, 5, 6}
        page = await made.source.read(0, 100)
        assert [cut(page, 0, after, 2) is not None for after in range(8)] == [True, *[False] * 5, True, False]


async def test_a_block_does_not_tell_what_follows_a_hole() -> None:
    """Whether that entry is the one that a cursor was made for, only a read of its own can say."""
    async with bench(BLOCK + 10) as made:
        made.source.hidden = {5}
        epoch = (await made.hub.reads.read(0, BLOCK).page()).epoch
        assert made.hub.reads.recent(Cursor(epoch, 5), 3) is None


async def test_readers_close_to_each_other_share_a_read() -> None:
    """A crowd, each at a position of its own, costs a read or two."""
    async with bench(BLOCK + 50) as made:
        before = made.source.reads
        readers = [made.reader(str(at), event_type="nothing") for at in range(1, 100)]
        async with anyio.create_task_group() as tasks:
            for reader in readers:
                tasks.start_soon(reader.step, 10)
        assert made.source.reads - before <= 2
        assert all(reader.sequence > at for at, reader in enumerate(readers, 1))


async def test_one_event_at_a_time_is_not_a_read_for_each() -> None:
    """What lies in a block that was just read needs no other."""
    async with bench(3 * BLOCK) as made:
        reader = made.reader("earliest")
        before = made.source.reads
        for number in range(1, 2 * BLOCK + 1):
            frame = await reader.step(1, join=False)
            assert frame is not None
            assert told(frame) == [number]
        assert made.source.reads - before < 5


async def test_a_block_at_the_log_s_end_is_not_kept() -> None:
    """What comes next lies there: it has to be looked at anew each time."""
    async with bench(10) as made:
        await made.hub.reads.read(0, BLOCK).page()
        position = Cursor.parse((await made.source.log.read(5, 1)).anchor or "")
        assert made.hub.reads.recent(position, 3) is None


async def test_a_block_is_kept_for_a_moment_and_for_its_own_log() -> None:
    """Then history may have been trimmed; and what another log's cursor stands for is not in it."""
    async with bench(BLOCK + 10) as made:
        await made.hub.reads.read(0, BLOCK).page()
        position = Cursor.parse((await made.source.log.read(5, 1)).anchor or "")
        page = made.hub.reads.recent(position, 3)
        assert page is not None
        assert sequences(page) == [6, 7, 8]
        assert made.hub.reads.recent(Cursor("another", 5), 3) is None
        assert made.hub.reads.recent(position, 3, now=anyio.current_time() + 1.5) is None


async def test_only_so_many_blocks_are_kept() -> None:
    """The oldest go: memory is bounded."""
    async with bench(20 * BLOCK) as made:
        for number in range(20):
            await made.hub.reads.read(number * BLOCK, BLOCK).page()
        first = Cursor.parse((await made.source.log.read(5, 1)).anchor or "")
        last = Cursor.parse((await made.source.log.read(18 * BLOCK + 5, 1)).anchor or "")
        assert made.hub.reads.recent(first, 1) is None
        assert made.hub.reads.recent(last, 1) is not None


async def test_blocks_are_bounded_in_bytes_too() -> None:
    """Of large events fewer blocks are kept, and one at least."""
    async with bench(6 * BLOCK, tail_bytes=2**16) as made:
        kept: list[bool] = []
        for number in range(4):
            await made.hub.reads.read(number * BLOCK, BLOCK).page()
        for number in range(4):
            position = Cursor.parse((await made.source.log.read(number * BLOCK + 5, 1)).anchor or "")
            kept.append(made.hub.reads.recent(position, 1) is not None)
        assert kept == [False, False, False, True]
