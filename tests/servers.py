"""Real servers on real sockets: uvicorn in a thread, on a port that the kernel picks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: its address, and the uvicorn behind it."""

    port: int
    server: uvicorn.Server

    @property
    def url(self) -> str:
        """The server's address, without a path."""
        return f"http://127.0.0.1:{self.port}"


def listen(port: int = 0, *, send_buffer: int | None = None) -> socket.socket:
    """Bind and listen on 127.0.0.1; `send_buffer` (bytes) is inherited by every accepted connection."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if send_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    sock.bind(("127.0.0.1", port))
    sock.listen(512)
    return sock


@contextmanager
def serve(app: Any, *, port: int = 0, send_buffer: int | None = None, **options: Any) -> Generator[Served]:
    """
    Serve `app` until the block ends; yields once the server answers.

    `options` go to `uvicorn.Config`. Streams that are still open at the end are cut after a second.
    """
    sock = listen(port, send_buffer=send_buffer)
    options = {"log_level": "error", "timeout_graceful_shutdown": 1, **options}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    failures: list[BaseException] = []

    def run() -> None:
        try:
            server.run(sockets=[sock])
        except BaseException as error:  # a server that dies must fail the test, not vanish with its thread
            failures.append(error)

    thread = threading.Thread(target=run, name="uvicorn", daemon=True)
    started = threading.Event()
    startup = server.startup

    async def startup_and_tell(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = startup_and_tell  # type: ignore[method-assign]  # the one hook that tells when it listens
    thread.start()
    try:
        while not started.wait(0.1):
            if not thread.is_alive():
                raise RuntimeError("the server did not start") from (failures[0] if failures else None)
        yield Served(sock.getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join(15)
        sock.close()
    if thread.is_alive():
        raise RuntimeError("the server did not stop within 15 s")
    if failures:
        raise failures[0]
