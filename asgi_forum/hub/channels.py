"""Channels: one for each filter that somebody reads with."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import product
from operator import attrgetter
from typing import Protocol

from asgi_forum.cursor import Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame, first_frame
from asgi_forum.models import Keys

__all__ = ["Channel", "Channels", "Waiter"]

_sequence = attrgetter("sequence")


class Waiter(Protocol):
    """Who can be woken when there is something to look at."""

    def wake(self) -> None:
        """Look again. Harmless at any time."""
        ...


def _nothing() -> None:
    """Whoever counts something else."""


class Channel:
    """
    The tail's events that match one filter, and who waits for more.

    Complete after the sequence `start`: that of `origin`, the tail's end when the channel began, until matching events leave the tail.
    newest: the sequence of its newest event, or of `origin`.

    Its readers share what is cut from it: the frame at one position is made, and encoded, once. `when_cut` is called for each that
    holds fewer events than it might, because of their bytes.
    """

    __slots__ = (
        "_asked",
        "_before",
        "_events",
        "_floor",
        "_frame",
        "_when_cut",
        "filter",
        "idle",
        "newest",
        "origin",
        "readers",
        "start",
    )

    def __init__(self, keep: Filter, origin: Cursor, when_cut: Callable[[], None] = _nothing) -> None:
        self._when_cut = when_cut
        self.filter: Filter = keep
        self.origin: Cursor = origin
        self._floor = origin
        self._before: Cursor | None = None
        self.start: int = origin.sequence
        self.newest: int = origin.sequence
        self.readers: int = 0
        self.idle: set[Waiter] = set()
        self._events: list[StoredEvent] = []
        self._asked = (-1, 0, 0)
        self._frame: tuple[tuple[int, int, int], EventsFrame] | None = None

    def append(self, event: StoredEvent) -> None:
        """Take a matching event; one that is there already is left alone."""
        if not self._events or self._events[-1].sequence < event.sequence:
            self._events.append(event)
            self.newest = event.sequence
            self._frame = None

    def forget(self, through: int) -> None:
        """Let go of the events up to a sequence: they have left the tail."""
        index = bisect_right(self._events, through, key=_sequence)
        if index:
            self._before = self._events[index - 2].position if index > 1 else self._floor
            self._floor = self._events[index - 1].position
            self.start = self._floor.sequence
            del self._events[:index]
            self._frame = None

    def restart(self, origin: Cursor) -> None:
        """Forget all: the tail began anew."""
        self.origin = self._floor = origin
        self._before = None
        self.start = self.newest = origin.sequence
        self._events.clear()
        self._frame = None

    def pending(self, after: int) -> int:
        """Count the events after a sequence."""
        return len(self._events) - bisect_right(self._events, after, key=_sequence)

    def frame(self, after: int, limit: int, max_bytes: int) -> EventsFrame | None:
        """Return the next events after a sequence as a frame, the same object for all who ask at that position; None at the end."""
        if self.newest <= after:
            return None
        if self._asked == (after, limit, max_bytes) and self._frame is not None:
            return self._frame[1]
        if not self._events:
            return None
        self._asked = (after, limit, max_bytes)
        newest = len(self._events) - 1
        alone = newest == 0 or self._events[newest - 1].sequence <= after  # which is what most who keep up ask for
        first = newest if alone else bisect_right(self._events, after, key=_sequence)
        key = (self._events[first].sequence, limit, max_bytes)
        if self._frame is None or self._frame[0] != key:
            events = self._events[first : first + limit]
            frame = first_frame(events, limit, max_bytes, events[-1].cursor)
            if len(frame.events) < len(events):
                self._when_cut()
            self._frame = (key, frame)
        return self._frame[1]

    def before_newest(self) -> Cursor | None:
        """Return a position after which the newest matching event comes first; None where there was none in the channel's time."""
        if not self._events:
            return self._before  # it has left the tail, but not the log
        return self._events[-2].position if len(self._events) > 1 else self._floor

    def wake(self) -> None:
        """Wake who waits; each is waiting no more."""
        idle, self.idle = self.idle, set()
        for waiter in idle:
            waiter.wake()


