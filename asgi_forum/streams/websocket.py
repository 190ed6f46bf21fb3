"""One WebSocket client (section 5), and what `/socket` shares with it: goodbyes and close codes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from asgi_forum.auth import OriginPolicy
from asgi_forum.cursor import LATEST
from asgi_forum.errors import ForumError, PayloadTooLarge, TooSlow
from asgi_forum.frames import ErrorFrame, Frame
from asgi_forum.hub.fanout import Fanout
from asgi_forum.streams.feed import Feed
from asgi_forum.streams.line import Line
from asgi_forum.streams.opening import Door
from asgi_forum.streams.refusals import refuse_websocket
from asgi_forum.streams.request import asked_by_query
from asgi_forum.streams.sender import FAREWELL, begun

__all__ = ["MAX_MESSAGE", "GoneError", "accept", "farewell", "receive_message", "send_text", "serve_websocket"]

MAX_MESSAGE = 64 * 1024
"""The most bytes of one message from a client."""


class GoneError(Exception):
    """The client has left, or its connection is lost."""


async def serve_websocket(scope: Scope, receive: Receive, send: Send, door: Door, origins: OriginPolicy) -> None:
    """Answer an upgrade of `/stream`: refuse, or stream until the client leaves or the stream ends."""
    connection = HTTPConnection(scope)
    try:
        origins.check(connection)
        asked = asked_by_query(connection, default=LATEST)
        granted = await door.grant(connection, asked)
        address = connection.client.host if connection.client else None
        with door.running.streams.granted("websocket", address, granted.identity) as place:
            feed = await door.opened(asked, granted, scope, place)
            try:
                if not await begun(feed.send_timeout, partial(accept, receive, send)):
                    feed.end(TooSlow().at("send_timeout"))
                    return
                line = _WebSocketLine(door.running.fanout, feed, receive, send)
                del connection, asked, granted  # a stream may be open for days, and cost no more than it needs
                await _serve(line, feed, send)
            finally:
                feed.close()
    except GoneError:
        return
    except ForumError as error:
        door.running.hub.counters.refusal(error)
        await refuse_websocket(scope, receive, send, error)


async def accept(receive: Receive, send: Send) -> None:
    """Accept the upgrade. Raises GoneError where the client has left before."""
    if (await receive())["type"] != "websocket.connect":
        raise GoneError
    await _tell(send, {"type": "websocket.accept"})


class _WebSocketLine(Line):
    """A stream over a WebSocket."""

    __slots__ = ("_receive", "_send")

    def __init__(self, fanout: Fanout, feed: Feed, receive: Receive, send: Send) -> None:
        super().__init__(fanout, feed)
        self._receive = receive
        self._send = send

    def write(self, frame: Frame) -> Awaitable[None]:
        """Send a frame as one message: it can't be cut."""
        return self._send({"type": "websocket.send", "text": frame.text})

    async def listen(self) -> None:
        """Receive, and make nothing of it, until the client has left. Raises PayloadTooLarge."""
        try:
            while True:
                await receive_message(self._receive)
        except GoneError:
            return


async def _serve(line: _WebSocketLine, feed: Feed, send: Send) -> None:
    ended: ForumError | None
    try:
        ended = await line.serve()
    except ForumError as fault:
        ended = fault
        feed.end(fault)
    except (
        Exception
    ) as failure:  # each server has its own for a client that is gone: OSError, RuntimeError, its own classes
        raise GoneError from failure
    if ended is not None:
        await farewell(send, ended)


async def receive_message(receive: Receive) -> str | bytes:
    """Return the client's next message. Raises GoneError, PayloadTooLarge."""
    message: Message = await receive()
    if message["type"] == "websocket.disconnect":
        raise GoneError
    text, data = message.get("text"), message.get("bytes")
    size = len(text.encode()) if text is not None else len(data or b"")
    if size > MAX_MESSAGE:
        raise PayloadTooLarge(f"message: got {size} bytes, expected at most {MAX_MESSAGE}")
    return text if text is not None else data or b""


async def send_text(send: Send, text: str) -> None:
    """Send one text message. Raises GoneError where the server says that the client is gone."""
    await _tell(send, {"type": "websocket.send", "text": text})


async def _tell(send: Send, message: Message) -> None:
    try:
        await send(message)
    except Exception as error:  # each server has its own: OSError, RuntimeError, its own classes
        raise GoneError from error


async def farewell(send: Send, error: ForumError) -> None:
    """Say why, and close; bounded in time. A server that takes only the codes of applications gets the same number plus 3000."""
    with anyio.move_on_after(FAREWELL):
        try:
            await send_text(send, ErrorFrame.of(error).text)
        except GoneError:
            return
        await _close(
            lambda code: send({"type": "websocket.close", "code": code, "reason": error.code}), error.close_code
        )


async def _close(close: Callable[[int], Awaitable[None]], code: int) -> None:
    try:
        await close(code)
    except Exception:
        try:
            await close(3000 + code)  # Daphne allows 1000 and 3000 to 4999
        except Exception:
            return
