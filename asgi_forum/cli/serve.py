"""`asgi-forum serve`: a forum by itself, on uvicorn."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import click
from starlette.applications import Starlette

from asgi_forum.app import Forum
from asgi_forum.cli.listening import address, listen
from asgi_forum.cli.stalls import Stalls
from asgi_forum.cli.supervisor import Supervisor, end_with_parent
from asgi_forum.cli.terminal import hush
from asgi_forum.errors import ForumError
from asgi_forum.middleware import ForumMiddleware
from asgi_forum.settings import ForumSettings

try:
    import uvicorn
except ModuleNotFoundError as _error:
    raise ImportError("serve needs uvicorn: pip install 'asgi-forum[cli]'", name=_error.name) from _error

__all__ = ["serve"]

_GRACE = 2
"""
Seconds until connections that have not ended by themselves are cut. Streams have ended by then: the forum sees to that, and holds the
signal back meanwhile, for a second at most.
"""

_MAX_MESSAGE = 2**16
_CONNECTIONS = 2**16

_STOP = _GRACE + 2.5
"""Seconds until a worker that has not ended is killed."""

_TOLD_AT_START = ("asgi_forum.source_lost", "asgi_forum.redis_evicts", "asgi_forum.redis_read_only")
"""What is logged when a forum starts: once for all processes together, by the one that looks at the source first."""


class _Server(uvicorn.Server):
    """A uvicorn server that says when it listens, and cuts clients that take nothing."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], patience: float) -> None:
        super().__init__(config)
        self._ready = ready
        self._stalls = Stalls(patience)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so; a start that failed says so itself."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections too, ten times a second."""
        self._stalls.look(self.server_state.connections, time.monotonic())
        return await super().on_tick(counter)


class _NoEndings(logging.Filter):
    """
    Drops what uvicorn says of connections that ended as the forum wanted: a traceback of each task that it had to cancel at the
    end (its own line says how many), and a line for each refused upgrade and each client that took nothing and was given up.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        cancelled = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
        return not (cancelled or record.getMessage().startswith("ASGI callable returned without completing"))


class _NotAgain(logging.Filter):
    """Drops what was told when the source was looked at first."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(_TOLD_AT_START)


@dataclass(frozen=True, slots=True)
class _Site:
    """What is served, in a form that can be handed to another process."""

    path: str
    log_level: str
    options: Mapping[str, Any]

    def begin_logging(self) -> None:
        """Log to stderr."""
        logging.basicConfig(level=self.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("uvicorn.error").addFilter(_NoEndings())

    def forum(self) -> Forum:
        """Make the forum. Raises ConfigurationError."""
        return Forum.from_env(**self.options)

    def serve(self, forum: Forum, sock: socket.socket, ready: Callable[[], None]) -> bool:
        """Serve it in this process until SIGINT or SIGTERM; return whether it got so far."""
        for name in ("asgi_forum.lifecycle", "asgi_forum.redis"):
            logging.getLogger(name).addFilter(_NotAgain())
        config = uvicorn.Config(
            forum if self.path == "/" else ForumMiddleware(Starlette(), forum=forum, path=self.path),
            log_config=None,
            access_log=self.log_level in ("info", "debug"),
            lifespan="on",
            timeout_graceful_shutdown=_GRACE,
            ws_max_size=_MAX_MESSAGE,
            ws_per_message_deflate=False,
        )
        server = _Server(config, ready, forum.limits.send_timeout)
        # uvicorn, once it has stopped, raises the signal that stopped it again: SIGTERM then is the end that was asked for.
        signal.signal(signal.SIGTERM, _done)
        server.run(sockets=[sock])
        return server.started


def serve(*, host: str, port: int, path: str, log_level: str, workers: int, **options: Any) -> None:
    """Serve a forum until SIGINT or SIGTERM. Raises ConfigurationError, ClickException where it can't listen."""
    settings = {**ForumSettings.read().model_dump(), **options}
    site = _Site(path, log_level, settings)
    site.begin_logging()
    forum = site.forum()
    sock = listen(host, port, heartbeat=settings["heartbeat"], send_timeout=forum.limits.send_timeout)
    url = address(sock, path)
    _allow_connections()
    with sock:
        asyncio.run(_look_at(forum))
        if workers > 1:
            supervisor = Supervisor(_work, (site, sock), count=workers, ready=lambda: _say(url), patience=_STOP)
            if supervisor.run() == signal.SIGINT:
                raise KeyboardInterrupt
        elif not site.serve(forum, sock, lambda: _say(url)):
            raise click.ClickException("the forum did not start; the log says why")


async def _look_at(forum: Forum) -> None:
    """Start once, and stop: what is wrong with the source is told here, by one line. One that is away only warns."""
    async with forum:
        pass


def _work(site: _Site, sock: socket.socket, tell: Connection) -> None:
    """Be one of several processes that serve."""
    end_with_parent()
    site.begin_logging()
    try:
        served = site.serve(site.forum(), sock, lambda: tell.send(True))
    except ForumError as error:
        sys.exit(f"Error: {error}")
    sys.exit(0 if served else 1)


def _say(url: str) -> None:
    try:
        click.echo(f"asgi-forum: listening on {url}")
    except BrokenPipeError:  # nobody reads it; the forum is there all the same
        hush()


def _done(number: int, frame: FrameType | None) -> None:
    """Let the process go on to its end."""


def _allow_connections() -> None:
    """Raise the soft limit of open files, which is often 1024: every client needs one."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, _CONNECTIONS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
