"""A server that says that it is a Redis of another version, and knows no more than that."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar

__all__ = ["pretending"]


class _Handler(socketserver.StreamRequestHandler):
    version: ClassVar[str] = ""

    def handle(self) -> None:
        """Answer commands until the client leaves."""
        while head := self.rfile.readline():
            words: list[bytes] = []
            for _ in range(int(head[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2])
            self.wfile.write(self._answer(words[0].upper()))

    def _answer(self, command: bytes) -> bytes:
        if command == b"INFO":
            text = f"# Server\r\nredis_version:{self.version}\r\nmaxmemory_policy:noeviction\r\n".encode()
            return b"$%d\r\n%b\r\n" % (len(text), text)
        if command == b"HELLO":
            return b"%1\r\n$5\r\nproto\r\n:3\r\n"
        return b"+OK\r\n"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


@contextmanager
def pretending(version: str, port: int = 0) -> Generator[str]:
    """Run such a server until the block ends; yields its URL."""
    handler = type("Handler", (_Handler,), {"version": version})
    with _Server(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()
        thread.join()
