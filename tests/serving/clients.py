"""Clients on raw sockets: what a server sent, byte by byte, up to the end of the connection."""

from __future__ import annotations

import ctypes
import json
import selectors
import socket
import struct
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.wire.exchange import DEADLINE
from tests.wire.sse import Decoder

__all__ = ["KINDS", "Client", "Kind", "open_client", "open_clients", "read_to_the_end", "reading", "vanish"]

Kind = Literal["sse", "websocket", "socket", "poll"]
KINDS: tuple[Kind, ...] = ("sse", "websocket", "socket", "poll")

_SUBSCRIBE = b'{"type":"subscribe","id":"s"}'
_UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_PATHS: dict[Kind, str] = {
    "sse": "/stream",
    "websocket": "/stream",
    "socket": "/socket",
    "poll": "/events?cursor=latest&wait=50",
}


@dataclass(eq=False, slots=True)
class Client:
    """One connection, all that came on it, and whether the server has ended it."""

    kind: Kind
    sock: socket.socket
    received: bytearray = field(default_factory=bytearray)
    closed: bool = False

    @property
    def frames(self) -> list[dict[str, Any]]:
        """The frames of section 3, or of section 7; an event of SSE counts as one. A poll has none."""
        if self.kind == "sse":
            messages = Decoder().feed(self.body[0])
            return [json.loads(message.text) for message in messages if message.data]
        return [json.loads(payload) for opcode, payload in self._messages if opcode == 1]

    @property
    def events(self) -> list[int]:
        """The sequences of the events that came, in their order."""
        found: list[int] = []
        for frame in self.frames:
            found += [event["sequence"] for event in frame.get("events", [frame] if "sequence" in frame else [])]
        return found

    @property
    def body(self) -> tuple[bytes, bool]:
        """What came of an answer's body, and whether it came to its end as HTTP has it."""
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" not in head.lower():
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0].strip()
            return rest, bool(length) and len(rest) == int(length)
        pieces: list[bytes] = []
        while b"\r\n" in rest:
            size, _, rest = rest.partition(b"\r\n")
            length_of_chunk = int(size, 16)
            if length_of_chunk == 0:
                return b"".join(pieces), rest == b"\r\n"
            if len(rest) < length_of_chunk + 2:
                break
            pieces.append(rest[:length_of_chunk])
            rest = rest[length_of_chunk + 2 :]
        return b"".join(pieces), False

    @property
    def close_code(self) -> int | None:
        """The code of the server's close frame; None where none came, 0 where it had no code."""
        for opcode, payload in self._messages:
            if opcode == 8:
                return int.from_bytes(payload[:2], "big")
        return None

    @property
    def verdict(self) -> str:
        """How it ended, in a few words: `shutting_down, end` and `shutting_down, 1012` are as they should be, of a poll `200, end`."""
        if self.kind == "poll":
            return f"{self.received[9:12].decode()}, {'end' if self.body[1] else 'cut'}"
        frames = self.frames
        last = frames[-1] if frames else {}
        told = str(last.get("code")) if last.get("type") == "forum.error" else "no goodbye"
        if self.kind == "sse":
            return f"{told}, {'end' if self.body[1] else 'cut'}"
        return f"{told}, {'cut' if self.close_code is None else self.close_code}"

    def take(self) -> bool:
        """Receive what is there, and answer a close frame as any client does; return whether the connection goes on."""
        try:
            data = self.sock.recv(1 << 18)
        except (ConnectionError, TimeoutError):
            data = b""
        self.received += data
        if not data:
            self.closed = True
        elif self.kind in ("websocket", "socket") and (code := self.close_code) is not None:
            with suppress(OSError):
                self.sock.sendall(_frame(8, code.to_bytes(2, "big") if code else b""))
        return not self.closed

    def until(self, mark: bytes, timeout: float = DEADLINE) -> None:
        """Receive up to something; AssertionError where it does not come."""
        deadline = time.monotonic() + timeout
        while mark not in self.received:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            assert self.take(), f"{self.kind}: ended before {mark!r}, after {bytes(self.received[-300:])!r}"

    @property
    def _messages(self) -> list[tuple[int, bytes]]:
        """The WebSocket's whole frames, as opcode and payload. A server masks none, and ours are not split."""
        data = bytes(self.received).partition(b"\r\n\r\n")[2]
        found: list[tuple[int, bytes]] = []
        while len(data) >= 2:
            size, start = data[1] & 127, 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(data[2:start], "big")
            if len(data) < start + size:
                break
            found.append((data[0] & 15, bytes(data[start : start + size])))
            data = data[start + size :]
        return found


def open_client(
    kind: Kind,
    port: int,
    base: str,
    *,
    path: str | None = None,
    query: str = "",
    receive_buffer: int | None = None,
    read: bool = True,
) -> Client:
    """
    Open a stream, and return once it is live; a poll, once it is sent.

    path: another than that of its kind. receive_buffer: bytes that its kernel takes. read: whether it reads at all; one that does not
    is opened once something is there for it.
    """
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(DEADLINE)
    sock.connect(("127.0.0.1", port))
    target = f"{base}{path or _PATHS[kind]}{query}".encode()
    extra = _UPGRADE if kind in ("websocket", "socket") else b""
    sock.sendall(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%b\r\n" % (target, port, extra))
    client = Client(kind, sock)
    if kind == "socket":
        client.until(b"\r\n\r\n")
        sock.sendall(_frame(1, _SUBSCRIBE))
    if not read:
        sock.recv(1, socket.MSG_PEEK)
    elif kind != "poll":
        client.until(b"forum.live")
    return client


@contextmanager
def open_clients(port: int, base: str, *kinds: Kind, count: int, query: str = "") -> Generator[list[Client]]:
    """Open so many of each kind, in turns. All are left at the end."""
    with ExitStack() as stack:
        clients: list[Client] = []
        for _ in range(count):
            for kind in kinds:
                clients.append(open_client(kind, port, base, query=query))
                stack.callback(clients[-1].sock.close)
        yield clients


def reading(clients: Iterable[Client], deadline: float) -> None:
    """Receive on all connections until the server has closed each, or the deadline (of `time.monotonic`) has passed."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.sock, selectors.EVENT_READ, client)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if not key.data.take():
                    selector.unregister(key.fileobj)


def read_to_the_end(clients: Sequence[Client], timeout: float = DEADLINE) -> None:
    """Receive on all connections until the server has closed each; AssertionError where it does not."""
    reading(clients, time.monotonic() + timeout)
    left = [client.kind for client in clients if not client.closed]
    assert not left, f"{len(left)} of {len(clients)} connections are still open: {left[:5]}"


def vanish(sock: socket.socket) -> None:
    """
    Have the kernel drop all that still comes for a socket (Linux): its peer gets no acknowledgement any more, and no other answer.

    It is as if the machine were off, while the socket is open; closing it would still send a FIN.
    """
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # one instruction: return, and take 0 bytes
    attach_filter = 26  # SO_ATTACH_FILTER
    sock.setsockopt(socket.SOL_SOCKET, attach_filter, struct.pack("HP", 1, ctypes.addressof(drop_all)))


def _frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame: masked, with a mask that changes nothing; up to 125 bytes."""
    return bytes([128 | opcode, 128 | len(payload), 0, 0, 0, 0]) + payload
