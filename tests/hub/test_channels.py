"""Channels: an event meets exactly those whose filter matches, and what is cut from one is cut once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asgi_forum.cursor import Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.filters import Filter
from asgi_forum.hub.channels import Channel, Channels
from asgi_forum.models import Keys
from tests.events import KEY, sequences, stored

ORIGIN = KEY.bare(0)


class Bell:
    """Somebody who waits, and counts how often he was woken."""

    def __init__(self) -> None:
        """Begin asleep."""
        self.rung = 0

    def wake(self) -> None:
        """Count."""
        self.rung += 1


def filled(*numbers: int, origin: Cursor = ORIGIN) -> Channel:
    """A channel with events of these numbers."""
    channel = Channel(Filter.of(), origin)
    for number in numbers:
        channel.append(stored(number))
    return channel


def frame_of(channel: Channel, after: int) -> list[int]:
    """The sequences of the frame after a position; none at the end."""
    frame = channel.frame(after, 10, 10**9)
    return [] if frame is None else sequences(frame)


# A channel


def test_a_channel_begins_empty_at_its_origin() -> None:
    """Complete after the tail's end of that moment, with nothing in it."""
    channel = filled(origin=KEY.bare(7))
    assert (channel.start, channel.origin, channel.before_newest()) == (7, KEY.bare(7), None)
    assert channel.frame(7, 10, 10**9) is None
    assert channel.pending(7) == 0


def test_an_event_is_taken_once() -> None:
    """One that is there already, or lies before, is left alone."""
    channel = filled(1, 3)
    channel.append(stored(3))
    channel.append(stored(2))
    assert sequences(channel.frame(0, 10, 10**9)) == [1, 3]


@pytest.mark.parametrize(("after", "pending"), [(0, 3), (1, 2), (2, 2), (3, 1), (4, 1), (5, 0), (6, 0)])
def test_what_is_pending_is_counted(after: int, pending: int) -> None:
    """Matching events after a position, which need not be that of an event."""
    assert filled(1, 3, 5).pending(after) == pending


@pytest.mark.parametrize(
    ("after", "limit", "events"),
    [(0, 10, [1, 3, 5]), (0, 2, [1, 3]), (1, 10, [3, 5]), (2, 10, [3, 5]), (4, 1, [5]), (5, 10, None), (9, 10, None)],
)
def test_a_frame_holds_what_follows_a_position(after: int, limit: int, events: list[int] | None) -> None:
    """At most `limit` of them; its cursor is that of the last; at the end there is none."""
    frame = filled(1, 3, 5).frame(after, limit, 10**9)
    assert (frame and sequences(frame)) == events
    assert frame is None or frame.next_cursor == frame.events[-1].cursor


def test_readers_at_one_position_share_a_frame() -> None:
    """It is one object, encoded once, also for who stands at a number that the filter left out."""
    channel = filled(1, 3, 5)
    frame = channel.frame(1, 10, 10**9)
    assert frame is not None
    assert channel.frame(1, 10, 10**9) is frame
    assert channel.frame(2, 10, 10**9) is frame
    assert channel.frame(1, 10, 10**9).text is frame.text  # type: ignore[union-attr]  # it is `frame`


@pytest.mark.parametrize(("after", "limit", "room"), [(0, 10, 10**9), (2, 1, 10**9), (2, 10, 1)])
def test_another_cut_is_another_frame(after: int, limit: int, room: int) -> None:
    """What is shared is never the answer to another question."""
    channel = filled(1, 3, 5)
    assert frame_of(channel, 2) == [3, 5]
    assert sequences(channel.frame(after, limit, room)) != [3, 5]
    assert frame_of(channel, 2) == [3, 5]


def test_a_shared_frame_gives_way_to_news() -> None:
    """Who asks after an event came gets it, and bytes of an event are never copied."""
    channel = filled(1, 3)
    before = channel.frame(0, 10, 10**9)
    newest = stored(5)
    channel.append(newest)
    frame = channel.frame(0, 10, 10**9)
    assert sequences(before) == [1, 3]
    assert sequences(frame) == [1, 3, 5]
    assert frame is not None
    assert frame.events[-1].sse is newest.sse


