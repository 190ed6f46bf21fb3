"""A tiny server that does, for each path, exactly one thing that a load generator has to notice."""

from __future__ import annotations

import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread

__all__ = ["Server", "running"]

_SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
_LATER = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0.01\r\nContent-Length: 0\r\n\r\n"
_NEVER = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
_END = b"0\r\n\r\n"


def event(number: int) -> bytes:
    """Write an event with a number."""
    return f'id: c{number}\ndata: {{"n":{number},"t":1}}\n\n'.encode()


def chunk(data: bytes) -> bytes:
    """Write a chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse(numbers: Sequence[int]) -> bytes:
    """Write a whole stream: its head, and a chunk for each event."""
    return _SSE + b"".join(chunk(event(number)) for number in numbers)


def message(text: bytes, opcode: int = 1) -> bytes:
    """Write a WebSocket message that is short."""
    return bytes([0x80 | opcode, len(text)]) + text


class Server:
    """Answers each connection by its path, in a thread of its own."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.go_on = Event()
        """Set by a test: `/split` sends the rest of its event then."""
        self.requests: list[str] = []

    def serve(self) -> None:
        """Take connections until the server is closed."""
        threads: list[Thread] = []
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threads.append(Thread(target=self._answer, args=(connection,)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def close(self) -> None:
        """Take no more connections."""
        self.go_on.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            path = head.split()[1].decode().partition("?")[0]
            self.requests.append(head.decode())
            if path == "/split":
                whole = chunk(event(2))
                connection.sendall(sse([1]) + whole[:-9])
                self.go_on.wait()
                connection.sendall(whole[-9:] + chunk(event(3)))
            else:
                connection.sendall(self._whole(path))
            if path not in ("/end", "/cut"):
                connection.recv(65536)  # until the client leaves, or has answered a close

    def _whole(self, path: str) -> bytes:
        if path == "/busy":
            return sse([1]) if sum("/busy" in each for each in self.requests) > 1 else _LATER
        answers = {
            "/good": sse([5, 6, 7, 8]),
            "/gap": sse([1, 2, 4, 5]),
            "/duplicate": sse([1, 2, 2, 3]),
            "/backwards": sse([3, 1]),
            "/end": sse([1, 2]) + _END,
            "/cut": sse([1, 2]),
            "/forbidden": _NEVER,
            "/close": _UPGRADED + message(b'{"n":1,"next_cursor":"c1"}') + message((1012).to_bytes(2, "big"), 8),
            "/messages": _UPGRADED + b"".join(message(b'{"n":%d}' % n) for n in (1, 3, 3)),
        }
        return answers[path]


@contextmanager
def running() -> Generator[Server]:
    """Serve until the block ends."""
    server = Server()
    thread = Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
