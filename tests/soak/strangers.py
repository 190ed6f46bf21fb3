"""Clients that are none: what they send must be refused in a few words, or not answered at all, and harm nobody."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from websockets.exceptions import WebSocketException

from tests.properties.checker import Violation
from tests.wire.exchange import Exchange
from tests.wire.readers import Ended, open_websocket, receive_json, receive_to_the_end

__all__ = ["STRANGERS", "visit"]

_TIMEOUT = 6.0

UPGRADE = (
    b"GET /forum/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
REQUEST = b"GET /forum/stream?cursor=earliest HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"


def visit(port: int, chance: random.Random) -> None:
    """Send one of them; a server that is not there is none of their business. Raises Violation."""
    stranger = chance.choice(STRANGERS)
    with suppress(OSError, EOFError, WebSocketException, Ended):
        stranger(port, chance)


def _bytes(port: int, chance: random.Random) -> None:
    """What is no HTTP."""
    with _connected(port) as sock:
        sock.sendall(chance.randbytes(chance.choice([1, 100, 70_000])))
        sock.settimeout(0.5)
        sock.recv(1000)


def _truncated(port: int, chance: random.Random) -> None:
    """A request, or an upgrade, that never ends, and then does."""
    whole = chance.choice([UPGRADE, REQUEST])
    with _connected(port) as sock:
        sock.sendall(whole[: chance.randrange(1, len(whole))])
        sock.settimeout(0.3)
        sock.recv(1000)


def _half_closed(port: int, chance: random.Random) -> None:
    """A stream whose client says no more."""
    with _connected(port) as sock:
        sock.sendall(chance.choice([UPGRADE, REQUEST]))
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1000)


def _silent(port: int, chance: random.Random) -> None:
    """A stream that nobody reads."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(_TIMEOUT)
        sock.connect(("127.0.0.1", port))
        sock.sendall(chance.choice([UPGRADE, REQUEST]))
        sock.settimeout(chance.choice([0.5, 3.0]))
        with suppress(TimeoutError):
            while sock.recv(1):
                if chance.random() < 0.01:
                    break


def _headers(port: int, chance: random.Random) -> None:
    """Headers that are too large."""
    large = [("X-Large", "x" * chance.choice([9000, 70_000, 300_000]))]
    _status(port, "/health", (200, 400, 431, 503), headers=large)


def _queries(port: int, chance: random.Random) -> None:
    """Parameters that are off."""
    for query in ("cursor=%00", "cursor=a.b.c", "limit=0", "tail=x", "ticket=", "wait=-1", "ticket=%ff%fe"):
        path = chance.choice(["/events", "/stream"])
        _status(port, f"{path}?{query}", (200, 400, 410, 503))
    _status(port, "/stream?cursor=latest", (200,), headers=[("Last-Event-ID", "garbage")])
    _status(port, f"/{chance.randrange(10**9)}", (404, 503))


def _bodies(port: int, chance: random.Random) -> None:
    """Bodies that are off, of which nothing may be published."""
    kind = ("Content-Type", "application/json")
    for body in (
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 5000,
        b'{"event_type":"x"}',
        json.dumps([{"ticket": "T-1"}]).encode(),
    ):
        _status(port, "/events", (422, 503), "POST", [kind, ("Content-Length", str(len(body)))], [body])
    _status(port, "/events", (413, 503), "POST", [kind, ("Content-Length", "99999999999")])
    _status(port, "/events", (415, 503), "POST", [("Content-Length", "2")], [b"{}"])
    with _connected(port) as sock:  # one that is announced, and never comes
        sock.sendall(
            b"POST /forum/events HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )


def _commands(port: int, chance: random.Random) -> None:
    """Commands that are off: each is answered, and the connection stays."""
    connection = open_websocket(f"http://127.0.0.1:{port}/forum/socket")
    try:
        wrong = [
            "",
            "{",
            "[]",
            '{"type":1}',
            '{"type":"subscribe"}',
            '{"type":"subscribe","id":"a","cursor":{}}',
            "[" * 9999,
        ]
        for text in chance.sample(wrong, 3):
            connection.send(text)
            answer = receive_json(connection, _TIMEOUT)
            if answer["type"] != "forum.error":
                raise Violation(f"{text!r:.80} was answered {answer}")
            if answer["code"] == "shutting_down":
                return
        connection.send('{"type":"ping"}')
        answer = receive_json(connection, _TIMEOUT)
        if answer["type"] not in ("pong", "forum.error"):
            raise Violation(f"a ping was answered {answer}")
    finally:
        connection.close()


def _messages(port: int, chance: random.Random) -> None:
    """Messages that are too long, or no messages."""
    path = chance.choice(["stream", "socket"])
    if chance.random() < 0.5:
        connection = open_websocket(f"http://127.0.0.1:{port}/forum/{path}?cursor=latest")
        try:
            connection.send("x" * 70_000)
            _, code = receive_to_the_end(connection, _TIMEOUT)
            if code not in (1009, 1006, 1012, None):
                raise Violation(f"a message that is too long ended with {code}")
        finally:
            connection.close()
    else:
        with _connected(port) as sock:
            sock.sendall(UPGRADE.replace(b"stream", path.encode()))
            sock.recv(1000)
            sock.sendall(chance.randbytes(200))
            sock.recv(1000)


def storm(port: int, count: int) -> None:
    """Many streams at once, which are cut as soon as they are open."""
    open_ones: list[socket.socket] = []
    try:
        with suppress(OSError):
            for index in range(count):
                open_ones.append(_connected(port))
                open_ones[-1].sendall(REQUEST if index % 2 else UPGRADE)
    finally:
        for each in open_ones:
            each.close()


def _status(
    port: int,
    path: str,
    right: Sequence[int],
    method: str = "GET",
    headers: Sequence[tuple[str | bytes, str | bytes]] = (),
    body: Sequence[bytes] = (),
) -> None:
    url = f"http://127.0.0.1:{port}/forum{path}"
    exchange = Exchange(url, method=method, headers=headers, body=body)
    exchange.close()
    if exchange.status not in right:
        raise Violation(f"{method} {path!r:.200} was answered {exchange.status}")


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), _TIMEOUT)


STRANGERS: Sequence[Callable[[int, random.Random], None]] = (
    _bytes,
    _truncated,
    _half_closed,
    _silent,
    _headers,
    _queries,
    _bodies,
    _commands,
    _messages,
)
