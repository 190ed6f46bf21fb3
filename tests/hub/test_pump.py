"""The pump: it follows the feed into the hub, and comes back after every loss."""

from __future__ import annotations

import logging

import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.cursor import LATEST
from asgi_forum.errors import SourceUnavailable
from asgi_forum.filters import Filter
from asgi_forum.hub.hub import Hub
from asgi_forum.hub.pump import Backoff, Pump
from asgi_forum.hub.reader import Reader
from asgi_forum.settings import Limits
from asgi_forum.sources import MemorySource
from tests.events import draft, sequences
from tests.hub.bench import at_work, drive, until
from tests.wire.sources import DistantSource

# Backoff


def test_delays_grow_and_are_spread() -> None:
    """From the first to the most, doubled each time, each between half of it and one and a half."""
    backoff = Backoff(0.1, 5.0)
    expected = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    for base in expected:
        assert 0.5 * base <= backoff.delay() <= 1.5 * base


def test_delays_differ_from_process_to_process() -> None:
    """A hundred that lose their source at once do not come back at once."""
    delays = {Backoff().delay() for _ in range(100)}
    assert len(delays) > 90
    assert max(delays) > 1.5 * min(delays)


def test_delays_begin_anew_after_it_worked() -> None:
    """The next loss is a new one."""
    backoff = Backoff(0.1, 5.0)
    for _ in range(5):
        backoff.delay()
    backoff.reset()
    assert backoff.delay() <= 0.15


# The pump


@pytest.mark.anyio
async def test_the_tail_begins_at_the_logs_end() -> None:
    """What is stored is history; what comes is in memory."""
    source = DistantSource()
    await source.append(draft(), draft())
    async with at_work(source) as running:
        assert running.hub.tail.end == (await source.log.read(2**62, 0)).end
        assert sequences(running.hub.tail.scan(0, 10, 10)) == []
        await source.append(draft())
        await until(lambda: sequences(running.hub.tail.scan(0, 10, 10)) == [3])


@pytest.mark.anyio
async def test_nothing_is_lost_over_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    """The hub knows of it, what came meanwhile is in the tail when it is over, and the log tells of the loss once."""
    source = DistantSource()
    async with at_work(source) as running:
        hub = running.hub
        for first in (1, 3, 5):
            await wait_all_tasks_blocked()
            source.leave()
            await until(lambda: hub.degraded)
            await source.append(draft(), draft())
            assert sequences(hub.tail.scan(0, 100, 100)) == list(range(1, first))
            source.come_back()
            await until(lambda: not hub.degraded)
            assert sequences(hub.tail.scan(0, 100, 100)) == list(range(1, first + 2))
    lost = [record for record in caplog.records if record.message.startswith("asgi_forum.source_lost")]
    assert len(lost) == 3
    assert {record.levelno for record in lost} == {logging.WARNING}


@pytest.mark.anyio
async def test_a_long_outage_is_one_outage(caplog: pytest.LogCaptureFixture) -> None:
    """Every try is counted, the loss is logged once, and the pump goes on trying."""
    source = DistantSource()
    async with at_work(source) as running:
        await wait_all_tasks_blocked()
        source.leave()
        await until(lambda: running.hub.counters.source_errors >= 3)
        assert len([record for record in caplog.records if "source_lost" in record.message]) == 1
        source.come_back()
        await until(lambda: not running.hub.degraded)


@pytest.mark.anyio
async def test_a_feed_with_a_bug_is_followed_again(caplog: pytest.LogCaptureFixture) -> None:
    """Any error of a source is an outage: it is logged with its cause, and nothing is lost."""
    source = DistantSource()
    async with at_work(source) as running:
        await wait_all_tasks_blocked()
        source.bug = ZeroDivisionError("a bug")
        source.cut()
        await until(lambda: running.hub.degraded)
        await source.append(draft())
        source.bug = None
        await until(lambda: not running.hub.degraded)
        assert sequences(running.hub.tail.scan(0, 10, 10)) == [1]
    assert any(record.exc_info and "feed_failed" in record.message for record in caplog.records)


class Brief(MemorySource):
    """A log whose feed ends by itself, again and again, as one behind a proxy does."""

    def __init__(self) -> None:
        """Begin with an empty log."""
        super().__init__()
        self.followed = 0

    async def follow(self, after: object, deliver: object) -> None:
        """End at once."""
        self.followed += 1


@pytest.mark.anyio
async def test_a_feed_that_ends_is_followed_again() -> None:
    """No error, but no feed either: what came is fetched, and the source is not asked in a busy loop."""
    source = Brief()
    async with at_work(source) as running:
        await until(lambda: source.followed >= 3)
        assert not running.hub.degraded


@pytest.mark.anyio
async def test_a_source_that_is_away_at_the_start_is_reached_later() -> None:
    """The forum starts degraded; the tail begins at the first contact."""
    source = DistantSource(away=True)
    async with at_work(source) as running:
        assert running.hub.degraded
        assert running.hub.tail.end is None
        await source.append(draft(), draft())
        source.come_back()
        await until(lambda: not running.hub.degraded)
        assert running.hub.tail.end == (await source.log.read(2**62, 0)).end


@pytest.mark.anyio
async def test_a_contact_brings_everything_before_it_says_so() -> None:
    """The outage is over only when the tail has reached the log's end, however many pages that takes."""
    source = DistantSource()
    async with at_work(source) as running:
        await wait_all_tasks_blocked()
        source.leave()
        await until(lambda: running.hub.degraded)
        await source.append(*[draft()] * 2500)
        ends: list[int] = []

        class Watching:
            """A reader that looks how far the tail is when it is woken."""

            lag = 0

            def settle(self) -> None:
                """Nothing to do."""

            def wake(self) -> None:
                """Look."""
                if not running.hub.degraded and running.hub.tail.end is not None:
                    ends.append(running.hub.tail.end.sequence)

        running.hub.enter(Watching())
        source.come_back()
        await until(lambda: ends)
        assert ends[0] == 2500


@pytest.mark.anyio
async def test_a_log_that_is_replaced_is_followed_from_its_end() -> None:
    """The tail begins anew in the new log, readers look for themselves, and the feed is the new one."""
    source = DistantSource()
    await source.append(draft(), draft(), draft())
    async with at_work(source) as running:
        reader = Reader(running.hub, Filter.of(), LATEST)
        assert await drive(reader) == ["push"]
        await wait_all_tasks_blocked()
        source.replace()
        await source.append(draft(), draft())
        end = (await source.log.read(2**62, 0)).end
        await until(lambda: running.hub.tail.end == end)
        assert await drive(reader) == ["replaced", 1, 2, "push"]
        await wait_all_tasks_blocked()
        await source.append(draft())
        await until(lambda: running.hub.tail.end != end)
        assert await drive(reader) == [3]


@pytest.mark.anyio
async def test_a_contact_that_fails_changes_nothing() -> None:
    """The tail has not begun, and the hub is not told that the source answers."""
    source = DistantSource(away=True)
    hub = Hub(source, Limits(), "resume")
    hub.lost()
    with pytest.raises(SourceUnavailable):
        await Pump(hub, source).contact()
    assert (hub.tail.end, hub.degraded) == (None, True)
