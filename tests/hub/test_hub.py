"""The hub: what continues its tail, what makes it begin anew, who is woken, and what it holds on to."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest

from asgi_forum.cursor import Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import NotFound, ShuttingDown, TooManyConnections, TooSlow
from asgi_forum.filters import Filter
from asgi_forum.hub.channels import Channel
from asgi_forum.hub.hub import Counters, Hub
from asgi_forum.hub.tail import cost
from asgi_forum.settings import Limits
from asgi_forum.sources import MemorySource, Page
from tests.events import KEY, sequences, stored
from tests.hub.bench import bench
from tests.wire.sources import HistorySource

START = KEY.bare(0)


class Sleeper:
    """A reader, as the hub knows one: it notes what it is told."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self.told: list[str] = []

    def wake(self) -> None:
        """Note it."""
        self.told.append("wake")

    lag = 0

    def settle(self) -> None:
        """Note it."""
        self.told.append("settle")


def page(
    *events: StoredEvent,
    anchor: Cursor | None,
    position: Cursor | None = None,
    start: Cursor = START,
    epoch: str = "epoch",
) -> Page:
    """A page of the live feed."""
    reached = position or (Cursor.parse(events[-1].cursor) if events else START)
    return Page(
        replace(start, epoch=epoch),
        replace(reached, epoch=epoch),
        None if anchor is None else str(anchor),
        events,
        replace(reached, epoch=epoch),
    )


def begun(at: Cursor = START, *, limits: Limits | None = None) -> tuple[Hub, Sleeper]:
    """A hub whose tail begins at a position, and a reader in it that was told nothing since."""
    hub, sleeper = Hub(MemorySource(), limits or Limits(), "resume"), Sleeper()
    hub.enter(sleeper)
    hub.begin(at)
    sleeper.told.clear()
    return hub, sleeper


def test_a_page_goes_to_the_tail_and_to_the_channels_that_match() -> None:
    """Others hear nothing of it; those who wait in a channel that matches are woken, after the end has moved."""
    hub, _ = begun()
    ends: list[Cursor | None] = []

    class Waiting(Sleeper):
        """A reader that looks where the log ends when it is woken."""

        def wake(self) -> None:
            """Look."""
            ends.append(hub.tail.end)

    mine, other = hub.channels.join(Filter.of(ticket="a"), START), hub.channels.join(Filter.of(ticket="b"), START)
    idle = Sleeper()
    mine.idle.add(Waiting())
    other.idle.add(idle)
    events = [stored(1, ticket="a"), stored(2, ticket="c"), stored(3, ticket="A")]
    hub.accept(page(*events, anchor=None))
    assert sequences(hub.tail.scan(0, 3, 10)) == [1, 2, 3]
    assert mine.pending(0) == 2
    assert other.pending(0) == 0
    assert ends == [Cursor.parse(events[-1].cursor)]
    assert idle.told == []


FIRST = stored(6)
AT_5, AT_6 = KEY.cursor(5, b"five"), Cursor.parse(FIRST.cursor)


@pytest.mark.parametrize(
    ("end", "came"),
    [
        (AT_5, page(FIRST, anchor=AT_5)),
        (KEY.bare(5), page(FIRST, anchor=None, start=KEY.bare(5))),
        (KEY.bare(5), page(FIRST, anchor=None, start=KEY.bare(3))),
        (AT_5, page(anchor=AT_5, position=KEY.bare(9))),
        (AT_5, page(FIRST, anchor=None, start=AT_5)),
        (AT_5, page(anchor=None, start=AT_5, position=AT_5)),
    ],
    ids=["anchored", "at the start", "a hole", "nothing decodable", "trimmed up to here", "nothing there, nothing new"],
)
def test_what_continues_the_tail_is_added(end: Cursor, came: Page) -> None:
    """By its anchor, or, where our own entry is not retained, because nothing after it was trimmed."""
    hub, sleeper = begun(end)
    hub.accept(came)
    assert hub.tail.start == end
    assert hub.tail.end == came.position
    assert sequences(hub.tail.scan(5, 9, 10)) == sequences(came)
    assert sleeper.told == []


