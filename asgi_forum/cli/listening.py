"""The socket that `asgi-forum serve` listens on: its connections inherit what makes clients cheap that vanish, or read nothing."""

from __future__ import annotations

import math
import socket
import sys

import click

__all__ = ["address", "listen"]

_SEND_BUFFER = 2**16
"""Bytes that the kernel holds for a client that reads nothing (it takes twice that, for its own accounts): by default that is 4 MB."""

_PROBES = 4
"""Keepalive probes without an answer after which the kernel gives a connection up; together they take `send_timeout`."""

_LONGEST = 32_767
"""Seconds: what Linux takes as a time between probes."""


def listen(host: str, port: int, *, heartbeat: float, send_timeout: float) -> socket.socket:
    """
    Listen on the first address of the host. Raises ClickException.

    A client that acknowledges nothing, or whose window stays closed, is let go of in `send_timeout` seconds after something was sent
    to it; one that vanished while nothing is sent (a page's wait, a connection that never asked) as long after a heartbeat's time.
    """
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
        _set_up(sock, heartbeat, send_timeout)
        sock.bind(address)
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise click.ClickException(f"can't listen on {host} port {port}: {error.strerror}") from error
    return sock


def address(sock: socket.socket, path: str) -> str:
    """Return the URL that it is reached by."""
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"


def _set_up(sock: socket.socket, heartbeat: float, send_timeout: float) -> None:
    """Set what every connection inherits."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        patience = min(max(int(send_timeout * 1000), 1), 2**31 - 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
    if hasattr(socket, "TCP_KEEPIDLE"):
        # A second after the heartbeat: a stream is never probed, as what it was sent has been acknowledged by then, or has not.
        idle, apart = math.ceil(heartbeat) + 1, math.ceil(send_timeout / _PROBES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, min(idle, _LONGEST))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, min(apart, _LONGEST))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
