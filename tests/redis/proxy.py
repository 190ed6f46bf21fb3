"""A network between a forum and its Redis that fails when a test says so: a TCP proxy in threads of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

__all__ = ["Proxy", "proxied"]

_CHUNK = 65536


class Proxy:
    """
    Passes connections on to a port of this machine.

    delay: seconds by which each piece of data is late. Where an answer is lost, Redis has carried the command out.
    """

    def __init__(self, target: int) -> None:
        """Begin to listen; `target` may be another port later on, for the connections from then on."""
        self.target = target
        self.delay = 0.0
        self._swallows = False
        self._losing: bytes | None = None
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._stopped = threading.Event()
        self._listener: socket.socket | None = None
        self.port = 0
        self.accept()

    @property
    def url(self) -> str:
        """The address of the database 0 behind it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._links)

    def cut(self) -> None:
        """Cut all connections; new ones are passed on."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.close()

    def refuse(self) -> None:
        """Cut all connections, and refuse new ones, until `accept`."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def accept(self) -> None:
        """Listen, on the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._serve, args=(listener,), name="proxy", daemon=True).start()

    def swallow(self) -> None:
        """From now on take everything and pass on nothing; connections stay, and new ones are accepted."""
        self._swallows = True

    def heal(self) -> None:
        """End `swallow`, and cut the connections that have lost something."""
        self._swallows = False
        self.cut()

    def lose_answer(self, command: bytes) -> None:
        """Pass the next command that has these bytes on, and cut its connection instead of giving its answer."""
        self._losing = command

    def close(self) -> None:
        """Stop."""
        self._stopped.set()
        self.refuse()

    # What the links ask

    def passes(self, data: bytes, *, link: _Link, upward: bool) -> bool:
        """Whether to pass data on; it is late by then. False too for an answer that gets lost, which cuts its connection."""
        if self.delay:
            self._stopped.wait(self.delay)
        if upward and self._losing is not None and self._losing in data:
            self._losing = None
            link.doomed = True
        elif link.doomed and not upward:
            self.forget(link)
            return False
        if self._swallows:
            link.lossy = True  # what follows a loss is never passed on: TCP has no holes
        return not link.lossy

    def forget(self, link: _Link) -> None:
        """Close a connection on both sides."""
        with self._lock:
            self._links.discard(link)
        link.close()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            link = _Link(client, server)
            with self._lock:
                self._links.add(link)
            for upward in (True, False):
                threading.Thread(target=link.run, args=(self, upward), name="proxy link", daemon=True).start()


class _Link:
    """One connection: two sockets."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._sockets = (client, server)
        self._running = 2
        self._lock = threading.Lock()
        self.doomed = False
        self.lossy = False

    def run(self, proxy: Proxy, upward: bool) -> None:
        """Pass on what comes from one side, until it ends."""
        source, sink = self._sockets if upward else self._sockets[::-1]
        try:
            while data := source.recv(_CHUNK):
                if proxy.passes(data, link=self, upward=upward):
                    sink.sendall(data)
        except OSError:
            pass
        proxy.forget(self)
        with self._lock:
            self._running -= 1
            if not self._running:
                for each in self._sockets:
                    each.close()

    def close(self) -> None:
        """End both sides; the sockets are freed when nobody reads them any more."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(target: int) -> Generator[Proxy]:
    """Run a proxy until the block ends."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
