"""`connect()`: the parameters of a stream, checked and put together."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Literal

from asgi_forum.client.address import Address, Values, filters
from asgi_forum.client.backoff import Backoff
from asgi_forum.client.connection import Bounds, Dialer
from asgi_forum.client.resume import Resumption
from asgi_forum.client.sse import SseDialer
from asgi_forum.client.stream import ForumStream, Headers
from asgi_forum.client.websocket import WebSocketDialer
from asgi_forum.errors import ConfigurationError, quote

__all__ = ["Transport", "connect"]

Transport = Literal["sse", "ws"]
"""How a stream comes: as Server-Sent Events, or over a WebSocket."""

_HEARTBEATS = 2.5

_DIALERS: dict[str, Callable[[Bounds, ssl.SSLContext | None], Dialer]] = {"sse": SseDialer, "ws": WebSocketDialer}


def connect(
    url: str,
    *,
    ticket: Values = (),
    run_id: Values = (),
    thread_id: Values = (),
    event_type: Values = (),
    cursor: str | int | None = None,
    tail: int | None = None,
    limit: int | None = None,
    transport: Transport = "sse",
    headers: Headers | None = None,
    heartbeat: float = 25.0,
    open_timeout: float = 10.0,
    max_delay: float = 30.0,
    max_frame: int = 64 * 2**20,
    tls: ssl.SSLContext | None = None,
) -> ForumStream:
    """
    Return the stream of a forum's events that match: `async with connect(url, ticket="T-1") as events: async for
    event in events: ...`

    url: the forum's address, `http://host/forum` or `https://...`; a query it has goes along.
    ticket, run_id, thread_id, event_type: keep only these; one value, or several of which any may match.
    cursor: where to begin: a cursor, `earliest`, `latest` (the default: what comes from now on), or a sequence to
    begin after.
    tail: begin so that the last `tail` matching events come first (0 to 1000); not together with `cursor`.
    limit: the most events of one frame (1 to 1000); it does not bound the stream.
    transport: `sse` or `ws`. The events are the same.
    headers: for every request; or a function, plain or async, that returns them and is called before each connection.
    heartbeat: the forum's, in seconds; a connection without a sign of life for two and a half of them counts as lost.
    open_timeout: seconds until a connection has to stand.
    max_delay: the longest wait between tries, in seconds; they begin at about one. A server may ask for more.
    max_frame: the most bytes of one frame that are taken in; a server sends about 1 MiB, unless its settings say
    otherwise.
    tls: for https; the platform's usual checks where it is left out.

    Nothing is sent before the stream is entered or iterated over. Raises ConfigurationError where a parameter can't
    be right; what the forum refuses is raised there, by its code.
    """
    if transport not in _DIALERS:
        raise ConfigurationError(f"transport: got {quote(transport)}, expected 'sse' or 'ws'")
    for name, value in (("heartbeat", heartbeat), ("open_timeout", open_timeout), ("max_delay", max_delay)):
        if not value > 0:
            raise ConfigurationError(f"{name}: got {value!r}, expected seconds above 0")
    if max_frame < 1:
        raise ConfigurationError(f"max_frame: got {max_frame!r}, expected bytes above 0")
    parameters = filters(ticket=ticket, run_id=run_id, thread_id=thread_id, event_type=event_type)
    if limit is not None:
        parameters.append(("limit", str(limit)))
    return ForumStream(
        Address.parse(url),
        parameters,
        Resumption(cursor, tail),
        _DIALERS[transport](Bounds(open_timeout, _HEARTBEATS * heartbeat, max_frame), tls),
        Backoff(ceiling=max_delay),
        headers or {},
    )
