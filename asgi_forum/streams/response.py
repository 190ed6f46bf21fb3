"""
A stream for a route of the host's own, as sse-starlette's response.

Importing this imports sse-starlette, which patches `uvicorn.Server.handle_exit`: so it is imported only when it is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from functools import partial

from sse_starlette.sse import EventSourceResponse
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from asgi_forum.errors import ForumClosed, ForumError, ShuttingDown
from asgi_forum.hub.hub import Counters
from asgi_forum.streams.feed import Feed
from asgi_forum.streams.opening import Door
from asgi_forum.streams.refusals import HEADERS, refuse_sse
from asgi_forum.streams.request import Asked
from asgi_forum.streams.sse import chunks, farewell

__all__ = ["ForumResponse"]

_NEVER = 10**9
"""sse-starlette's own pings, in seconds: the stream has heartbeats, which also move the client's position."""


class ForumResponse(EventSourceResponse):
    """Asks the app's `authorize` before the first header, and then streams as the forum's own address does."""

    def __init__(self, door: Callable[[], Awaitable[Door]], connection: HTTPConnection, asked: Asked) -> None:
        super().__init__(iter(()), headers=HEADERS, ping=_NEVER)  # pyright: ignore[reportUnknownMemberType]  # its own `dict`
        self._door = door
        self._connection = connection
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or stream until the client leaves or the stream ends."""
        counters: Counters | None = None
        try:
            door = await self._door()
            counters = door.running.hub.counters
            granted = await door.grant(self._connection, self._asked)
            with ExitStack() as stack:
                address = self._connection.client.host if self._connection.client else None
                place = stack.enter_context(door.running.streams.granted("sse", address, granted.identity))
                feed = await door.opened(self._asked, granted, scope, place)
                stack.callback(feed.close)
                self.body_iterator: AsyncIterator[bytes] = chunks(feed)
                await super().__call__(scope, receive, _within_deadline(send, feed))
        except ForumClosed:
            await refuse_sse(scope, send, ShuttingDown())
        except ForumError as error:
            if counters is not None:
                counters.refusal(error)
            await refuse_sse(scope, send, error)


def _within_deadline(send: Send, feed: Feed) -> Send:
    """
    Return a `send` that puts the feed's deadline on each piece of the body.

    It raises nothing of its own: once it has given the client up, with a goodbye, the feed has ended, and what ends the response
    regularly is not sent a second time.
    """
    given_up = False

    async def send_in_time(message: Message) -> None:
        nonlocal given_up
        if message["type"] != "http.response.body":
            await send(message)
        elif not given_up:
            try:
                await feed.send(partial(send, message))
            except ForumError as error:
                given_up = True
                await farewell(send, error)

    return send_in_time
