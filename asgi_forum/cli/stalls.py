"""
Connections of clients that read slowly, and when to cut them.

The kernel can't tell. It counts TCP_USER_TIMEOUT from the first time that a client's window was closed, and Linux (6.18 still does) forgets
that time only if the window then opens wide enough for all that is to be sent at once. So a client that reads steadily, but less than
there is, is cut after that time, and one that stalled for a second may be cut at its next short stall, hours later. It is right only for
clients whose window was never closed: those that just vanish. The others are judged here, by what they have acknowledged.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import sys
from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol

__all__ = ["Connection", "Stalls"]

_ROUNDS = 5
"""How often in the time that a client may take each connection is looked at, to see whether its window was closed."""

_LOOKS = 20
"""The same, of those whose window was."""

_INFO = struct.Struct("=24xI92xQ16xI28xQ")
"""Of `struct tcp_info`: packets not acknowledged, bytes acknowledged, bytes not sent yet, µs for which the window held it up."""

_RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: what is still to be sent is dropped."""


class Connection(Protocol):
    """A server's own object for a connection."""

    @property
    def transport(self) -> asyncio.Transport:
        """What it sends to."""
        ...


class _State(NamedTuple):
    """How far a client is."""

    acknowledged: int
    waits: bool  # for the client to acknowledge something
    held_up: bool  # ever, by its closed window


class Stalls:
    """Cuts connections that acknowledge nothing for `patience` seconds of what is sent to them, where the kernel would err. Linux only."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._turns: list[Connection] = []
        self._size = 0
        self._looked = self._judged = -math.inf
        self._slow: dict[Connection, tuple[int, float]] = {}

    def look(self, connections: Collection[Connection], now: float) -> None:
        """
        Look at a share of the open connections, and at those that are judged here. To be called some times a second, with all that are
        open: one that is not has a descriptor that may be another's.
        """
        if sys.platform != "linux":
            return
        for connection in self._share(connections, now):
            if connection not in self._slow and connection in connections:
                self._take_over(connection, now)
        if now - self._judged >= self._patience / _LOOKS:
            self._judged = now
            for connection in tuple(self._slow):
                if connection not in connections or not self._goes_on(connection, now):
                    del self._slow[connection]

    def _share(self, connections: Collection[Connection], now: float) -> Iterator[Connection]:
        """Those whose turn it is."""
        share = min((now - self._looked) * _ROUNDS / self._patience, 1.0)
        self._looked = now
        for _ in range(max(1, math.ceil(share * self._size))):
            if not self._turns:
                self._turns = list(connections)
                self._size = len(self._turns)
            if self._turns:
                yield self._turns.pop()

    def _take_over(self, connection: Connection, now: float) -> None:
        """Judge it here from now on, if its window was ever closed."""
        state = _state(connection)
        if state is not None and state.held_up:
            _socket(connection).setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
            self._slow[connection] = (state.acknowledged, now)

    def _goes_on(self, connection: Connection, now: float) -> bool:
        """Whether there is progress, or still may be; else cut it."""
        state = _state(connection)
        if state is None:
            return False
        acknowledged, since = self._slow[connection]
        if not state.waits or state.acknowledged != acknowledged:
            self._slow[connection] = (state.acknowledged, now)
        elif now - since >= self._patience:
            # Without this the kernel goes on holding what is unsent, for a client that takes nothing.
            _socket(connection).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.transport.abort()
            return False
        return True


def _socket(connection: Connection) -> socket.socket:
    """What a transport has is almost one."""
    found: socket.socket = connection.transport.get_extra_info("socket")
    return found


def _state(connection: Connection) -> _State | None:
    """Ask the kernel; None where it can't tell (before Linux 4.10), or has closed it."""
    try:
        info = _socket(connection).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        packets, acknowledged, unsent, held_up = _INFO.unpack(info)
    except (OSError, struct.error):
        return None
    return _State(acknowledged, packets + unsent > 0, held_up > 0)
