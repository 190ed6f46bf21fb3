"""The reader: a filter and a position in the log. All that is promised of delivery is decided here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from enum import Enum
from operator import attrgetter

from asgi_forum.cursor import Cursor, Start
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ForumError, ResetReason, TooSlow
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame, LiveFrame, ResetFrame, first_frame
from asgi_forum.hub.beginning import FAR, LookBack, judge
from asgi_forum.hub.channels import Channel, Waiter
from asgi_forum.hub.history import Step
from asgi_forum.hub.hub import Counters, Hub
from asgi_forum.hub.reads import BLOCK, Read, cut
from asgi_forum.settings import OnLag
from asgi_forum.sources.base import Page

__all__ = ["Look", "Reader"]

_keys = attrgetter("keys")

_SCAN = 1000
"""The most entries that one step examines, in a page or in the tail, before other tasks get their turn."""


class Look(Enum):
    """What a look finds beside a frame, or that there is none."""

    WAITS = "waits"


class Reader:
    """
    One client's position. Nothing of what it reads is its own: it costs a position, however far behind it is.

    It reads from its channel while its position lies there, from the tail where the channel is younger than its position, and
    else in pages from the source: positions in the same log, so there is no seam between history and live.

    One task at a time. The position moves only when a step returns, so cancelling any call is safe.

    idle: whether the last step found nothing to do. examined: how many entries were looked at, beside those of its channel.
    """

    __slots__ = (
        "_asked",
        "_channel",
        "_end",
        "_filter",
        "_history",
        "_hub",
        "_live",
        "_on_lag",
        "_origin",
        "_page_size",
        "_parked",
        "_position",
        "_room",
        "_search",
        "_start",
        "_waiting",
        "examined",
        "idle",
    )

    def __init__(self, hub: Hub, keep: Filter, start: Start, *, on_lag: OnLag | None = None) -> None:
        self._hub = hub
        self._on_lag = on_lag or hub.on_lag
        self._filter = keep
        self._start = start
        self._channel: Channel | None = None
        self._origin: Cursor | None = None
        self._position: Cursor | None = None
        self._live = False
        self._history = start.tail != 0
        self._page_size = 0
        self._room = hub.limits.frame_bytes
        self._waiting: asyncio.Future[None] | None = None
        self._parked: Waiter | None = None
        self._end = 0
        self._asked: tuple[tuple[Callable[[int, int], Read], int, int], Read] | None = None
        self._search: LookBack | None = None
        self.examined: int = 0
        self.idle: bool = False
        hub.enter(self)

    # What others may know of it

    @property
    def cursor(self) -> str | None:
        """The position, safe to resume from; None while `latest`, `tail` or a number is not yet fixed."""
        if self._position is not None:
            self.settle()
            return str(self._position)
        return str(self._start.cursor) if self._start.cursor else None

    @property
    def position(self) -> Cursor | None:
        """The position, once it is fixed."""
        return self._position

    @property
    def counters(self) -> Counters:
        """Where to count what became of this reader."""
        return self._hub.counters

    @property
    def live(self) -> bool:
        """Whether it has come to the log's end since it began, or was reset."""
        return self._live

    @property
    def lag(self) -> int:
        """
        How many entries lie between the position and the tail's end; 0 where the filter is known to leave them all out. For any thread.
        """
        position, end, channel = self._position, self._hub.tail.end, self._channel
        if position is None or end is None or position.epoch != end.epoch:
            return 0
        if channel is not None and max(channel.start, channel.newest) <= position.sequence:
            return 0
        return max(end.sequence - position.sequence, 0)

    @property
    def sequence(self) -> int:
        """The sequence of the position; 0 while it is not fixed."""
        return self._position.sequence if self._position else 0

    @property
    def at_end(self) -> bool:
        """Whether nothing lies between the position and the log's end, as last seen."""
        self.settle()
        tail_end = self._hub.tail.end
        end = (
            max(self._end, tail_end.sequence)
            if tail_end and self._position and tail_end.epoch == self._position.epoch
            else self._end
        )
        return self.sequence >= end

    def settle(self) -> None:
        """Move past what the channel has looked at and left out."""
        channel, position, end = self._channel, self._position, self._hub.tail.end
        if channel is None or position is None or end is None or position.epoch != end.epoch:
            return
        if channel.start <= position.sequence < end.sequence and not channel.pending(position.sequence):
            self._position = end

    @property
    def behind(self) -> bool:
        """Whether its channel has something for it already."""
        channel, position = self._channel, self._position
        return channel is None or position is None or channel.newest > position.sequence

    def wake(self) -> None:
        """Make a waiting call look again, or call who is parked."""
        if self._waiting is not None:
            if not self._waiting.done():
                self._waiting.set_result(None)
        elif (parked := self._parked) is not None:
            self._parked = None
            if self._channel is not None:
                self._channel.idle.discard(self)
            parked.wake()

    def park(self, waiter: Waiter) -> None:
        """Wait without a task: `waiter` is woken, once, when there may be something to look at. Look first, as for `wait`."""
        self._parked = waiter
        if self._channel is not None:
            self._channel.idle.add(self)

    def close(self) -> None:
        """Leave the hub. Harmless when closed."""
        self._parked = None
        self._leave_channel()
        self._hub.leave(self)

    # Steps

    async def wait(self) -> None:
        """Wait until there may be something to look at; nothing is promised. Look first, and don't await in between."""
        self._waiting = (
            asyncio.get_running_loop().create_future()
        )  # a third of what an Event costs, for each delivery that waits
        if self._channel is not None:
            self._channel.idle.add(self)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if self._channel is not None:
                self._channel.idle.discard(self)

    async def begin(self) -> ResetFrame | None:
        """
        Fix the starting position now, and return the reset if it can't be served. Harmless when it is fixed.

        A cursor is left to the first step: it is a position as it stands. Raises SourceUnavailable.
        """
        if self._position is None and self._start.tail is not None:
            await self._look_back(self._start.tail)
            if self._position is not None:
                self._join(self._position)  # from now on the channel gathers what it may be slow to read
        elif self._position is None and self._start.cursor is None:
            return self._arrive(
                await self._page(self._hub.reads.read, min(self._start.sequence or 0, FAR), 0), self._start
            )
        return None

    def look(self, limit: int) -> EventsFrame | Look | None:
        """
        Take the next frame where it lies in memory, at once; None where there is nothing to do, WAITS where it takes a `step`.

        For a reader that is live and keeps up, that is all there is to do; it costs a fraction of a step.
        """
        channel, position = self._channel, self._position
        if (
            channel is None
            or position is None
            or not self._live
            or channel.origin is not self._origin
            or position.sequence < channel.start
            or (self._on_lag != "resume" and self._lags(channel, position))
        ):
            return Look.WAITS
        frame = channel.frame(position.sequence, limit, self._hub.limits.frame_bytes)
        if frame is not None:
            self._position = frame.position
        return frame

    async def step(
        self, limit: int, *, join: bool = True, most: int = _SCAN, room: int | None = None
    ) -> EventsFrame | LiveFrame | ResetFrame | None:
        """
        Do one bounded piece of work: return a frame, or None where the position only moved, or could not (then `idle` is set).

        It examines at most `most` entries; `room` is what a frame may hold in bytes (Limits.frame_bytes), but for a first event.
        With `join` false it joins no channel, and is idle at the log's end. Raises SourceUnavailable (the position stays), TooSlow.
        """
        found = self.step_at_once(limit, join=join, most=most, room=room)
        if found is not Look.WAITS:
            return found
        if self._position is None and self._start.tail is not None:
            await self._look_back(self._start.tail)
            return None
        return await self._from_source(limit, min(most, _SCAN), join=join)

    def step_at_once(
        self, limit: int, *, join: bool = True, most: int = _SCAN, room: int | None = None
    ) -> EventsFrame | LiveFrame | ResetFrame | Look | None:
        """Do what `step` does where that needs nothing of the source; WAITS, with nothing done, where it does."""
        self.idle = False
        self._room = room or self._hub.limits.frame_bytes
        if (
            self._position is None
            and self._start.cursor is not None
            and join
            and self._hub.tail.knows(self._start.cursor)
        ):
            self._position = self._start.cursor
        if self._position is None:
            return Look.WAITS
        if (join or self._channel is not None) and (channel := self._join(self._position)) is not None:
            return self._from_memory(channel, self._position, limit, min(most, _SCAN))
        return self._from_history(self._position, limit, min(most, _SCAN), join=join)

    # From memory

    def _join(self, position: Cursor) -> Channel | None:
        """Return the filter's channel, if what follows the position lies there, or in the tail; else leave it."""
        channel, end = self._channel, self._hub.tail.end
        if end is None or position.epoch != end.epoch:
            self._leave_channel()
            return None
        if channel is not None and channel.origin is not self._origin:
            # The tail has begun anew: what lies in between, and whether it can be had, only the source can say.
            self._leave_channel()
            channel = None
        if channel is not None and (position.sequence >= channel.start or self._lags(channel, position)):
            return channel
        if not self._hub.tail.covers(position):
            if channel is not None and self._live:
                self._hub.counters.demotions += 1
            self._leave_channel()
            return None
        if channel is None:
            channel = self._channel = self._hub.channels.join(self._filter, end)
            self._origin, self._filter = channel.origin, channel.filter  # an equal one, which all its readers share
        return channel

    def _lags(self, channel: Channel, position: Cursor) -> bool:
        """Whether the policy for slow clients applies: to readers that were live, and fell behind."""
        if not self._live or self._on_lag == "resume":
            return False
        max_lag = self._hub.limits.max_lag
        if max_lag is not None:
            return channel.pending(position.sequence) > max_lag
        return position.sequence < channel.start and not self._hub.tail.covers(position)

    def _from_memory(
        self, channel: Channel, position: Cursor, limit: int, most: int
    ) -> EventsFrame | LiveFrame | ResetFrame | None:
        if not self._history and not self._live:
            return self._now_live()
        if self._lags(channel, position):
            return self._apply_policy(channel, position)
        if position.sequence < channel.start:
            return self._scan_tail(channel, position, limit, most)
        frame = channel.frame(position.sequence, limit, self._room)
        if frame is not None:
            self._position = frame.position
            return frame
        self.settle()
        return self._now_live()

    def _scan_tail(self, channel: Channel, position: Cursor, limit: int, most: int) -> EventsFrame | None:
        """Look for matches among entries that are older than the channel."""
        if (frame := self._follow(position, limit, most)) is not None:
            return frame
        count = min(max(limit, self._page_size), most)
        events = self._hub.tail.scan(position.sequence, channel.origin.sequence, count, self._filter)
        reached = events[-1].position if len(events) == count else channel.origin
        frame = self._deliver(events, reached, limit)
        self._examined(position, frame, reached, len(events), limit)
        return frame

    def _apply_policy(self, channel: Channel, position: Cursor) -> ResetFrame | None:
        if self._on_lag == "disconnect":
            raise TooSlow().at("max_lag")
        newest = channel.before_newest() or self._hub.tail.end or position
        if newest.sequence <= position.sequence:
            self._leave_channel()  # the newest match is the next one: nothing is to be skipped, and the source has it
            return None
        self._hub.counters.limit("max_lag")
        return self._reset("skipped", newest)

    def _now_live(self) -> LiveFrame | None:
        # While the source is away, nobody knows whether this is the end.
        if self._live or self._hub.degraded:
            self.idle = True
            return None
        self._live = True
        return self._hub.live_frame(self.cursor)

    # From the source

    def _from_history(
        self, position: Cursor, limit: int, most: int, *, join: bool
    ) -> EventsFrame | LiveFrame | ResetFrame | Look | None:
        """Go the way that others have just gone, or read what others have just read."""
        if self._asked is not None:
            return Look.WAITS
        if (frame := self._follow(position, limit, most)) is not None:
            return frame
        page = self._hub.reads.at_once(position, min(max(limit, self._page_size), most))
        return Look.WAITS if page is None else self._took(page, Start(cursor=position), limit, most, join=join)

    async def _from_source(self, limit: int, most: int, *, join: bool) -> EventsFrame | LiveFrame | ResetFrame | None:
        start = self._start if self._position is None else Start(cursor=self._position)
        asked = start.cursor.sequence if start.cursor else min(start.sequence or 0, FAR)
        page = await self._page_after(asked, min(max(limit, self._page_size), most))
        return self._took(page, start, limit, most, join=join)

    def _took(
        self, page: Page, start: Start, limit: int, most: int, *, join: bool
    ) -> EventsFrame | LiveFrame | ResetFrame | None:
        """Make of a page what there is to make of it, or take what another has made of the same."""
        begins = self._position is None
        reset = self._arrive(page, start)
        if reset is not None:
            return reset
        before = self._position or page.start
        if begins and (frame := self._follow(before, limit, most)) is not None:
            return frame
        frame = self._deliver(page.events, page.position, limit)
        self._examined(before, frame, page.position, max(page.position.sequence - before.sequence, 0), limit)
        if frame is None and page.position.sequence >= page.end.sequence:
            if not self._hub.live and join:
                return self._now_live()
            # At the end. If the tail is of another log, it will begin anew, and wake us. If it begins behind this page's end, the
            # page is the older one of the two: nobody would wake us, so look again.
            self.idle = not join or not self._hub.tail.belongs(page.position)
        return frame

    async def _page_after(self, sequence: int, limit: int) -> Page:
        """Read what follows a sequence: out of a block that others read too, where that is enough."""
        reads = self._hub.reads
        page: Page | None = None
        asked = (reads.read, sequence, limit)
        if limit <= BLOCK and (self._asked is None or self._asked[0] != asked):
            block = reads.block(sequence)
            page = cut(await self._page(reads.read, block, BLOCK), block, sequence, limit)
        if page is None or page.position.sequence <= sequence < page.end.sequence:
            page = await self._page(*asked)  # the block does not tell, or was too large
        return page

    async def _page(self, ask: Callable[[int, int], Read], sequence: int, limit: int) -> Page:
        """Read a page, or go on waiting for it where waiting was cancelled: a read may take longer than a heartbeat."""
        asked = (ask, sequence, limit)
        if self._asked is None or self._asked[0] != asked:
            self._asked = (asked, ask(sequence, limit))
        try:
            page = await self._asked[1].page()
        except ForumError:
            self._asked = None
            raise
        self._asked = None
        return page

    def _arrive(self, page: Page, start: Start) -> ResetFrame | None:
        """Take the verdict on where we stand."""
        self._end = page.end.sequence
        verdict = judge(start, page)
        if isinstance(verdict, Cursor):
            self._position = verdict
            return None
        return self._reset(verdict, page.start)

    def _deliver(self, examined: Sequence[StoredEvent], reached: Cursor, limit: int) -> EventsFrame | None:
        """Make a frame of what matches, and move: to `reached`, or to the last event that found room."""
        events = self._passing(examined)
        if not events:
            self._position = reached
            return None
        frame = first_frame(events, limit, self._room, str(reached))
        found = len(frame.events)
        if found < min(limit, len(events)) and self._room == self._hub.limits.frame_bytes:
            self._hub.counters.limit("frame_bytes")
        self._position = reached if found == len(events) else frame.position
        # A full one has who comes next by the step that led here.
        return frame if found == limit else self._hub.history.frame(self._filter, frame)

    def _passing(self, examined: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
        """Return the events that the filter keeps: each kind is asked for once."""
        kinds = set(map(_keys, examined))
        kept = set(filter(self._filter.matches, kinds))
        return examined if len(kept) == len(kinds) else [event for event in examined if event.keys in kept]

    def _follow(self, position: Cursor, limit: int, most: int) -> EventsFrame | None:
        """Take the step that another reader has just taken from here, if one has."""
        step = self._hub.history.step(self._filter, position, limit, self._room)
        if step is None or step.examined > most:
            return None
        self._position, self._page_size = step.reached, limit
        self._end = max(self._end, step.end)
        self.examined += step.examined
        return step.frame

    def _examined(self, before: Cursor, frame: EventsFrame | None, through: Cursor, count: int, limit: int) -> None:
        """Note that so many entries were looked at, and what that says of the next ones; let others have a frame that came of it."""
        self.examined += count
        # A filter that leaves most out is worth larger pages; a frame that had no room for more, or a page with few entries, is not.
        found = len(frame.events) if frame else 0
        sparse = self._position == through and found * 2 < min(limit, count)
        self._page_size = min(max(limit, self._page_size) * 4, _SCAN) if sparse else limit
        if frame is not None and self._position is not None and len(frame.events) == limit:
            end = max(self._end, self._position.sequence)
            step = Step(frame, self._position, end, count, time.monotonic())
            self._hub.history.taken(self._filter, before, limit, self._room, step)

    def _reset(self, reason: ResetReason, at: Cursor) -> ResetFrame:
        self._leave_channel()
        self._position = at
        self._live = False
        self._history = True
        self._hub.counters.reset(reason)
        return ResetFrame(reason, str(at))

    async def _look_back(self, count: int) -> None:
        """Find the position from which the last `count` matching events follow; it is set when found, and not before."""
        if self._search is None:
            self._search = LookBack(self._filter, count, self._hub.limits.lookback)
        reads = self._hub.reads
        at, end = await self._search.run(
            lambda: self._page(reads.read, FAR, 0), lambda before, limit: self._page(reads.read_before, before, limit)
        )
        self._end = end.sequence
        self._position = at
        if self._search.gave_up:
            self._hub.counters.limit("lookback")

    def _leave_channel(self) -> None:
        if self._channel is not None:
            self._hub.channels.leave(self._channel, self)
            self._channel = None
