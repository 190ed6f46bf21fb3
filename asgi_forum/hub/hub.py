"""The hub of one process: it takes what the live feed brings, and wakes who waits for it."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from asgi_forum.cursor import Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ForumError
from asgi_forum.frames import HeartbeatFrame, LiveFrame
from asgi_forum.hub.channels import Channel, Channels, Waiter
from asgi_forum.hub.history import History
from asgi_forum.hub.reads import SharedReads
from asgi_forum.hub.tail import Tail, cost
from asgi_forum.settings import Limits, OnLag
from asgi_forum.sources.base import EventSource, LiveSource, Page

__all__ = ["BUCKETS", "Counters", "Delays", "Hub", "Member"]

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of a histogram of delays, in seconds; what is above the last one has no bound."""

_ARRIVALS = 256
"""Pages of the live feed whose time of arrival is known: a reader that is further behind is late, not slow to be sent to."""


_NO_ARRIVAL: tuple[int, float | None] = (-1, None)

_MOMENT = 0.01
"""Seconds for which two frames that say the same may have the same `sent_at`."""


@dataclass(slots=True)
class Delays:
    """A histogram: how many delays were at most each of BUCKETS (but more than the one before), or above all; and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


@dataclass(slots=True)
class Counters:
    """What a process has counted since it began; `Forum.stats()` shows it."""

    published: int = 0
    duplicates: int = 0
    frames: int = 0
    delivered: int = 0
    bytes: int = 0
    demotions: int = 0
    resets: dict[str, int] = field(default_factory=dict[str, int])
    refusals: dict[str, int] = field(default_factory=dict[str, int])
    endings: dict[str, int] = field(default_factory=dict[str, int])
    limits: dict[str, int] = field(default_factory=dict[str, int])
    observer_errors: int = 0
    observer_skips: int = 0
    observer_stalls: int = 0
    source_errors: int = 0
    delays: Delays = field(default_factory=Delays)

    def reset(self, reason: str) -> None:
        """Count a reset by its reason."""
        _count(self.resets, reason)

    def refusal(self, error: ForumError) -> None:
        """Count a refusal by its code."""
        _count(self.refusals, error.code)
        self.limit(error.limit)

    def ending(self, error: ForumError) -> None:
        """Count a stream that the server ended, by the code that it ended with."""
        _count(self.endings, error.code)
        self.limit(error.limit)

    def limit(self, name: str | None) -> None:
        """Count that a limit was reached, by its name in `Limits`; None is none."""
        if name is not None:
            _count(self.limits, name)

    def snapshot(self) -> dict[str, Any]:
        """Return a copy. For any thread: each part is copied in one go."""
        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        delays = {"counts": list(self.delays.counts), "seconds": self.delays.seconds}
        tables = {name: dict(getattr(self, name)) for name in ("resets", "refusals", "endings", "limits")}
        return {**parts, **tables, "delays": delays}


def _count(table: dict[str, int], name: str) -> None:
    table[name] = table.get(name, 0) + 1


class Member(Waiter, Protocol):
    """A reader, as the hub knows it. lag: how many entries lie between its position and the tail's end."""

    @property
    def lag(self) -> int: ...

    def settle(self) -> None:
        """Move past what was looked at and did not match: the tail is about to begin anew."""
        ...