class Channels:
    """
    All channels of a process, found by what an event carries.

    A channel stands in the index under every combination of the values that its filter names: a filter by ticket and run, under
    its (ticket, run) pairs. An event looks up its own combination for each kind that is in use, so it meets the channels that
    match, and hardly any other, however many there are.
    """

    __slots__ = ("_by", "_channels", "_when_cut")

    def __init__(self, when_cut: Callable[[], None] = _nothing) -> None:
        self._when_cut = when_cut
        self._channels: dict[Filter, Channel] = {}
        self._by: dict[_Kind, dict[_Values, list[Channel]]] = {}

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(tuple(self._channels.values()))

    def join(self, keep: Filter, end: Cursor) -> Channel:
        """Return the filter's channel, one reader richer; a new one begins at the tail's end."""
        channel = self._channels.get(keep)
        if channel is None:
            channel = self._channels[keep] = Channel(keep, end, self._when_cut)
            kind, places = _places(keep)
            for place in places:
                self._by.setdefault(kind, {}).setdefault(place, []).append(channel)
        channel.readers += 1
        return channel

    def leave(self, channel: Channel, waiter: Waiter) -> None:
        """Give a reader's place back; the last one takes the channel with it."""
        channel.idle.discard(waiter)
        channel.readers -= 1
        if channel.readers == 0 and self._channels.get(channel.filter) is channel:
            del self._channels[channel.filter]
            kind, places = _places(channel.filter)
            for place in places:
                self._by[kind][place].remove(channel)
                if not self._by[kind][place]:
                    del self._by[kind][place]
                if not self._by[kind]:
                    del self._by[kind]

    def matching(self, keys: Keys) -> list[Channel]:
        """Return the channels that an event belongs to, each once."""
        found: list[Channel] = []
        ticket, run_id, thread_id, event_type = keys.folded
        for (by_thread, by_ticket, by_run, by_type), index in self._by.items():
            head = (thread_id if by_thread else None, ticket if by_ticket else None, run_id if by_run else None)
            for within in _above(event_type) if by_type else _ANY:
                found += [each for each in index.get((*head, within), ()) if each.filter.matches(keys)]
        return found


_ANY = (None,)


@lru_cache(maxsize=256)
def _above(event_type: str) -> tuple[str, ...]:
    """Return a type, and all above it: `a`, `a.b` and `a.b.c` of `a.b.c`."""
    words = event_type.split(".")
    return tuple(".".join(words[:count]) for count in range(1, len(words) + 1))


_Kind = tuple[bool, bool, bool, bool]
_Values = tuple[str | None, str | None, str | None, str | None]

_COMBINATIONS = 256
"""The most places of one channel, but for the values of its first field: a field that would make more is left to the filter."""


def _places(keep: Filter) -> tuple[_Kind, list[_Values]]:
    """Return the fields that a channel is found by (thread, ticket, run, type), and every combination of their values."""
    allowed = keep.allowed
    columns: list[list[str | None]] = []
    size = 1
    for name, values in (
        ("thread", keep.thread_ids or allowed.thread_ids),
        ("ticket", keep.tickets or allowed.tickets),
        ("run", keep.run_ids or allowed.run_ids),
        ("type", keep.types or allowed.types),
    ):
        folded = None if values is None else frozenset(value.casefold() for value in values)
        if folded is None or (size > 1 and size * len(folded) > _COMBINATIONS):
            columns.append([None])
            continue
        column: list[str | None] = [value for value in folded if not _inside(name, value, folded)]
        columns.append(column)
        size *= max(len(column), 1)
    by_thread, by_ticket, by_run, by_type = (column != [None] for column in columns)
    return (by_thread, by_ticket, by_run, by_type), list(product(columns[0], columns[1], columns[2], columns[3]))


def _inside(name: str, value: str, values: frozenset[str]) -> bool:
    """Whether a type lies below another one of the set: the event would meet the channel twice."""
    return name == "type" and any(other != value and value.startswith(other + ".") for other in values)
