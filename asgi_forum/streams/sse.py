"""One SSE client (section 4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import anyio
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from asgi_forum.cursor import LATEST
from asgi_forum.errors import ForumError
from asgi_forum.frames import ErrorFrame
from asgi_forum.hub.streams import Place
from asgi_forum.streams.feed import Feed
from asgi_forum.streams.opening import Door
from asgi_forum.streams.refusals import SSE_HEADERS, headers_of, refuse_sse, retry_line
from asgi_forum.streams.request import asked_by_query
from asgi_forum.streams.sender import FAREWELL

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
            feed = await door.opened(asked, granted, scope)
            try:
                await send(start)
                await _stream(receive, send, feed, place)
            finally:
                feed.close()
    except ForumError as error:
        door.running.hub.counters.refusal(error)
        await refuse_sse(scope, send, error)


async def _stream(receive: Receive, send: Send, feed: Feed, place: Place) -> None:
    async def chunk(body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})

    # At once, before there is anything to say: some servers send the headers only with the first chunk.
    await chunk(retry_line())
    place.hold(feed)
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            # The only reliable sign that a client is gone; no server says it through `send`.
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            while True:
                for piece in (await feed.next()).sse_pieces:
                    await feed.send(partial(chunk, piece))
        except ForumError as error:
            await farewell(send, error)
        tasks.cancel_scope.cancel()


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
    except ForumError as error:
        yield ErrorFrame.of(error).sse
