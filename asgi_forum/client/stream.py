"""A stream that resumes by itself: the shell around the rules of `resume`, `backoff` and `refusals`."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import anyio

from asgi_forum.client.address import Address
from asgi_forum.client.backoff import Backoff
from asgi_forum.client.connection import Connection, Dialer, Lost, Request
from asgi_forum.client.refusals import ends_for_good, error_of
from asgi_forum.client.resume import Resumption
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ForumClosed, ForumError, ForumReset, InvalidCursor
from asgi_forum.frames import ErrorFrame, EventsFrame, Frame, HeartbeatFrame, LiveFrame, ResetFrame

__all__ = ["ForumStream", "Headers"]

Headers = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
"""
Headers for every request, or what returns them: called before each connection, so a token that expires can be
renewed.
"""

logger: logging.Logger = logging.getLogger("asgi_forum.client")

_GOODBYE = 3.0


class ForumStream:
    """
    The events of a forum, across lost connections and restarts of the server: each once, in order of sequence.

    Use it as `async with connect(...) as events:` and iterate over it. Entering the block waits until the forum has
    answered with
    a first frame: from then on no event is missed. Iterating without the block works too, but then `aclose()` is
    yours to call.

    Iterating raises ForumReset where events can't be delivered (iterating again goes on), and the refusal where it
    will not pass (BadRequest, Unauthorized, Forbidden, NotFound); while the forum can't be reached it waits and tries
    again, without end. Cancelling is safe: no event is lost. Over SSE it costs a new connection, so there
    `move_on_after` around every single event is dear. For one task at a time; a second one gets anyio's
    BusyResourceError.
    """

    def __init__(
        self,
        address: Address,
        filters: Sequence[tuple[str, str]],
        resumption: Resumption,
        dialer: Dialer,
        backoff: Backoff,
        headers: Headers,
    ) -> None:
        self._address = address
        self._filters = filters
        self._resumption = resumption
        self._dialer = dialer
        self._backoff = backoff
        self._headers = headers
        self._connection: Connection | None = None
        self._frames: deque[Frame] = deque()
        self._events: deque[StoredEvent] = deque()
        self._not_before = 0.0
        self._failure: ForumError | None = None
        self._answered = False
        self._closed = False
        self._guard = anyio.ResourceGuard("iterating over")
        self._cursor = resumption.given
        self._live = False
        self._degraded = False
        self._trouble: ForumError | None = None

    @property
    def cursor(self) -> str | None:
        """
        The position just after what iterating returned last: what to keep, to go on from later or elsewhere.

        It also moves past events that the filters left out. None until the forum has told one.
        """
        return self._cursor

    @property
    def connected(self) -> bool:
        """Whether there is a connection just now."""
        return self._connection is not None

    @property
    def live(self) -> bool:
        """Whether stored history is delivered, and the stream waits for new events."""
        return self._live and self.connected

    @property
    def degraded(self) -> bool:
        """Whether the forum has said that it can't reach its source just now; the stream goes on when it can."""
        return self._degraded

    @property
    def trouble(self) -> ForumError | None:
        """Why there is no connection just now; None while there is one, or none was tried."""
        return self._trouble

    async def __aenter__(self) -> Self:
        try:
            with self._guard:
                while not self._answered:
                    await self._receive()
        except BaseException:
            await self.aclose()
            raise
        first = self._frames[0]
        if isinstance(first, LiveFrame | HeartbeatFrame) and first.next_cursor:
            self._cursor = first.next_cursor  # nothing lies before it
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StoredEvent:
        with self._guard:
            while not self._events:
                frame = await self._next_frame()
                if isinstance(frame, EventsFrame):
                    self._events.extend(frame.events)
                elif isinstance(frame, ResetFrame):
                    raise ForumReset(frame.reason, frame.next_cursor)
            event = self._events.popleft()
            self._cursor = event.cursor
            return event

    async def frames(self) -> AsyncIterator[Frame]:
        """
        Yield every frame, of each connection, without end: events, heartbeats, resets (not raised), and the server's
        farewells.

        Over SSE, events that came together are one frame, whose `sent_at` is when they came.
        """
        while True:
            with self._guard:
                if self._events:  # what an iteration over events has left of its frame
                    frame: Frame = EventsFrame(tuple(self._events), self._events[-1].cursor)
                    self._events.clear()
                else:
                    frame = await self._next_frame()
            if isinstance(frame, EventsFrame):
                self._cursor = frame.next_cursor
            yield frame

    async def aclose(self) -> None:
        """Close the connection; iterating then raises ForumClosed. Takes at most a few seconds, also when cancelled."""
        self._closed = True
        self._frames.clear()
        self._events.clear()
        await self._drop()
        with anyio.move_on_after(_GOODBYE, shield=True):
            await self._dialer.aclose()

    async def _next_frame(self) -> Frame:
        while not self._frames:
            await self._receive()
        frame = self._frames.popleft()
        if isinstance(frame, HeartbeatFrame):
            self._degraded = bool(frame.degraded)
        elif isinstance(frame, LiveFrame):
            self._live, self._degraded = True, False
        elif isinstance(frame, ResetFrame):
            self._live = False
        if isinstance(frame, HeartbeatFrame | LiveFrame | ResetFrame) and frame.next_cursor:
            self._cursor = frame.next_cursor
        return frame

    async def _receive(self) -> None:
        """Get what comes next, connecting first if need be; nothing may have come when it returns."""
        if self._closed:
            raise ForumClosed("this stream is closed")
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        try:
            connection = self._connection or await self._connect()
            frames = await connection.receive()
        except Lost as lost:
            await self._lost(lost)
        except InvalidCursor:
            reset = self._resumption.start_over()
            if reset is None:
                raise
            self._frames.append(reset)
        except BaseException as error:
            cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            if not (cancelled and self._connection and self._connection.survives_cancelling):
                await self._drop()
            raise
        else:
            await self._take(frames, connection)

    async def _connect(self) -> Connection:
        await anyio.sleep_until(self._not_before)
        given = self._headers
        headers = given() if callable(given) else given
        if inspect.isawaitable(headers):
            headers = await headers
        start = self._resumption
        request = Request(self._filters, start.parameters(), start.resumes, headers)
        self._connection = await self._dialer.open(self._address, request)
        return self._connection

    async def _take(self, frames: Sequence[Frame], connection: Connection) -> None:
        if connection.retry_ms is not None:
            self._backoff.ask(connection.retry_ms)
        for frame in frames:
            fresh = self._resumption.take(frame)
            if fresh is not None:
                self._frames.append(fresh)
            if isinstance(frame, ErrorFrame):
                error = error_of(frame.code, frame.message)
                if ends_for_good(frame.code):
                    self._failure = error
                await self._lost(Lost(error))
                return
            self._contact()

    def _contact(self) -> None:
        self._answered = True
        self._backoff.succeeded()
        if self._trouble is not None:
            logger.info("%s: connected again", self._address.shown)
            self._trouble = None

    async def _lost(self, lost: Lost) -> None:
        delay = self._backoff.next_delay(lost.retry_after)
        self._not_before = anyio.current_time() + delay
        level = logging.WARNING if self._trouble is None else logging.DEBUG  # once for each time that it is lost
        self._trouble = lost.error
        logger.log(level, "%s: %s; next try in %.1f s", self._address.shown, lost.error, delay)
        await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._live = False
        if connection is not None:
            with anyio.move_on_after(_GOODBYE, shield=True):
                await connection.aclose()
