"""The live feed: one blocked read for a whole process, with the proof behind it that the log is still the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asgi_forum.cursor import Cursor, CursorKey
from asgi_forum.sources.redis.connections import Connections
from asgi_forum.sources.redis.entries import RawEntry
from asgi_forum.sources.redis.log import live_entries, raw_entries

__all__ = ["BLOCK", "Feed", "News"]

BLOCK = 1.0
"""Seconds that a read waits in Redis. After each the log's identity is proven: so long a log that was replaced can go unseen."""

_BYTES = 4 * 2**20
_MOST = 256


@dataclass(frozen=True, slots=True)
class News:
    """The entries that came after a position; none where the wait was over."""

    entries: Sequence[RawEntry]


class Feed:
    """Waits for entries on a connection of its own."""

    def __init__(self, connections: Connections, log: str, meta: str) -> None:
        self._connections = connections
        self._log = log
        self._meta = meta
        self._count = 64

    async def wait(self, after: Cursor, key: CursorKey, *, past: str | None = None) -> News | None:
        """
        Wait for entries after a position, at most BLOCK seconds; None where the position has to be read on from instead.

        Behind the blocked read, in the same go, the entry at the position and the log's epoch are read: what comes is delivered
        only if both are what they were. `past`: the id of an entry that can't be numbered on from; it is waited behind.
        Raises SourceUnavailable.
        """
        at = f"0-{after.sequence}"
        blocked = ("XREAD", "COUNT", self._count, "BLOCK", int(BLOCK * 1000), "STREAMS", self._log, past or at)
        proof = ("XRANGE", self._log, at, at), ("HGET", self._meta, "epoch")
        reply, there, epoch = await self._connections.call(blocked, *proof, patience=BLOCK)
        found = live_entries(reply)
        entries = raw_entries(found)
        anchors = raw_entries(there)
        same = len(anchors) == 1 and key.cursor(after.sequence, anchors[0].raw) == after
        if past is not None or epoch != key.epoch.encode() or not same or len(entries) < len(found):
            return None
        if entries:
            # Large entries come in smaller pages: what Redis and this process hold at once is bounded.
            size = sum(len(text) for entry in entries for text in entry.fields) // len(entries)
            self._count = max(1, min(_MOST, _BYTES // max(size, 1)))
        return News(entries)

    async def close(self) -> None:
        """Close the connection."""
        await self._connections.close()
