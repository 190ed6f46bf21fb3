"""One SSE client (section 4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from functools import partial

import anyio
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from asgi_forum.cursor import LATEST
from asgi_forum.errors import ForumError, TooSlow
from asgi_forum.frames import ErrorFrame, Frame
from asgi_forum.hub.fanout import Fanout
from asgi_forum.streams.feed import Feed
from asgi_forum.streams.line import Line
from asgi_forum.streams.opening import Door
from asgi_forum.streams.refusals import SSE_HEADERS, headers_of, refuse_sse, retry_line
from asgi_forum.streams.request import asked_by_query
from asgi_forum.streams.sender import FAREWELL, begun

__all__ = ["chunks", "farewell", "serve_sse"]


async def serve_sse(scope: Scope, receive: Receive, send: Send, door: Door) -> None:
    """Answer `GET /stream`: refuse, or stream until the client leaves or the stream ends."""
    connection = HTTPConnection(scope)
    try:
        asked = asked_by_query(connection, default=LATEST, resume=True)
        granted = await door.grant(connection, asked)
        address = connection.client.host if connection.client else None
        with door.running.streams.granted("sse", address, granted.identity) as place:
            start: Message = {"type": "http.response.start", "status": 200, "headers": headers_of(SSE_HEADERS)}
            if scope["method"] == "HEAD":
                await send(start)
                await send({"type": "http.response.body", "body": b""})
                return
            feed = await door.opened(asked, granted, scope, place)
            try:
                if not await begun(feed.send_timeout, partial(_begin, send, start)):
                    feed.end(TooSlow().at("send_timeout"))
                    return
                line = _SseLine(door.running.fanout, feed, receive, send)
                del connection, asked, granted, start  # a stream may be open for days, and cost no more than it needs
                if (ended := await line.serve()) is not None:
                    await farewell(send, ended)
            finally:
                feed.close()
    except ForumError as error:
        door.running.hub.counters.refusal(error)
        await refuse_sse(scope, send, error)


async def _begin(send: Send, start: Message) -> None:
    await send(start)
    # At once, before there is anything to say: some servers send the headers only with the first chunk.
    await send({"type": "http.response.body", "body": retry_line(), "more_body": True})


class _SseLine(Line):
    """A stream over SSE."""

    __slots__ = ("_receive", "_send")

    def __init__(self, fanout: Fanout, feed: Feed, receive: Receive, send: Send) -> None:
        super().__init__(fanout, feed)
        self._receive = receive
        self._send = send

    def write(self, frame: Frame) -> Awaitable[None]:
        """Send a frame, in pieces where it is long."""
        pieces = frame.sse_pieces
        if len(pieces) > 1:
            return self._write_all(pieces)
        return self._send({"type": "http.response.body", "body": pieces[0], "more_body": True})

    async def listen(self) -> None:
        """Wait for the disconnect: the only reliable sign that a client is gone; no server says it through `send`."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _write_all(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            self.beat()


async def farewell(send: Send, error: ForumError) -> None:
    """Say why, and end the response; bounded in time."""
    with anyio.move_on_after(FAREWELL):
        await send({"type": "http.response.body", "body": ErrorFrame.of(error).sse, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def chunks(feed: Feed) -> AsyncIterator[bytes]:
    """Yield the stream's chunks, for a response that somebody else sends; it ends with the stream's `forum.error`."""
    yield retry_line()
    try:
        while True:
            for piece in (await feed.next()).sse_pieces:
                yield piece
            feed.sent()
    except ForumError as error:
        yield ErrorFrame.of(error).sse
