"""What one stream sends next: its reader's frames, heartbeats in between, and the reason why it ends."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import anyio
import anyio.lowlevel

from asgi_forum.errors import ForumClosed, ForumError, SourceUnavailable, TooSlow
from asgi_forum.frames import EventsFrame, Frame, HeartbeatFrame, ResetFrame
from asgi_forum.hub.hub import Hub
from asgi_forum.hub.reader import Look, Reader
from asgi_forum.hub.watchdog import Watchdog, Watched
from asgi_forum.streams.pacing import Budget
from asgi_forum.streams.sender import Sender

__all__ = ["Ending", "Feed"]

_TURNS = 4
"""
Frames in a row after which other tasks get their turn, whether or not sending has waited: whoever watches for the client's leaving is
one of them, and from the fifth write on asyncio complains of each that goes to nobody.
"""

BEGIN = 1.0
"""Seconds that the beginning of a stream waits for the source, to fix where it begins."""

RETRY = 1.0
"""Seconds after which a reader that alone could not reach the source tries again; spread by half."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A time (of the loop's clock) at which a stream ends, and the error that it ends with."""

    at: float
    error: ForumError


class Carrier(Protocol):
    """Who carries a feed's frames to the client."""

    def hurry(self) -> None:
        """Hear that the feed has ended."""
        ...


