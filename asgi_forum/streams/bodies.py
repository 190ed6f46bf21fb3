"""Bodies on their way, in and out: no faster than the client is, and no longer than it says nothing."""

from __future__ import annotations

from functools import partial

import anyio
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from asgi_forum.errors import ForumError, PayloadTooLarge, RequestTimeout, TooSlow
from asgi_forum.frames import PIECE
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.streams import Place
from asgi_forum.hub.transfers import Transfer
from asgi_forum.streams.refusals import json_start
from asgi_forum.streams.sender import Sender

__all__ = ["ClientGoneError", "answer_page", "read_body"]

_DIGITS = 18
"""Digits of a length that is certainly too much; Python itself refuses to read numbers of thousands."""


class ClientGoneError(Exception):
    """The client has left in the middle of its request."""


async def read_body(connection: HTTPConnection, receive: Receive, running: Running, transfer: Transfer) -> bytes:
    """
    Read a request's body, and no more of it than is taken.

    Raises PayloadTooLarge, TooManyConnections, RequestTimeout where nothing comes for `Limits.send_timeout`, ClientGoneError.
    """
    limits = running.limits
    too_large = PayloadTooLarge(f"request: expected at most {limits.request_bytes} bytes").at("request_bytes")
    announced = connection.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > _DIGITS or int(announced) > limits.request_bytes):
        raise too_large
    body = bytearray()
    more = True
    while more:
        message: Message | None = None
        with anyio.move_on_after(limits.send_timeout):
            message = await receive()
        if message is None:
            raise RequestTimeout(
                f"request: got {len(body)} bytes, and then nothing for {limits.send_timeout:g} s; expected its end"
            ).at("send_timeout")
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece = message.get("body", b"")
        if len(body) + len(piece) > limits.request_bytes:
            raise too_large
        transfer.add(len(piece))
        body += piece
        more = message.get("more_body", False)
    return bytes(body)


class _Answer:
    """An answer on its way, as a place holds it: when the forum stops there is a second left for it."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def end(self, error: ForumError) -> None:
        """Hurry."""
        del error
        self._sender.leave()


async def answer_page(scope: Scope, send: Send, body: bytes, running: Running, place: Place | None) -> None:
    """
    Answer with a page's JSON, in pieces; `HEAD` gets the headers only.

    A client that takes none for `Limits.send_timeout` is given up: its answer has no end, and it has to ask again.
    """
    sender = Sender(running.limits.send_timeout)
    running.watchdog.watch(sender)
    if place is not None:
        place.hold(_Answer(sender))
    try:
        await sender.send(partial(send, json_start(body)))
        if scope["method"] == "HEAD":
            body = b""
        for first in range(0, len(body) or 1, PIECE):
            piece = body[first : first + PIECE]
            message = {"type": "http.response.body", "body": piece, "more_body": first + PIECE < len(body)}
            await sender.send(partial(send, message))
    except TooSlow as error:
        running.hub.counters.ending(error)
    finally:
        running.watchdog.forget(sender)