@pytest.mark.parametrize(
    ("end", "came"),
    [
        (AT_5, page(FIRST, anchor=KEY.cursor(5, b"forked"))),
        (KEY.bare(5), page(stored(8), anchor=None, start=KEY.bare(7))),
        (AT_5, page(stored(3), anchor=None)),
        (AT_5, page(FIRST, anchor=None, epoch="other")),
        (AT_5, page(FIRST, anchor=AT_5, epoch="other")),
    ],
    ids=["forked", "trimmed past us", "a log that is shorter", "another log", "another log with our anchor"],
)
def test_what_does_not_continue_the_tail_makes_it_begin_anew(end: Cursor, came: Page) -> None:
    """Nothing of such a page is delivered: every reader settles, looks for itself, and asks the source."""
    hub, sleeper = begun(end)
    channel = hub.channels.join(Filter.of(), end)
    channel.append(stored(4))
    hub.accept(came)
    assert (hub.tail.start, hub.tail.end) == (came.position, came.position)
    assert (channel.origin, channel.before_newest()) == (came.position, None)
    assert sleeper.told == ["settle", "wake"]


def test_a_page_before_the_first_contact_begins_the_tail() -> None:
    """There is nothing that it could continue."""
    hub = Hub(MemorySource(), Limits(), "resume")
    hub.accept(page(FIRST, anchor=AT_5))
    assert hub.tail.start == hub.tail.end == AT_6


def test_the_tail_knows_what_the_log_retains() -> None:
    """Every page tells where the log's own beginning lies."""
    hub, _ = begun(AT_5)
    hub.accept(page(FIRST, anchor=AT_5, start=KEY.bare(3)))
    assert hub.tail.retained == 3


def test_readers_are_told_when_the_source_goes_and_comes() -> None:
    """Once each: news that is no news wakes nobody, but every failure is counted."""
    hub, sleeper = begun()
    for call, degraded, wakes in (
        (hub.reached, False, 0),
        (hub.lost, True, 1),
        (hub.lost, True, 1),
        (hub.reached, False, 2),
        (hub.reached, False, 2),
    ):
        call()
        assert hub.degraded is degraded
        assert sleeper.told.count("wake") == wakes
    assert hub.counters.source_errors == 2


def test_who_left_is_told_nothing() -> None:
    """Leaving twice is harmless."""
    hub, sleeper = begun()
    hub.leave(sleeper)
    hub.leave(sleeper)
    hub.wake_all()
    hub.begin(START)
    assert sleeper.told == []


def test_a_hub_that_was_closed_has_forgotten_and_takes_nothing_more() -> None:
    """Its loop is gone: whoever still hands it pages or news of the source fills nothing, and wakes nobody there."""
    hub, sleeper = begun()
    hub.channels.join(Filter.of(), START).idle.add(sleeper)
    found = publish(hub, [1, 2], "a")
    sleeper.told.clear()
    hub.close()
    assert alive(found) == 0
    hub.accept(page(stored(3), anchor=None))
    hub.lost()
    hub.reached()
    assert (hub.tail.start, hub.tail.end, hub.tail.size, len(hub.channels)) == (None, None, 0, 0)
    assert sleeper.told == []


def test_a_hub_knows_whether_its_source_is_live() -> None:
    """A source without a feed gives history and heartbeats only."""
    assert Hub(MemorySource(), Limits(), "resume").live
    assert not Hub(HistorySource(), Limits(), "resume").live


def publish(hub: Hub, numbers: Sequence[int], ticket: str) -> list[weakref.ref[StoredEvent]]:
    """Hand over events, one page each, and keep no hold of them."""
    found: list[weakref.ref[StoredEvent]] = []
    for number in numbers:
        event = Weak.stored_weak(number, ticket)
        found.append(weakref.ref(event))
        hub.accept(page(event, anchor=hub.tail.end))
    return found


