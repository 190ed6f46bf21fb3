"""One HTTP/1.1 exchange on a plain socket: every byte as the server sent it, and as slowly as the test reads."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

DEADLINE = 8.0
"""Seconds that a test waits for something that must happen; never waited in full unless the test fails."""


Headers = Iterable[tuple[str | bytes, str | bytes]]


def ask(
    url: str,
    *,
    method: str = "GET",
    headers: Headers = (),
    body: Iterable[bytes] = (),
    receive_buffer: int | None = None,
) -> socket.socket:
    """
    Send a request on a new connection, and read nothing of its answer.

    `receive_buffer` (bytes) makes a client that holds little in the kernel.
    """
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    given = [(_bytes(name), _bytes(value)) for name, value in headers]
    if not any(name.lower() == b"host" for name, _ in given):
        given.append((b"Host", parts.netloc.encode()))
    head = b"".join(b"%b: %b\r\n" % pair for pair in given)
    connection = socket.socket()
    try:
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(DEADLINE)
        connection.connect((parts.hostname, parts.port))
        connection.sendall(b"%b %b HTTP/1.1\r\n%b\r\n" % (method.encode(), target.encode(), head))
        for piece in body:
            connection.sendall(piece)
    except BaseException:
        connection.close()
        raise
    return connection


class Exchange:
    """A request that was sent, its status and headers, and its body as it arrives."""

    def __init__(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Headers = (),
        body: Iterable[bytes] = (),
        receive_buffer: int | None = None,
    ) -> None:
        """Send the request, as `ask` does, and read the answer's head."""
        self._socket = ask(url, method=method, headers=headers, body=body, receive_buffer=receive_buffer)
        self._buffer = b""
        self._left: int | None = None
        self._ended = False
        try:
            head, self._buffer = self._read_past(b"\r\n\r\n", time.monotonic() + DEADLINE)
        except BaseException:
            self._socket.close()
            raise
        status, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(status.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._chunked = self.headers.get("transfer-encoding", "") == "chunked"
        if method == "HEAD" or self.status in (204, 304):
            self._ended = True
        elif not self._chunked and "content-length" in self.headers:
            self._left = int(self.headers["content-length"])

    def read(self, timeout: float = DEADLINE) -> bytes:
        """Return the next piece of the body, b"" at its end; TimeoutError if none comes in `timeout` seconds."""
        deadline = time.monotonic() + timeout
        if self._ended:
            return b""
        if self._chunked:
            return self._read_chunk(deadline)
        if self._left == 0 or not (self._buffer or self._receive(deadline)):
            self._ended = True
            return b""
        piece, self._buffer = self._buffer, b""
        if self._left is not None:
            self._left -= len(piece)
        return piece

    def read_all(self, timeout: float = DEADLINE) -> bytes:
        """Return the rest of the body, up to its end."""
        pieces: list[bytes] = []
        while piece := self.read(timeout):
            pieces.append(piece)
        return b"".join(pieces)

    def rest(self, timeout: float) -> bytes:
        """Return what else the server sends on this connection in `timeout` seconds, as raw bytes."""
        deadline = time.monotonic() + timeout
        try:
            while self._receive(deadline):
                pass
        except TimeoutError:
            pass
        return self._buffer

    def close(self) -> None:
        """Leave, at any moment."""
        self._socket.close()

    def reset(self) -> None:
        """Leave in a way that the server gets an RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _read_chunk(self, deadline: float) -> bytes:
        size, self._buffer = self._read_past(b"\r\n", deadline)
        length = int(size, 16)
        while len(self._buffer) < length + 2:
            if not self._receive(deadline):
                raise ConnectionError("the connection ended inside a chunk")
        piece, self._buffer = self._buffer[:length], self._buffer[length + 2 :]
        self._ended = length == 0
        return piece

    def _read_past(self, mark: bytes, deadline: float) -> tuple[bytes, bytes]:
        while mark not in self._buffer:
            if not self._receive(deadline):
                raise ConnectionError(f"the connection ended after {self._buffer!r:.80}")
        before, _, after = self._buffer.partition(mark)
        return before, after

    def _receive(self, deadline: float) -> bool:
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        data = self._socket.recv(65536)
        self._buffer += data
        return bool(data)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
