"""`asgi-forum serve`: a forum by itself, on uvicorn."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from types import FrameType
from typing import Any

import click
from starlette.applications import Starlette

from asgi_forum.app import Forum
from asgi_forum.middleware import ForumMiddleware
from asgi_forum.settings import Limits

try:
    import uvicorn
except ModuleNotFoundError as _error:
    raise ImportError("serve needs uvicorn: pip install 'asgi-forum[cli]'", name=_error.name) from _error

__all__ = ["serve"]

_GRACE = 3
"""Seconds until connections that have not ended by themselves are cut. Streams end at once: the forum sees to that."""

_MAX_MESSAGE = 2**16
_CONNECTIONS = 2**16


class _Server(uvicorn.Server):
    """A uvicorn server that says when it listens."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so; a start that failed says so itself."""
        await super().startup(sockets)
        if self.started:
            click.echo(f"asgi-forum: listening on {self._address}")


class _NoCancelled(logging.Filter):
    """Drops uvicorn's traceback of each task that it had to cancel at the end: its own line says how many."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def serve(*, host: str, port: int, path: str, log_level: str, **options: Any) -> None:
    """Serve a forum until SIGINT or SIGTERM. Raises ConfigurationError, ClickException where it can't listen."""
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").addFilter(_NoCancelled())
    forum = Forum.from_env(**options)
    app = forum if path == "/" else ForumMiddleware(Starlette(), forum=forum, path=path)
    sock = _listen(host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=log_level in ("info", "debug"),
        lifespan="on",
        timeout_graceful_shutdown=_GRACE,
        ws_max_size=_MAX_MESSAGE,
        ws_per_message_deflate=False,
    )
    server = _Server(config, _address(sock, path))
    # uvicorn, once it has stopped, raises the signal that stopped it again: SIGTERM then is the end that was asked for.
    signal.signal(signal.SIGTERM, _done)
    _allow_connections()
    with sock:
        server.run(sockets=[sock])
    if not server.started:
        raise click.ClickException("the forum did not start; the log says why")


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


def _listen(host: str, port: int) -> socket.socket:
    """Listen on the first address of the host."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise click.ClickException(f"can't listen on {host} port {port}: {error.strerror}") from error
    try:
        if sys.platform != "win32":  # there it would let two servers have one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # An app can't free the socket of a client that never reads: the kernel can, once the forum has given it up.
            patience = int(Limits().send_timeout * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
        sock.bind(address)
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise click.ClickException(f"can't listen on {host} port {port}: {error.strerror}") from error
    return sock


def _address(sock: socket.socket, path: str) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"