class Weak(StoredEvent):
    """An event that can be watched leaving."""

    __slots__ = ("__weakref__",)

    @classmethod
    def stored_weak(cls, number: int, ticket: str) -> Weak:
        """Make one."""
        event = stored(number, ticket=ticket)
        return cls(event.sequence, event.cursor, event.json, event.keys)


def alive(found: Sequence[weakref.ref[StoredEvent]]) -> int:
    """How many events are still held by somebody."""
    gc.collect()
    return sum(each() is not None for each in found)


ROOM = 80
LIMITS = Limits(tail_bytes=ROOM * cost(stored(1000, ticket="quiet")))


def test_a_quiet_channel_holds_nothing_of_old() -> None:
    """What has left the tail is let go after an eighth of the tail's bytes at the latest, though nothing came for that channel."""
    hub, _ = begun(limits=LIMITS)
    quiet: Channel = hub.channels.join(Filter.of(ticket="quiet"), START)
    old = publish(hub, range(1, ROOM + 1), "quiet")
    quiet.frame(0, 100, 10**9)
    assert alive(old) == ROOM
    publish(hub, range(ROOM + 1, ROOM + ROOM // 4 + 1), "other")
    held = alive(old)
    assert held <= ROOM - ROOM // 4 + ROOM // 8 + 1
    publish(hub, range(ROOM + ROOM // 4 + 1, 3 * ROOM), "other")
    assert alive(old) == 0
    assert quiet.start == ROOM
    assert quiet.pending(0) == 0


@pytest.mark.parametrize("count", [1, 10, 50])
def test_what_is_held_is_bounded_however_many_channels_there_are(count: int) -> None:
    """Events are shared: channels and tail together hold the tail's bytes and an eighth more."""
    hub, _ = begun(limits=LIMITS)
    for number in range(count):
        hub.channels.join(Filter.of(ticket=["all", f"other-{number}"]), START)
    found = publish(hub, range(1, 5 * ROOM), "all")
    assert alive(found) <= ROOM + ROOM // 8 + 2
    assert hub.tail.size <= LIMITS.tail_bytes


def test_a_sweep_comes_too_early_for_nobody() -> None:
    """A channel keeps all that the tail has."""
    hub, _ = begun(limits=LIMITS)
    channel = hub.channels.join(Filter.of(), START)
    publish(hub, range(1, 5 * ROOM), "any")
    assert hub.tail.start is not None
    assert channel.start <= hub.tail.start.sequence
    kept = hub.tail.scan(hub.tail.start.sequence, 10_000, 10_000)
    assert sequences(channel.frame(hub.tail.start.sequence, 10_000, 10**9)) == sequences(kept)


def test_counters_count_by_name() -> None:
    """Resets by reason, refusals and endings by code, and the limits that were behind these."""
    counters = Counters()
    for reason in ("trimmed", "skipped", "trimmed"):
        counters.reset(reason)
    for error in (NotFound("/a"), NotFound("/b"), TooManyConnections("2 are open").at("streams")):
        counters.refusal(error)
    counters.ending(TooSlow().at("send_timeout"))
    counters.ending(ShuttingDown())
    counters.limit("send_timeout")
    assert counters.resets == {"trimmed": 2, "skipped": 1}
    assert counters.refusals == {"not_found": 2, "too_many_connections": 1}
    assert counters.endings == {"too_slow": 1, "shutting_down": 1}
    assert counters.limits == {"streams": 1, "send_timeout": 2}


@pytest.mark.anyio
async def test_when_an_entry_came_is_known_for_a_while() -> None:
    """Of entries that the live feed brought, page by page; not of what was there before, nor of what came too long ago."""
    async with bench(3) as made:
        assert [made.hub.arrived(sequence) for sequence in (1, 3, 4)] == [None, None, None]
        for _ in range(3):
            await made.append(2)
        times = [made.hub.arrived(sequence) or 0.0 for sequence in range(4, 10)]
        assert times[0] == times[1] < times[2] == times[3] < times[4] == times[5]
        assert made.hub.arrived(3) is None
        for _ in range(300):
            await made.append()
        assert made.hub.arrived(9) is None
        assert made.hub.arrived(309) is not None
