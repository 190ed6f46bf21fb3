"""A log that can't be numbered on, because somebody added an entry without a number: what is wrong is taken out (protocol 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from asgi_forum.errors import SourceUnavailable
from asgi_forum.sources.redis.connections import Connections, Script
from asgi_forum.sources.redis.keys import LogKeys
from asgi_forum.sources.redis.log import numbered
from asgi_forum.sources.upkeep import Repair

__all__ = ["repair"]

_IN_PLACE, _COPY, _SWAP = map(Script.load, ("repair", "repair_copy", "repair_swap"))

_STEP = 1000
_STEP_BYTES = 2**20
_ROUNDS = 5


async def repair(connections: Connections, keys: LogKeys) -> Repair:
    """
    Remove every entry whose id is not 0-SEQUENCE, and let the log be numbered on from where it was.

    In one step where the server lets a stream's last id go back; else what is numbered is copied, in bounded steps, and takes the
    log's place in one step. Forums that are running go on: identity, cursors and the ids that are known stay what they are. Any
    number may do this at once, and where it is ended in the middle, the log is what it was. Raises SourceUnavailable.
    """
    for _ in range(_ROUNDS):
        copy = keys.copy(uuid4().hex)
        reply = await connections.script(_IN_PLACE, (keys.log, keys.meta, copy), ())
        if reply[0] != b"copy":
            return _read(reply, copied=False)
        try:
            await _copy(connections, keys.log, copy)
            reply = await connections.script(_SWAP, (keys.log, keys.meta, copy), ())
        except BaseException:
            await _forget(connections, copy)
            raise
        if reply[0] != b"changed":
            return _read(reply, copied=True)
    raise SourceUnavailable("the log changes while it is copied; try again", outcome="not_published")


def _read(reply: Sequence[Any], *, copied: bool) -> Repair:
    if reply[0] == b"fine":
        return Repair(needed=False)
    _, removed, ids, kept, last = reply
    return Repair(True, removed, [each.decode("ascii", "replace") for each in ids], kept, last, copied)


async def _copy(connections: Connections, log: str, copy: str) -> None:
    after: int | None = 0
    while after is not None:
        copied, last = await connections.script(_COPY, (log, copy), (after, _STEP, _STEP_BYTES))
        after = numbered(last) if copied else None


async def _forget(connections: Connections, copy: str) -> None:
    """Take the copy away where that can be done; else it goes by itself after an hour."""
    try:
        await connections.exchange(("UNLINK", copy))
    except SourceUnavailable:
        return
