"""How a log is, without a change to it: one that nobody has begun stays so."""

from __future__ import annotations

import time

from asgi_forum.cursor import CursorKey
from asgi_forum.sources.redis.connections import Connections, Script
from asgi_forum.sources.redis.keys import LogKeys
from asgi_forum.sources.redis.log import Look, unnumbered_message
from asgi_forum.sources.upkeep import Inspection

__all__ = ["inspect"]

_READ = Script.load("read")
_END = 2**53 - 1


async def inspect(connections: Connections, keys: LogKeys) -> Inspection:
    """Look at a log once. Raises SourceUnavailable, ConfigurationError."""
    (entries,) = await connections.call(("XLEN", keys.log))
    before = time.perf_counter()
    reply = await connections.script(_READ, (keys.log, keys.meta), ("before", _END, 1, 2**20))
    read_time = time.perf_counter() - before
    epoch, secret = reply[0], reply[1]
    begun = bool(epoch and secret)
    look = Look.of(reply, CursorKey(epoch.decode(), bytes.fromhex(secret.decode())) if begun else CursorKey("", b""))
    note = None
    if not begun:
        note = "no forum has read this log yet" if entries else "nobody has begun this log"
    elif look.behind:
        note = "the log was emptied since it was appended to: forums give it another identity, and clients get a reset"
    return Inspection(
        cursor=None if note else str(look.end),
        entries=entries,
        note=note,
        fault=None if look.unnumbered is None else unnumbered_message(look.unnumbered),
        read_time=read_time,
    )
