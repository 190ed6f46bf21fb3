"""The live feed: one blocked read for all forums of a process on one Redis, with the proof behind it that each log is still the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Hashable, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
from anyio.lowlevel import RunVar

from asgi_forum.cursor import Cursor, CursorKey
from asgi_forum.errors import SourceUnavailable
from asgi_forum.sources.redis.connections import Command, Connections
from asgi_forum.sources.redis.entries import RawEntry
from asgi_forum.sources.redis.keys import LogKeys
from asgi_forum.sources.redis.log import live_entries, raw_entries

__all__ = ["BLOCK", "Feed", "Follower", "shared_feed"]

BLOCK = 1.0
"""Seconds that a read waits in Redis. After each the log's identity is proven: so long a log that was replaced can go unseen."""

_BYTES = 4 * 2**20
_MOST = 256
_FORUMS = 16
"""Forums that share a connection: each round of it proves all their logs."""


class Follower:
    """
    One log that a feed follows, from a position on.

    `deliver` gets the entries as they come, and returns the position after them. `past`: the id of an entry that can't be numbered
    on from; it is waited behind. after: the position. lost: whether it has to be read on from there by other means.
    """

    def __init__(
        self,
        keys: LogKeys,
        key: CursorKey,
        after: Cursor,
        deliver: Callable[[Sequence[RawEntry]], Cursor],
        *,
        past: str | None = None,
    ) -> None:
        self.keys: LogKeys = keys
        self.after: Cursor = after
        self.lost: bool = False
        self.failure: Exception | None = None
        self.woken: anyio.Event = anyio.Event()
        self._key = key
        self._deliver = deliver
        self._past = past

    @property
    def behind(self) -> str:
        """The id behind which entries are waited for."""
        return self._past or self._at

    @property
    def proof(self) -> tuple[Command, Command]:
        """What is read behind the blocked read: what comes is delivered only if both are what they were."""
        return ("XRANGE", self.keys.log, self._at, self._at), ("HGET", self.keys.meta, "epoch")

    def take(self, found: Sequence[tuple[bytes, Sequence[bytes]]], there: Sequence[Any], epoch: bytes | None) -> int:
        """Deliver what came, if the log is still the same; return the bytes that an entry has, 0 where none came."""
        entries, anchors = raw_entries(found), raw_entries(there)
        if self.after.sequence:
            same = len(anchors) == 1 and self._key.cursor(self.after.sequence, anchors[0].raw) == self.after
        else:  # before the first one lies nothing that could be another
            same = not entries or entries[0].sequence == 1
        if self._past is not None or epoch != self._key.epoch.encode() or not same or len(entries) < len(found):
            self.lost = True
            return 0
        if not entries:
            return 0
        try:
            self.after = self._deliver(entries)
        except Exception as error:  # it is this forum's alone
            self.fail(error)
        return sum(len(text) for entry in entries for text in entry.fields) // len(entries)

    def fail(self, error: Exception) -> None:
        """End it: whoever waits for it gets this error."""
        self.failure = error

    @property
    def _at(self) -> str:
        return f"0-{self.after.sequence}"


class Feed:
    """
    Waits in Redis for the entries of several logs, on a connection of its own.

    It has no task: those who follow take turns at reading for all of them.
    """

    def __init__(self, connections: Connections) -> None:
        self.logs: set[str] = set()
        self._connections = connections
        self._followers: list[Follower] = []
        self._reading: anyio.CancelScope | None = None
        self._count = 64

    @contextmanager
    def joined(self, follower: Follower, *, at_once: bool) -> Generator[None]:
        """
        Follow one log more. `at_once`: a read that waits for the others only is begun anew, on another connection; else it joins
        when that is over.
        """
        self._followers.append(follower)
        if at_once and self._reading is not None:
            self._reading.cancel()
        try:
            yield
        finally:
            self._followers.remove(follower)
            follower.lost = True  # a read that is under way for all brings it nothing any more
            for each in self._followers:
                each.woken.set()  # it may have been the one who reads

    async def wait(self, follower: Follower) -> bool:
        """
        Wait until something may have come, at most BLOCK seconds; it is delivered then. False where the position is lost.

        Raises SourceUnavailable, and what `deliver` raised.
        """
        if not self._over(follower):
            if self._reading is None:
                with anyio.CancelScope() as self._reading:
                    try:
                        await self._read()
                    finally:
                        self._reading = None
            else:
                follower.woken = anyio.Event()
                with anyio.move_on_after(BLOCK):
                    await follower.woken.wait()
        if follower.failure is not None:
            raise follower.failure
        return not follower.lost

    async def close(self) -> None:
        """Close the connection."""
        await self._connections.close()

    async def _read(self) -> None:
        followers = [each for each in self._followers if not self._over(each)]
        streams = [each.keys.log for each in followers] + [each.behind for each in followers]
        blocked: Command = ("XREAD", "COUNT", self._count, "BLOCK", int(BLOCK * 1000), "STREAMS", *streams)
        proofs = [command for each in followers for command in each.proof]
        try:
            reply, *shown = await self._connections.call(blocked, *proofs, patience=BLOCK)
        except SourceUnavailable as error:
            for each in followers:
                each.fail(SourceUnavailable(str(error), outcome=error.outcome))
                each.woken.set()
            return
        found, size = live_entries(reply), 0
        for each, there, epoch in zip(followers, shown[::2], shown[1::2], strict=True):
            if not self._over(each):
                size = max(size, each.take(found.get(each.keys.log.encode(), ()), there, epoch))
            if self._over(each):
                each.woken.set()
        if size:
            # Large entries come in smaller pages: what Redis and this process hold at once is bounded.
            self._count = max(1, min(_MOST, _BYTES // (size * len(followers))))

    @staticmethod
    def _over(follower: Follower) -> bool:
        return follower.lost or follower.failure is not None


_feeds: RunVar[dict[Hashable, list[Feed]]] = RunVar("asgi_forum.redis.feeds")


@asynccontextmanager
async def shared_feed(place: Hashable, log: str, connect: Callable[[], Connections]) -> AsyncGenerator[Feed]:
    """
    Give a feed of a place for a log, the same to up to 16 forums of this event loop; the last one who leaves closes it.

    A log is there once: Redis' answer tells the streams by their names, not by the positions that were asked for.
    """
    try:
        feeds = _feeds.get()
    except LookupError:
        _feeds.set(feeds := {})
    here = feeds.setdefault(place, [])
    feed = next((each for each in here if len(each.logs) < _FORUMS and log not in each.logs), None)
    if feed is None:
        here.append(feed := Feed(connect()))
    feed.logs.add(log)
    try:
        yield feed
    finally:
        feed.logs.discard(log)
        if not feed.logs:
            here.remove(feed)
            if not here:
                feeds.pop(place, None)
            await feed.close()