class Feed:
    """
    One stream, whatever carries it. `next()` waits for the next frame; it raises the ForumError that ends the stream.

    One task at a time. Cancelling `next()` is safe. `close()` when done.

    arrived: when the newest event of a frame came that is being sent to a live reader (`time.monotonic`); call `sent` then.
    """

    __slots__ = (
        "_away",
        "_beginning",
        "_budget",
        "_due",
        "_ended",
        "_ending",
        "_hub",
        "_interval",
        "_limit",
        "_open",
        "_recoveries",
        "_retry_at",
        "_sender",
        "_stepping",
        "_told_degraded",
        "_turns",
        "_watchdog",
        "arrived",
        "carrier",
        "reader",
    )

    def __init__(
        self,
        hub: Hub,
        reader: Reader,
        watchdog: Watchdog,
        *,
        limit: int,
        heartbeat: float,
        ending: Ending | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._hub = hub
        self._watchdog = watchdog
        self._limit = limit
        self._interval = heartbeat
        self._due = anyio.current_time() + heartbeat
        self._ending = ending
        self._budget = budget
        self._ended: ForumError | None = None
        self._open = True
        self._told_degraded = False
        self._away = False
        self._retry_at = 0.0
        self._recoveries = 0
        self._turns = 0
        self._stepping: anyio.CancelScope | None = None
        self._beginning: anyio.CancelScope | None = None
        self.arrived: float | None = None
        self.carrier: Carrier | None = None
        self._sender = Sender(hub.limits.send_timeout)
        self.reader: Reader = reader
        watchdog.watch(self)

    @property
    def ended(self) -> ForumError | None:
        """The error that the stream ends with, once it is to end."""
        return self._ended

    @property
    def send_timeout(self) -> float:
        """Seconds that a client may accept nothing of what is sent."""
        return self._hub.limits.send_timeout

    def watch(self, watched: Watched) -> None:
        """Have somebody else told the time too."""
        self._watchdog.watch(watched)

    def forget(self, watched: Watched) -> None:
        """Stop that."""
        self._watchdog.forget(watched)

    def end(self, error: ForumError) -> None:
        """End the stream with an error, at its next frame; one that is being sent has a second left. The first error counts."""
        self._ended = self._ended or error
        self._sender.leave()
        self.reader.wake()
        for scope in (self._beginning, self._stepping):
            if scope is not None:
                scope.cancel()
        if self.carrier is not None:
            self.carrier.hurry()

    def close(self, *, began: bool = True) -> None:
        """Let go of the reader; count how the stream ended, unless it never `began` (and was refused). Harmless when closed."""
        self._watchdog.forget(self)
        self.reader.close()
        ended, was_open, self._open = self._ended, self._open, False
        if (
            was_open and began and ended is not None and not isinstance(ended, ForumClosed)
        ):  # which is the host's own doing
            self._hub.counters.ending(ended)

    def check(self, now: float) -> None:
        """Look at the clock: the watchdog calls this a few times in each heartbeat."""
        if self._ending is not None and now >= self._ending.at:
            self.end(self._ending.error)
        self._sender.check(now)
        if not self._sender.busy and now >= self._due:
            self._watchdog.rouses()
            self.reader.wake()
            if self._stepping is not None:
                self._stepping.cancel()  # the source takes its time; the read goes on, and is waited for again

    async def begin(self) -> ResetFrame | None:
        """
        Fix the starting position, before the client hears that the stream began; return the reset if it can't be served.

        At most BEGIN seconds: where the source takes longer, or is away, the position is fixed at the first contact. Raises the
        ForumError that ends the stream meanwhile.
        """
        reset = None
        try:
            with anyio.move_on_after(BEGIN) as self._beginning:
                if self._ended is None:
                    reset = await self.reader.begin()
        except SourceUnavailable:
            pass
        finally:
            self._beginning = None
        if self._ended is not None:
            raise self._ended
        return reset

    async def next(self) -> Frame:
        """
        Wait for the next frame.

        Events come in order, at most `limit` in a frame. While the source is away this goes on with heartbeats, and waits. Raises
        the ForumError that ends the stream.
        """
        while (frame := await self.advance()) is None:
            await self.rest()
        return frame

    async def advance(self) -> Frame | None:
        """Return the next frame; None where there is nothing to do until the reader is woken. Else as `next`."""
        while (frame := await self.turn()) is None:
            if self._away:
                await self.rest()
            elif self.reader.idle:
                self._turns = 0
                return None
            else:
                await anyio.lowlevel.checkpoint()
        return frame

    async def turn(self) -> Frame | None:
        """Do one bounded piece of work; return the next frame, or None where there is none yet. Else as `next`."""
        if self._ended is not None:
            raise self._ended
        if self._turns >= _TURNS:  # before the position moves: a cancellation that comes here loses nothing
            self._turns = 0
            await anyio.lowlevel.checkpoint()
        frame = self._tell_degraded() or await self._step() or self._tell_alive()
        return None if frame is None else self._stamp(frame, asyncio.get_running_loop().time())

    async def rest(self) -> None:
        """After a turn without a frame: wait until there may be something to do, where there is nothing."""
        if self._away:
            with anyio.CancelScope(deadline=self._retry_at):
                await self.reader.wait()
        elif self.reader.idle:
            await self.reader.wait()

    def alive(self, now: float) -> Frame | None:
        """Return a heartbeat that is due while others have their turn; None where none is. Raises as `next`."""
        if self._ended is not None:
            raise self._ended
        frame = self._tell_degraded() or (self._heartbeat() if now >= self._due else None)
        return None if frame is None else self._stamp(frame, now)

    def look(self, now: float) -> Frame | Look | None:
        """
        Return the next frame where it is there at once; None where there is nothing to do until the reader is woken.

        WAITS where it takes `advance`. Raises the ForumError that ends the stream. `now` is the loop's time.
        """
        if self._ended is not None:
            raise self._ended
        frame: Frame
        if (self._hub.degraded or self._away) != self._told_degraded and (told := self._tell_degraded()) is not None:
            frame = told
        else:
            found = Look.WAITS if self._away else self.reader.look(self._limit)
            if found is Look.WAITS:
                return found
            if found is not None:
                frame = found
            elif now < self._due:
                return None
            else:
                frame = self._heartbeat()
        return self._stamp(frame, now)

    def sent(self) -> None:
        """Note that the last frame was sent, and how long after its newest event arrived in this process."""
        if self.arrived is not None:
            self._hub.counters.delays.add(time.monotonic() - self.arrived)
            self.arrived = None

    async def send(self, send: Callable[[], Awaitable[None]]) -> None:
        """
        Send a frame, or a piece of one, under the send deadline.

        Raises the ForumError that ends the stream where the client accepted nothing for that long; then nothing but a goodbye may follow.
        """
        try:
            await self._sender.send(send)
        except TooSlow as error:
            self._ended = self._ended or error
            raise self._ended from None

    async def _step(self) -> Frame | None:
        if self._away and not self._may_retry():
            return None
        frame = None
        try:
            found = self.reader.step_at_once(self._limit)
            if found is not Look.WAITS:
                self._away = False
                return found
            with anyio.CancelScope() as scope:
                self._stepping = scope
                frame = await self.reader.step(self._limit)
        except TooSlow as error:
            self._ended = error
            raise
        except SourceUnavailable:
            self._away = True  # the position has not moved
            self._recoveries = self._hub.recoveries
            self._retry_at = anyio.current_time() + RETRY * random.uniform(0.5, 1.5)
            return self._tell_degraded()
        finally:
            self._stepping = None
        if not scope.cancelled_caught:
            self._away = False
        return frame

    def _may_retry(self) -> bool:
        """Whether to look at the source again: it is back, or, where nobody else looks, some time has passed."""
        if self._hub.degraded:
            self._retry_at = math.inf
            return False
        return self._hub.recoveries != self._recoveries or anyio.current_time() >= self._retry_at

    def _tell_degraded(self) -> HeartbeatFrame | None:
        degraded = self._hub.degraded or self._away
        if degraded == self._told_degraded:
            return None
        self._told_degraded = degraded
        return self._heartbeat()

    def _tell_alive(self) -> HeartbeatFrame | None:
        return self._heartbeat() if anyio.current_time() >= self._due else None

    def _heartbeat(self) -> HeartbeatFrame:
        return self._hub.heartbeat_frame(self.reader.cursor, self._told_degraded)

    def _stamp(self, frame: Frame, now: float) -> Frame:
        # For each delivery: what is called here costs as much as what is done.
        self._due = now + self._interval
        counters = self._hub.counters
        counters.frames += 1
        counters.bytes += frame.size
        if self._budget is not None:
            self._ended = self._ended or self._budget.spend(frame.size)
        if isinstance(frame, EventsFrame):
            counters.delivered += len(frame.events)
            if self.reader.live:
                self.arrived = self._hub.arrived(frame.events[-1].sequence)
        self._turns += 1
        return frame