@pytest.mark.parametrize(
    ("through", "start", "left"),
    [(0, 0, [1, 3, 5]), (1, 1, [3, 5]), (2, 1, [3, 5]), (4, 3, [5]), (5, 5, []), (9, 5, [])],
)
def test_a_channel_lets_go_of_what_left_the_tail(through: int, start: int, left: list[int]) -> None:
    """From then on it is complete after the last that it let go, and no frame of old times is handed out."""
    channel = filled(1, 3, 5)
    channel.frame(0, 10, 10**9)
    channel.forget(through)
    assert channel.start == start
    assert channel.pending(0) == len(left)
    assert frame_of(channel, start) == left


def test_letting_go_never_lowers_the_start() -> None:
    """A channel that began late is complete after its own beginning only."""
    channel = filled(8, origin=KEY.bare(7))
    channel.forget(5)
    assert channel.start == 7


def test_a_channel_that_begins_anew_has_forgotten() -> None:
    """Another log, another beginning."""
    channel = filled(1, 3)
    channel.frame(0, 10, 10**9)
    channel.restart(Cursor("other", 0))
    assert (channel.start, channel.origin, channel.before_newest()) == (0, Cursor("other", 0), None)
    assert channel.frame(0, 10, 10**9) is None


@pytest.mark.parametrize(
    ("numbers", "gone", "before"), [([8], 0, 7), ([8, 9], 0, 8), ([8, 12], 0, 8), ([8, 12], 8, 8), ([8, 9, 12], 9, 9)]
)
def test_the_position_before_the_newest_can_be_named(numbers: list[int], gone: int, before: int) -> None:
    """Where `skip` goes: the event before, or where the channel is complete from, whatever it has let go."""
    channel = filled(*numbers, origin=KEY.bare(7))
    channel.forget(gone)
    position = channel.before_newest()
    assert position is not None
    assert position.sequence == before
    assert frame_of(channel, position.sequence) == [numbers[-1]]


@pytest.mark.parametrize(("numbers", "before"), [([8], 7), ([8, 9], 8), ([8, 9, 12], 9)])
def test_the_position_before_a_match_that_is_gone_can_be_named(numbers: list[int], before: int) -> None:
    """The log may have it still."""
    channel = filled(*numbers, origin=KEY.bare(7))
    channel.forget(20)
    position = channel.before_newest()
    assert position is not None
    assert position.sequence == before


def test_who_waits_is_woken_once() -> None:
    """Waking empties the list: who wants to wait again says so again."""
    channel, bell = filled(), Bell()
    channel.idle.add(bell)
    channel.wake()
    channel.wake()
    assert bell.rung == 1


# All channels


def test_readers_with_one_filter_share_a_channel() -> None:
    """However they wrote it; it goes with the last of them."""
    channels = Channels()
    one = channels.join(Filter.of(ticket=["A", "b"]), ORIGIN)
    assert channels.join(Filter.of(ticket=["B ", "a"]), KEY.bare(9)) is one
    assert (len(channels), list(channels), one.start) == (1, [one], 0)
    channels.leave(one, Bell())
    assert len(channels) == 1
    channels.leave(one, Bell())
    assert len(channels) == 0


def test_who_leaves_is_woken_no_more() -> None:
    """A reader that went while it waited leaves nothing in the channel."""
    channels, bell = Channels(), Bell()
    channel = channels.join(Filter.of(), ORIGIN)
    channels.join(Filter.of(), ORIGIN)
    channel.idle.add(bell)
    channels.leave(channel, bell)
    channel.wake()
    assert bell.rung == 0


def test_an_old_channel_does_not_take_a_new_one_with_it() -> None:
    """Who comes back after the last one left gets a fresh channel, at the tail's end of now."""
    channels = Channels()
    old = channels.join(Filter.of(ticket="a"), ORIGIN)
    channels.leave(old, Bell())
    new = channels.join(Filter.of(ticket="a"), KEY.bare(5))
    assert new is not old
    assert new.start == 5
    assert list(channels.matching(Keys.of("a", None, None, "x"))) == [new]


