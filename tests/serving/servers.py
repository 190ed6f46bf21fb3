"""The servers: how each is started, and how it ends when nothing is open."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.cli.command import Process, spawned
from tests.redis.servers import wait_until

__all__ = ["HYPERCORN_WITH_WORKERS", "SERVERS", "Server", "Serving", "serving", "serving_command"]

ROOT = Path(__file__).parents[2]

_KILLED = {signal.SIGTERM: -signal.SIGTERM, signal.SIGINT: 0}
_DONE = {signal.SIGTERM: 0, signal.SIGINT: 0}


@dataclass(frozen=True, slots=True)
class Server:
    """
    One way to run an app.

    options: of `python -m module`; `{app}` and `{port}` are filled in. workers: processes that serve. needs: what else it imports.
    statuses: its exit statuses, as without any stream. close_code: of WebSockets when it stops. goodbye: whether their last frame comes
    before it for sure. patience: the options that make it cut clients that read nothing.
    """

    module: str
    options: tuple[str, ...]
    workers: int = 1
    needs: tuple[str, ...] = ()
    lifespan: bool = True
    statuses: Mapping[signal.Signals, int] = field(default_factory=lambda: _DONE)
    close_code: int = 1012
    goodbye: bool = True
    patience: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether it is there: not every one has a wheel for the newest Python."""
        return all(find_spec(each) is not None for each in (self.module, *self.needs))

    def command(self, app: str, port: int) -> list[str]:
        """Return the command line that serves one of the apps of `tests.serving.site`."""
        options = [each.format(app=f"tests.serving.site:{app}", port=port) for each in self.options]
        return [sys.executable, "-m", self.module, *options]


def _uvicorn(*options: str, workers: int = 1) -> Server:
    return Server(
        "uvicorn",
        ("{app}", "--port", "{port}", "--log-level", "warning", "--workers", str(workers), *options),
        workers=workers,
        statuses=_KILLED if workers == 1 else _DONE,
        patience=("--timeout-graceful-shutdown", "2"),
    )


def _hypercorn(*options: str) -> Server:
    return Server("hypercorn", ("{app}", "--bind", "127.0.0.1:{port}", *options))


def _granian(*options: str, workers: int = 1) -> Server:
    return Server(
        "granian",
        ("{app}", "--interface", "asgi", "--port", "{port}", "--workers", str(workers), *options),
        workers=workers,
        goodbye=False,
        patience=("--workers-kill-timeout", "3"),
    )


SERVERS: dict[str, Server] = {
    "uvicorn": _uvicorn("--loop", "asyncio"),
    "uvicorn on uvloop": _uvicorn("--loop", "uvloop"),
    "uvicorn, 2 workers": _uvicorn(workers=2),
    "gunicorn, 2 workers": Server(
        "gunicorn",
        ("{app}", "-b", "127.0.0.1:{port}", "-w", "2", "-k", "uvicorn_worker.UvicornWorker", "--no-control-socket"),
        workers=2,
        needs=("uvicorn_worker",),
        patience=("--graceful-timeout", "3"),
    ),
    "hypercorn -w 0": _hypercorn("-w", "0"),
    "hypercorn -w 0 on uvloop": _hypercorn("-w", "0", "-k", "uvloop"),
    "granian": _granian("--loop", "asyncio"),
    "granian on uvloop": _granian("--loop", "uvloop"),
    "granian, 2 workers": _granian(workers=2),
    "daphne": Server("daphne", ("{app}", "-b", "127.0.0.1", "-p", "{port}"), lifespan=False, close_code=4012),
}

HYPERCORN_WITH_WORKERS = _hypercorn()
"""Its default: a process that serves, to which signals mean nothing."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that is running."""

    process: Process
    port: int

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Return the status and the body of one request's answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def serving(server: Server, app: str, *options: str, env: Mapping[str, str] | None = None) -> Generator[Serving]:
    """Start a server; yields once it answers, and all of its workers have started."""
    with _reserved_port() as port, serving_command([*server.command(app, port), *options], port, env) as served:
        for _ in range(server.workers if server.lifespan else 0):
            while served.process.stdout.next() != "started":  # some write their log there
                pass
        yield served


@contextmanager
def serving_command(command: Sequence[str], port: int, env: Mapping[str, str] | None = None) -> Generator[Serving]:
    """Run a command that serves on a port; yields once it answers."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with spawned(command, env={"PYTHONPATH": os.pathsep.join(paths), **(env or {})}, group=True) as process:
        served = Serving(process, port)

        def answers() -> bool:
            assert process.popen.poll() is None, process.stderr.rest()
            return bool(served.ask("GET", "/nothing/here"))

        try:
            wait_until(answers)
            yield served
        finally:
            with suppress(ProcessLookupError):  # workers that are left where the test has failed
                os.killpg(process.popen.pid, signal.SIGKILL)


@contextmanager
def _reserved_port() -> Generator[int]:
    """
    Pick a free port, and keep others from picking it, but not from listening there.

    A socket that is bound, and does not listen, is in nobody's way who sets one of these options; all servers do.
    """
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]
