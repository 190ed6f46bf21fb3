"""One client's stream on its way: served by the fan-out while it keeps up, by a task of its own while it does not."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any

import anyio

from asgi_forum.errors import ForumError, TooSlow
from asgi_forum.frames import Frame
from asgi_forum.hub.fanout import CUT, Fanout, being_cancelled
from asgi_forum.hub.reader import Look
from asgi_forum.streams.feed import Feed
from asgi_forum.streams.sender import FAREWELL

__all__ = ["Line"]

_STAY = 3
"""Sends in a row that suspended, after which a stream keeps its task: behind some servers, and some middleware, each of them does."""

_TRY = 100
"""Frames after which such a stream is served like the others again, to see."""


_TURN = 4
"""Frames in a row after which others get their turn, whether or not sending has waited: `advance` sees to that, `look` does not."""


class Line(ABC):
    """
    Carries the frames of a feed to one client. The connection's own task is the one that waits for the client, in `serve`.

    At most one task works for it: the one that goes round in the fan-out, for one frame at a time while the reader stands at the
    tail's end and `send` does not suspend; else one of its own, until that is so again. A client that accepts nothing for
    `send_timeout` seconds is given up; once the stream has ended there is one second for all that is still sent.
    """

    __slots__ = (
        "_done",
        "_ended",
        "_failure",
        "_fanout",
        "_feed",
        "_free",
        "_scope",
        "_since",
        "_stopped",
        "_suspended",
        "_task",
    )

    def __init__(self, fanout: Fanout, feed: Feed) -> None:
        self._fanout = fanout
        self._feed = feed
        self._scope: anyio.CancelScope | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stopped = False
        self._since = math.inf
        self._free: anyio.Event | None = None
        self._suspended = 0
        self._ended: ForumError | None = feed.ended  # if so, there may be nobody any more who would notice
        self._failure: Exception | None = None
        self._done = feed.ended is not None
        feed.carrier = self

    # What each transport does in its way

    @abstractmethod
    def write(self, frame: Frame) -> Awaitable[None]:
        """Begin to send a frame. It may be awaited in any task, but never in two at once; `beat` is called between its pieces."""

    @abstractmethod
    async def listen(self) -> None:
        """Wait until the client has left."""

    # For the connection

    async def serve(self) -> ForumError | None:
        """
        Send until the client has left, or the stream ends; return the error that it ended with, if it did.

        When this returns nobody sends any more. Raises what `listen` and sending raise.
        """
        task = asyncio.current_task()
        cancelling = task.cancelling() if task else 0
        try:
            if not self._done:
                self._fanout.spawn(self)
                self._task = task
                await self.listen()
        except asyncio.CancelledError:
            # By a hand of our own, as asyncio.timeout does it: a cancel scope for each connection would cost a kilobyte.
            if not self._stopped or (task is not None and task.cancelling() > cancelling + 1):
                raise
        finally:
            self._task = None
            if self._stopped and task is not None:
                task.uncancel()
            await self._let_go()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            try:
                raise failure
            finally:
                del failure  # or it holds this call, which holds it
        return self._ended

    def end(self, error: ForumError) -> None:
        """End the stream with an error, at its next frame; one that is being sent has a second left. The first error counts."""
        self._feed.end(error)

    def beat(self) -> None:
        """Note that a client has accepted a piece of what is being sent."""
        if self._since < math.inf:
            self._since = self._fanout.now()

    def check(self, now: float) -> None:
        """Look at the clock: the watchdog calls this while a task of its own sends."""
        if now - self._since > self._feed.send_timeout and self._scope is not None:
            self._feed.end(TooSlow().at("send_timeout"))
            self._scope.cancel()

    # For the fan-out

    def wake(self) -> None:
        """Hear that there may be something to send."""
        self._fanout.enqueue(self)

    def take(self, now: float) -> Awaitable[None] | None:
        """Take the next frame, if it is there at once, and return the sending of it."""
        if self._done or self._scope is not None:
            return None
        try:
            frame = self._feed.look(now)
        except ForumError as error:
            self._finish(error)
            return None
        if frame is Look.WAITS:
            self._fanout.spawn(self)
            return None
        if frame is None:
            self._feed.reader.park(self)
            return None
        return self.write(frame)

    def sent(self) -> None:
        """Wait for the next frame, or for a turn where there is one already, or the end."""
        self._suspended = 0
        if self._feed.arrived is not None:
            self._feed.sent()
        if not self._done:
            if self._feed.reader.behind or self._feed.ended is not None:
                self._fanout.enqueue(self)
            else:
                self._feed.reader.park(self)

    def begun(self, scope: anyio.CancelScope, *, sending: bool) -> None:
        """Be worked for by a task of its own."""
        self._scope = scope
        self._feed.watch(self)
        if sending:
            self._suspended += 1
            self._since = self._fanout.now()
        if self._done:
            scope.cancel()

    async def work(self) -> None:
        """Send frame by frame until there is none to be had."""
        frames = 0
        self._feed.sent()  # what was being sent when the fan-out left this stream behind
        try:
            while not self._done:
                self._since = math.inf
                found = self._feed.look(self._fanout.now()) if frames % _TURN else Look.WAITS
                frame = await self._feed.advance() if found is Look.WAITS else found
                if frame is not None:
                    frames += 1
                    self._since = self._fanout.now()
                    await self.write(frame)
                    self._feed.sent()
                elif self._suspended < _STAY:
                    return
                else:
                    await self._feed.reader.wait()
                if frames > _TRY:
                    frames, self._suspended = 0, _STAY - 1
        except ForumError as error:
            self._finish(error)
        except Exception as error:
            self.failed(error)
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            self.failed(RuntimeError(CUT))

    def over(self, scope: anyio.CancelScope) -> None:
        """Wait for the next frame, or, where it was given up, have the connection's task say goodbye."""
        cut = self._since < math.inf
        self._scope = None
        self._since = math.inf
        self._feed.forget(self)
        if self._free is not None:
            self._free.set()
        if scope.cancelled_caught or self._feed.ended is not None:
            self._finish(self._feed.ended or TooSlow())
        elif cut:
            self.failed(RuntimeError(CUT))
        elif not self._done:
            if self._feed.reader.idle:
                self._feed.reader.park(self)
            else:
                self._fanout.enqueue(self)

    def failed(self, error: Exception) -> None:
        """Have the connection's task raise it."""
        if not self._done:
            self._failure = error
            self._done = True
            self._stop_listening()

    def _finish(self, error: ForumError) -> None:
        if not self._done:
            self._done = True
            # Where it was raised holds the stream, and one error may end them all.
            self._ended = error.with_traceback(None)
            self._stop_listening()

    def _stop_listening(self) -> None:
        if self._task is not None:
            self._stopped = True
            self._task.cancel()

    def hurry(self) -> None:
        """Hear that the feed has ended: what is being sent has a second left, and who waits is told at once."""
        self._fanout.leave(self)
        if self._scope is not None:
            self._scope.deadline = min(self._scope.deadline, self._fanout.now() + FAREWELL)
        elif self._feed.ended is not None:
            self._finish(self._feed.ended)

    async def _let_go(self) -> None:
        """Stop what works for it, and wait until it has: the server must not be sent anything after this."""
        self._done = True
        self._feed.carrier = None
        self._fanout.leave(self)
        if self._scope is None:
            return
        self._free = anyio.Event()
        self._scope.cancel()
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            while not self._free.is_set():
                try:
                    await self._free.wait()
                except asyncio.CancelledError as again:  # by the server, which knows no shield
                    cancelled = again
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled  # or it holds this call, which holds it