NAMES = st.sampled_from(["a", "A", "b", "B", "c"])
TYPES = st.sampled_from(["a", "A", "a.b", "A.b", "a.b.c", "ab", "b", "b.a", "c"])
FIELDS = {"ticket": NAMES, "run_id": NAMES, "thread_id": NAMES, "event_type": TYPES}
WISH = st.fixed_dictionaries({}, optional={name: st.lists(values, max_size=3) for name, values in FIELDS.items()})


def narrowed(wish: dict[str, Any], narrowing: dict[str, Any]) -> Filter:
    """A filter of both."""
    return Filter.of(**wish).narrow(**narrowing)


NO_WISH: dict[str, Any] = {}
FILTERS = st.builds(narrowed, WISH, st.just(NO_WISH) | WISH)
EVENT_TYPES = TYPES.filter(str.islower)
KEYS = st.builds(Keys.of, NAMES, st.none() | NAMES, st.none() | NAMES, EVENT_TYPES)


def names(channels: list[Channel]) -> list[Filter]:
    """Channels by their filters, in an order of their own."""
    return sorted((channel.filter for channel in channels), key=repr)


@example([Filter.of().narrow(event_type=["a", "A.b"])], [Keys.of("a", None, None, "a.b")])
@given(st.lists(FILTERS, min_size=1, max_size=12, unique=True), st.lists(KEYS, min_size=1, max_size=12))
def test_an_event_meets_the_channels_that_match_each_once(filters: list[Filter], events: list[Keys]) -> None:
    """The index finds just what looking at every channel would find."""
    channels = Channels()
    joined = [channels.join(keep, ORIGIN) for keep in filters]
    for keys in events:
        assert names(list(channels.matching(keys))) == names([each for each in joined if each.filter.matches(keys)])


@given(st.lists(FILTERS, min_size=1, max_size=12), st.data(), st.lists(KEYS, min_size=1, max_size=8))
def test_leaving_removes_everything(filters: list[Filter], data: st.DataObject, events: list[Keys]) -> None:
    """In whatever order readers come and go: who is left is found, and in the end nothing is."""
    channels = Channels()
    joined = [channels.join(keep, ORIGIN) for keep in filters]
    while joined:
        channels.leave(joined.pop(data.draw(st.integers(0, len(joined) - 1))), Bell())
        for keys in events:
            assert names(list(channels.matching(keys))) == names(
                [each for each in set(joined) if each.filter.matches(keys)]
            )
    assert len(channels) == 0
    assert channels._by == {}  # pyright: ignore[reportPrivateUsage]  # the index must not grow with every filter ever used


@pytest.mark.parametrize(
    "wish",
    [
        {"ticket": "A"},
        {"run_id": "A"},
        {"thread_id": "A"},
        {"event_type": "a"},
        {"ticket": "A", "run_id": "A", "thread_id": "A", "event_type": "a"},
    ],
)
def test_an_event_does_not_look_at_channels_of_others(wish: dict[str, Any]) -> None:
    """Ten thousand filters of other tickets, runs, threads and types cost an event nothing."""
    looked: list[int] = []

    class Counting(Filter):
        """A filter that counts how often it is asked."""

        __slots__ = ()

        def matches(self, keys: Keys) -> bool:
            """Count, and answer."""
            looked.append(1)
            return super().matches(keys)

    channels = Channels()
    for number in range(10_000):
        other = {name: f"{value}{number}" for name, value in wish.items()}
        channels.join(Counting.of(**other), ORIGIN)
    mine = channels.join(Counting.of(**wish), ORIGIN)
    event: StoredEvent = stored(1, ticket="A", run_id="A", thread_id="A", event_type="a.b")
    assert list(channels.matching(event.keys)) == [mine]
    assert len(looked) == 1
