"""One page of JSON, at once or as soon as there is something (section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import anyio
import anyio.lowlevel
from pydantic_core import to_json
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from asgi_forum.cursor import EARLIEST
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import CursorExpired, ForumError, ShuttingDown, SourceUnavailable
from asgi_forum.frames import EventsFrame, ResetFrame
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.reader import Reader
from asgi_forum.hub.streams import Place
from asgi_forum.streams.bodies import answer_page
from asgi_forum.streams.opening import Door, of_age, of_authorization
from asgi_forum.streams.refusals import answer_nobody, refuse_http
from asgi_forum.streams.request import Asked, asked_by_query, asked_wait

__all__ = ["ForumPage", "read_page", "serve_page"]


@dataclass(frozen=True, slots=True)
class ForumPage:
    """
    Some matching events, oldest first, and where to go on: `next_cursor` also moves past what the filter left out.

    has_more: whether `next_cursor` lies before the log's end, even where `events` is empty.
    """

    events: Sequence[StoredEvent]
    next_cursor: str
    has_more: bool

    @property
    def json(self) -> bytes:
        """The page's JSON of section 6."""
        events = b",".join([event.json for event in self.events])
        return b'{"events":[%b],"next_cursor":%b,"has_more":%b}' % (
            events,
            to_json(self.next_cursor),
            to_json(self.has_more),
        )


class _Turn:
    """A page in the making; told to end, it answers with what it has."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.ended = False
        self.reading: anyio.CancelScope | None = None

    def end(self, error: ForumError) -> None:
        """Stop waiting. What the page has is an answer, so the error is not told."""
        del error
        self.ended = True
        self._reader.wake()
        if self.reading is not None:
            self.reading.cancel()


async def serve_page(scope: Scope, receive: Receive, send: Send, door: Door) -> None:
    """Answer `GET /events`. What waits has a place among the open streams, until its client has taken the answer."""
    connection = HTTPConnection(scope)
    running = door.running
    try:
        asked = asked_by_query(connection, default=EARLIEST)
        wait = asked_wait(connection)
        granted = await door.grant(connection, asked)
        asked = Asked(granted.filter, asked.start, asked.limit)
        for ending in (of_authorization(granted), of_age(running.limits)):
            if ending is not None:  # and a page that was asked to wait does, for a moment at least
                wait = min(wait, max(ending.at - anyio.current_time(), 0.001))
        with ExitStack() as stack:
            transfer = stack.enter_context(running.transfers.begun())
            place = None
            if wait > 0:
                address = connection.client.host if connection.client else None
                place = stack.enter_context(running.streams.granted("page", address, granted.identity))
                page = await _waiting_page(receive, running, asked, wait, place)
            else:
                page = await read_page(running, asked)
            if page is None:
                await answer_nobody(scope, send)
                return
            body = page.json
            del page  # what is sent has no need of the events
            transfer.add(len(body))
            await answer_page(scope, send, body, running, place)
    except ForumError as error:
        running.hub.counters.refusal(error)
        await refuse_http(scope, send, error)


async def _waiting_page(
    receive: Receive, running: Running, asked: Asked, wait: float, place: Place
) -> ForumPage | None:
    """Wait for a page; None where the client has left meanwhile."""
    page: ForumPage | None = None
    refusal: ForumError | None = None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            page = await read_page(running, asked, wait=wait, place=place)
        except ForumError as error:
            refusal = error
        tasks.cancel_scope.cancel()
    if refusal is not None:
        raise refusal
    return page


async def read_page(running: Running, asked: Asked, *, wait: float = 0.0, place: Place | None = None) -> ForumPage:
    """
    Read a page; with `wait` (seconds), wait so long for the first match, or until what holds `place` is told to end.

    One page examines at most `Limits.page_scan` entries. Raises CursorExpired where a stream would say `forum.reset`,
    SourceUnavailable.
    """
    reader = Reader(running.hub, asked.filter, asked.start, on_lag="resume")
    turn = _Turn(reader)
    if place is not None:
        place.hold(turn)
    try:
        return await _filled(running, reader, turn, asked.limit, anyio.current_time() + wait)
    finally:
        reader.close()


async def _filled(running: Running, reader: Reader, turn: _Turn, limit: int, deadline: float) -> ForumPage:
    """Go on until the page is full, has examined as much as it may, or is at the log's end, and need not wait there."""
    limits = running.limits
    events: list[StoredEvent] = []
    room = limits.page_bytes
    while True:
        if running.hub.degraded:
            raise SourceUnavailable
        over = bool(events) or turn.ended or anyio.current_time() >= deadline
        left = limits.page_scan - reader.examined
        frame = None
        with anyio.CancelScope() as turn.reading:
            frame = await reader.step(limit - len(events), join=not over, most=left, room=room)
        if turn.reading.cancelled_caught:  # the forum stops, and the source has not answered
            raise ShuttingDown
        if isinstance(frame, ResetFrame):
            if events:  # told by the next page, whose cursor is this one's
                return ForumPage(events, events[-1].cursor, has_more=True)
            raise CursorExpired(frame.reason, frame.next_cursor)
        if isinstance(frame, EventsFrame):
            events += frame.events
            room -= frame.size
        full = len(events) >= limit or room <= 0 or reader.examined >= limits.page_scan
        cursor = reader.cursor
        if cursor is not None and full and len(events) < limit:
            running.hub.counters.limit("page_bytes" if room <= 0 else "page_scan")
        if cursor is not None and (full or (over and reader.idle)):
            return ForumPage(events, cursor, not reader.at_end)
        if reader.idle:
            with anyio.CancelScope(deadline=deadline):
                await reader.wait()
        else:
            await anyio.lowlevel.checkpoint()
