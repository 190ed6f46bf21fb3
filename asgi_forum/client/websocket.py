"""A stream over a WebSocket (section 5 of the protocol), by websockets."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import anyio

from asgi_forum.client.address import Address
from asgi_forum.client.answers import frame_of_text
from asgi_forum.client.connection import USER_AGENT, Bounds, Lost, Request
from asgi_forum.client.libraries import websocket_client, websocket_errors
from asgi_forum.client.refusals import refusal, retry_after, unexpected, unreachable, will_pass
from asgi_forum.frames import Frame

__all__ = ["WebSocketConnection", "WebSocketDialer"]

_TOO_BIG = 1009


class WebSocketConnection:
    """One WebSocket; every text message is one frame."""

    survives_cancelling = True
    retry_ms = None

    def __init__(self, socket: websocket_client.ClientConnection, address: Address, bounds: Bounds) -> None:
        self._socket = socket
        self._shown = address.shown
        self._bounds = bounds

    async def receive(self) -> Sequence[Frame]:
        """Wait for the next frame."""
        try:
            with anyio.fail_after(self._bounds.silence):
                text = await self._socket.recv()
        except TimeoutError as error:
            raise Lost(unreachable("the connection is silent")) from error
        except websocket_errors.ConnectionClosed as closed:
            if closed.sent is not None and closed.sent.code == _TOO_BIG and not closed.rcvd_then_sent:
                too_long = f"a frame of more than {self._bounds.frame} bytes (a lower limit= makes frames smaller)"
                raise unexpected(self._shown, too_long) from closed
            raise Lost(unreachable(_ending(closed))) from closed
        frame = frame_of_text(text, self._shown)
        return () if frame is None else (frame,)

    async def aclose(self) -> None:
        """Close the connection, politely for at most two seconds."""
        await self._socket.close()


class WebSocketDialer:
    """Opens WebSockets."""

    def __init__(self, bounds: Bounds, tls: ssl.SSLContext | None) -> None:
        self._bounds = bounds
        self._tls = tls

    async def open(self, address: Address, request: Request) -> WebSocketConnection:
        """Send the upgrade; return once it is accepted."""
        url = address.websocket("/stream", [*request.filters, *request.start.items()])
        secured: dict[str, Any] = {"ssl": self._tls} if address.secure and self._tls else {}
        try:
            socket = await websocket_client.connect(
                url,
                additional_headers=request.headers,
                user_agent_header=USER_AGENT,
                compression=None,
                open_timeout=self._bounds.open,
                close_timeout=2.0,
                ping_interval=None,  # the forum's heartbeats tell more; pings would cut a reader that is slow to read
                max_size=self._bounds.frame,
                **secured,
            )
        except websocket_errors.InvalidStatus as refused:
            answer = refused.response
            error = refusal(answer.status_code, answer.headers, bytes(answer.body or b""), address.shown)
            if will_pass(answer.status_code):
                raise Lost(error, retry_after(answer.headers)) from refused
            raise error from refused
        except websocket_errors.InvalidURI as moved:  # ours is checked: it is where a redirect leads to
            raise unexpected(address.shown, f"it redirects to {moved.uri} (use the address it leads to)") from moved
        except (websocket_errors.WebSocketException, OSError, EOFError) as error:
            raise Lost(unreachable(error)) from error
        return WebSocketConnection(socket, address, self._bounds)

    async def aclose(self) -> None:
        """Nothing is shared between its connections."""


def _ending(closed: websocket_errors.ConnectionClosed) -> str:
    if closed.rcvd is None:
        return "the connection was cut"
    reason = f": {closed.rcvd.reason}" if closed.rcvd.reason else ""
    return f"the server closed the connection with {closed.rcvd.code}{reason}"