class Hub:
    """
    The tail, the channels, and the readers of one process. Never waits; for the event loop's thread only.

    `accept` is the one way in for live pages, and its order matters: the tail and the channels first, then who waits.
    """

    def __init__(self, source: EventSource, limits: Limits, on_lag: OnLag) -> None:
        self.source: EventSource = source
        self.limits: Limits = limits
        self.on_lag: OnLag = on_lag
        self.live: bool = isinstance(source, LiveSource)
        self.degraded: bool = False
        self.recoveries: int = 0
        self.counters: Counters = Counters()
        self.channels: Channels = Channels(self._cut)
        self.reads: SharedReads = SharedReads(source, limits.catch_up_reads, limits.tail_bytes)
        self.tail: Tail = Tail(limits.tail_bytes, self._dropped)
        self.closed: bool = False
        self._members: set[Member] = set()
        self._unswept = 0
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=_ARRIVALS)
        self._arrival = _NO_ARRIVAL
        self.history: History = History(limits.tail_bytes)
        self._moment: tuple[object, float, LiveFrame | HeartbeatFrame] | None = None

    @property
    def lag(self) -> int:
        """How many entries the slowest reader is behind. Looks at all readers; for any thread."""
        return max((member.lag for member in tuple(self._members)), default=0)

    def arrived(self, sequence: int) -> float | None:
        """Return when the live feed brought an entry, by `time.monotonic`; None where that was too long ago, or not so."""
        if self._arrival[0] != sequence:
            self._arrival = (
                sequence,
                self._look_up_arrival(sequence),
            )  # the next one to ask is at the same event, mostly
        return self._arrival[1]

    def live_frame(self, cursor: str | None) -> LiveFrame:
        """Make a `forum.live`; readers that get there in one moment share it."""
        made = self._shared(("live", cursor), lambda: LiveFrame("push" if self.live else "heartbeat", cursor))
        assert isinstance(made, LiveFrame)
        return made

    def heartbeat_frame(self, cursor: str | None, degraded: bool) -> HeartbeatFrame:
        """Make a heartbeat; streams at one position whose heartbeats are due in one moment share it."""
        made = self._shared((degraded, cursor), lambda: HeartbeatFrame(cursor, degraded or None))
        assert isinstance(made, HeartbeatFrame)
        return made

    def _shared(self, key: object, make: Callable[[], LiveFrame | HeartbeatFrame]) -> LiveFrame | HeartbeatFrame:
        now = time.monotonic()
        if self._moment is None or self._moment[0] != key or now - self._moment[1] > _MOMENT:
            self._moment = (key, now, make())
        return self._moment[2]

    def _look_up_arrival(self, sequence: int) -> float | None:
        if not self._arrivals or sequence <= self._arrivals[0][0]:
            return None  # of the oldest page that is known nobody knows where it began
        found = None
        for through, at in reversed(self._arrivals):
            if through < sequence:
                break
            found = at
        return found

    def accept(self, page: Page) -> None:
        """Take a page of the live feed; one that does not continue the tail makes it begin anew, and readers look for themselves."""
        if self.closed:
            return
        self.tail.retained = page.start.sequence
        if not self._continues(page):
            self.begin(page.position)
            return
        touched: list[Channel] = []
        for event in page.events:
            for channel in self.channels.matching(event.keys):
                channel.append(event)
                touched.append(channel)
        # The end moves before anybody is woken: a reader that finds nothing moves to it.
        self.tail.extend(page.events, page.position)
        self._arrivals.append((page.position.sequence, time.monotonic()))
        self._arrival = _NO_ARRIVAL
        self._sweep()
        for channel in touched:
            channel.wake()

    def begin(self, at: Cursor) -> None:
        """Start the tail at a position, now or anew; every reader looks where it stands."""
        for member in self._members:
            member.settle()
        self.tail.restart(at)
        self._arrivals.clear()
        self._arrivals.append((at.sequence, time.monotonic()))
        self._arrival = _NO_ARRIVAL
        for channel in self.channels:
            channel.restart(at)
        self._unswept = 0
        self.wake_all()

    def close(self) -> None:
        """Take no more pages, and forget all: the event loop of whoever waits here has closed."""
        self.closed = True
        self._members.clear()
        self.channels = Channels()
        self.tail = Tail(self.limits.tail_bytes, self._dropped)

    def reached(self) -> None:
        """Note that the source answers."""
        if self.degraded:
            self.degraded = False
            self.recoveries += 1
            self.wake_all()

    def lost(self) -> None:
        """Note that the source can't be reached."""
        self.counters.source_errors += 1
        if not self.degraded:
            self.degraded = True
            self.wake_all()

    def enter(self, member: Member) -> None:
        """Take a reader in."""
        self._members.add(member)

    def leave(self, member: Member) -> None:
        """Let a reader go. Harmless if it has gone."""
        self._members.discard(member)

    def wake_all(self) -> None:
        """Make every reader look again."""
        for member in tuple(self._members):
            member.wake()

    def _continues(self, page: Page) -> bool:
        end = self.tail.end
        if end is None or page.epoch != end.epoch:
            return False
        if page.anchor is not None:
            return page.anchor == str(end)
        # The entry at our end is not retained. Nothing lies between where nothing after it was trimmed.
        return page.start.sequence <= end.sequence <= page.position.sequence

    def _cut(self) -> None:
        self.counters.limit("frame_bytes")

    def _dropped(self, event: StoredEvent) -> None:
        self._unswept += cost(event)

    def _sweep(self) -> None:
        # A quiet channel would hold on to events that have left the tail. Looking at all channels at each event would cost every
        # event all filters; after an eighth of the tail it costs next to nothing, and the bound is exceeded by no more than that.
        if self._unswept * 8 > self.limits.tail_bytes and self.tail.start is not None:
            self._unswept = 0
            for channel in self.channels:
                channel.forget(self.tail.start.sequence)
