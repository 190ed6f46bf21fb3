"""RedisSource: one log in a Redis Stream, for any number of processes on any number of machines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode

from redis import exceptions

from asgi_forum.cursor import Cursor, CursorKey, fresh_identity
from asgi_forum.entries import Entry
from asgi_forum.errors import ConfigurationError, EventIdConflict, SourceUnavailable
from asgi_forum.logs import EventLogger, event_logger
from asgi_forum.models import Receipt
from asgi_forum.sources.base import LiveSource, Page, ReportingSource, WritableSource
from asgi_forum.sources.redis.checks import check_readable, check_server
from asgi_forum.sources.redis.connections import Connections, Script
from asgi_forum.sources.redis.entries import FIELDS, Decoder, RawEntry, mask_of, record_of, trace_of
from asgi_forum.sources.redis.failures import misconfigured
from asgi_forum.sources.redis.feed import Follower, shared_feed
from asgi_forum.sources.redis.inspect import inspect
from asgi_forum.sources.redis.keys import LogKeys
from asgi_forum.sources.redis.log import Look, forked, raw_entries, unnumbered_message
from asgi_forum.sources.redis.places import place_of_client, place_of_url
from asgi_forum.sources.redis.repair import repair
from asgi_forum.sources.redis.retention import Retention
from asgi_forum.sources.registry import SourceOptions
from asgi_forum.sources.upkeep import InspectableSource, Inspection, Repair, RepairableSource

__all__ = ["RedisSource"]

logger: EventLogger = event_logger("asgi_forum.redis")

_READ, _PUBLISH, _LEARN, _IDENTIFY = map(Script.load, ("read", "publish", "learn", "identify"))

_FAR = 2**53 - 1
"""The last sequence that a script can tell from its neighbours: Lua's numbers are doubles."""

_ROUNDS = 8
"""How often a publish looks at what others have appended meanwhile before it goes on without."""

_PAGE_BYTES = 4 * 2**20
_CONNECTIONS = 8


class RedisSource:
    """
    The log of the forum `name` in Redis 7.0 or later (or Valkey): live, writable, shared by all who name it.

    source: a URL (`redis://`, `rediss://`, `unix://`, `redis+sentinel://HOST:PORT,.../SERVICE`, `redis+cluster://`), or a client
    of redis.asyncio, whose settings are taken over (its connections are not used). retain: entries to keep at least. retain_for:
    seconds for which an entry is kept after it arrived, and not much longer; None for ever. remember: seconds for which an
    `event_id` is known at least, whatever is retained. wait_replicas: replicas that must have the events before publishing
    returns. timeout: seconds that Redis may take to answer.

    A process has one connection that waits for new entries, which up to sixteen forums on one Redis share, and each forum at most
    eight for reading and publishing, however many clients it has. A URL may carry the settings that are its own, as in
    `redis://host/0?timeout=2&retain_for=86400`. One event loop at a time.
    """

    kind = "redis"

    def __init__(
        self,
        source: object = "redis://localhost:6379/0",
        *,
        name: str = "default",
        retain: int = 100_000,
        retain_for: float | None = None,
        remember: float = 3600.0,
        wait_replicas: int = 0,
        timeout: float = 5.0,
    ) -> None:
        SourceOptions(name, retain, retain_for)
        settings: dict[str, Any] = {"remember": remember, "wait_replicas": wait_replicas, "timeout": timeout}
        settings["retain_for"] = retain_for
        if isinstance(source, str):
            source, settings = _split_settings(source, settings)
        self._timeout = _seconds("timeout", settings["timeout"])
        self._remember = math.ceil(_seconds("remember", settings["remember"]))
        self._retain_for = None if settings["retain_for"] is None else _seconds("retain_for", settings["retain_for"])
        self._replicas = _count("wait_replicas", settings["wait_replicas"])
        self._retain = retain
        self._keys = LogKeys(name)
        self._source = source
        self._decoder = Decoder()
        self._key: CursorKey | None = None
        self._unnumbered: str | None = None
        self._start: Cursor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._checked = False
        self._connections = self._connect(_CONNECTIONS)
        self._keeper = self._retention()

    @classmethod
    def from_url(cls, url: str, options: SourceOptions) -> RedisSource:
        """Make the source of a URL. Raises ConfigurationError where it is off."""
        return cls(url, name=options.name, retain=options.retain, retain_for=options.retain_for)

    async def open(self) -> None:
        """Check that Redis can be used. Raises SourceUnavailable, ConfigurationError (with the version or setting that is off)."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # What was closed keeps no connection any more; what a loop that has ended left open can't be used in this one, nor closed.
            self._loop, self._connections = loop, self._connect(_CONNECTIONS)
            self._keeper = self._retention()
        self._checked = False
        try:
            await check_server(self._connections, self._keys)
            self._checked = True
            await self.read(_FAR, 0)
        except SourceUnavailable as error:
            if (wrong := misconfigured(error)) is not None:
                raise wrong from error
            raise

    async def close(self) -> None:
        """Close the connections. Harmless when closed."""
        self._loop = None
        await self._connections.close()

    async def read(self, after: int, limit: int) -> Page:
        """Return the entries after a sequence: as many as `limit`, or as 4 MiB hold."""
        after = min(after, _FAR)
        return (await self._look("after", after, limit)).page_after(after, self._decoder)

    async def read_before(self, before: int, limit: int) -> Page:
        """Return the last entries up to a sequence."""
        before = min(before, _FAR)
        return (await self._look("before", before, limit)).page_before(before, self._decoder)

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """
        Append entries in one round trip. Raises SourceUnavailable, with the outcome, and EventIdConflict.

        An answer that is lost (its connection was cut) is asked for again once: what was appended then is found by its id.
        """
        arguments: list[str | bytes | int] = []
        for entry in entries:
            arguments += (entry.event_id, f"{entry.token:08x}", mask_of(entry), trace_of(entry), b"{%b}" % entry.body)
        self._decoder.expect(entries)
        try:
            key, answers = await self._append(arguments)
        except SourceUnavailable as error:
            if error.outcome != "unknown" or isinstance(error.__cause__, exceptions.TimeoutError | TimeoutError):
                raise
            key, answers = await self._append_again(arguments)
        return [_receipt(key, entries, index, answer) for index, answer in enumerate(answers)]

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """
        Deliver what comes after a position. Raises SourceUnavailable where it is lost.

        One connection waits for it, the same for all forums of this event loop whose logs are there.
        """
        new = True
        async with shared_feed(self._place(), self._keys.log, lambda: self._connect(1)) as feed:
            while True:
                page = await self._read_on(after)
                deliver(page)
                after = page.position
                if after.sequence < page.end.sequence:
                    continue
                await self._keeper.look()
                follower = self._follower(page, deliver)
                with feed.joined(follower, at_once=new):
                    while await feed.wait(follower):
                        if await self._keeper.look():
                            await self._tell_start(follower, deliver)
                after, new = follower.after, False

    async def _tell_start(self, follower: Follower, deliver: Callable[[Page], None]) -> None:
        """Tell where the log begins now: what is retained has changed, though nothing may have come."""
        start, after = (await self.read(_FAR, 0)).start, follower.after
        if start.epoch == after.epoch:
            deliver(Page(start, after, str(after), [], after))

    def _follower(self, page: Page, deliver: Callable[[Page], None]) -> Follower:
        key = self._require_key()  # publishing may find another log meanwhile, whose key is not that of what comes here
        start, after = page.start, page.position

        def take(entries: Sequence[RawEntry]) -> Cursor:
            nonlocal after
            asked, after = after, key.cursor(entries[-1].sequence, entries[-1].raw)
            first = self._start if self._start and self._start.epoch == key.epoch else start
            deliver(Page(first, after, str(asked), self._decoder.events(entries, key), after))
            return after

        return Follower(self._keys, key, after, take, past=self._unnumbered)

    def report(self) -> Mapping[str, Any]:
        """Return what health shows: entries that could not be decoded, and one that stops the numbering."""
        found: dict[str, Any] = {"undecodable": self._decoder.undecodable}
        if self._unnumbered is not None:
            found["fault"] = unnumbered_message(self._unnumbered)
        return found

    async def inspect(self) -> Inspection:
        """Say how the log is, and write nothing. Needs no `open`, and raises what it raises."""
        await check_readable(self._connections, self._keys)
        return await inspect(self._connections, self._keys)

    async def repair(self) -> Repair:
        """Remove what keeps the log from being numbered on; harmless where nothing does. Needs no `open`, and raises what it raises."""
        await check_readable(self._connections, self._keys)
        return await repair(self._connections, self._keys)

    async def _check(self) -> None:
        """Catch up on the check of a Redis that was away at the start; one that can't be used is as good as away."""
        try:
            await check_server(self._connections, self._keys)
        except ConfigurationError as error:
            raise SourceUnavailable(str(error), outcome="not_published") from error
        self._checked = True

    # Identity

    def _require_key(self) -> CursorKey:
        if self._key is None:
            raise SourceUnavailable("the source is not open", outcome="not_published")
        return self._key

    async def _look(self, direction: str, at: int, limit: int) -> Look:
        """Look at the log; one that has no identity gets one, and one that was emptied behind our back another."""
        keys = (self._keys.log, self._keys.meta)
        if not self._checked:
            await self._check()
        for _ in range(_ROUNDS):
            reply = await self._connections.script(_READ, keys, (direction, at, limit, _PAGE_BYTES))
            key = self._identity(reply[0], reply[1])
            if key is None:
                await self._identify("")
                continue
            look = Look.of(reply, key)
            if look.behind:
                await self._identify(key.epoch, emptied=True)
                continue
            self._note(look.unnumbered)
            self._start = look.start
            return look
        raise SourceUnavailable("the log's identity keeps changing")

    def _note(self, unnumbered: str | None) -> None:
        if unnumbered is not None and unnumbered != self._unnumbered:
            logger.error("asgi_forum.unnumbered_entry: %s", unnumbered_message(unnumbered))
        self._unnumbered = unnumbered

    def _identity(self, epoch: bytes | None, secret: bytes | None) -> CursorKey | None:
        if not epoch or not secret:
            return None
        if self._key is None or self._key.epoch != epoch.decode():
            self._key = CursorKey(epoch.decode(), bytes.fromhex(secret.decode()))
        return self._key

    async def _identify(self, found: str, *, emptied: bool = False) -> None:
        """
        Draw another identity for the log, unless somebody has done so since `found` was read. `emptied`: its key was deleted, and
        what else is known of it is of no use any more.
        """
        if found:
            logger.warning("asgi_forum.log_replaced: the log %s is another one than before", self._keys.log)
        keys = (self._keys.meta, *self._keys.ids, self._keys.ages)
        epoch, secret = await self._connections.script(_IDENTIFY, keys, (found, *fresh_identity(), int(emptied)))
        self._identity(epoch, secret)

    async def _read_on(self, after: Cursor) -> Page:
        """Read on from a position that was seen; a log that is forked from it gets another identity first."""
        page = await self.read(after.sequence, 1000)
        if forked(after, page):
            await self._identify(page.epoch)
            page = await self.read(after.sequence, 1000)
        return page

    # Publishing

    async def _append(self, arguments: Sequence[str | bytes | int]) -> tuple[CursorKey, Sequence[Any]]:
        keys = (self._keys.log, self._keys.meta, *self._keys.ids)
        wait = ("WAIT", self._replicas, int(self._timeout * 500))
        if not self._checked:
            await self._check()
        for round_ in range(2 * _ROUNDS):
            key = self._key
            forced, touch = int(round_ >= _ROUNDS), int(self._replicas > 0)
            head = (key.epoch if key else "", self._remember, self._retain, forced, touch)
            reply, *reached = await self._connections.scripts(
                _PUBLISH, keys, (*head, *arguments), *([wait] if self._replicas else [])
            )
            kind, rest = cast("bytes", reply[0]), cast("list[Any]", reply[1:])
            if kind == b"ok" and key is not None:
                self._judge_replicas(reached)
                return key, rest[0]
            if kind == b"conflict":
                index, fields = int(rest[0]), sorted(FIELDS[each - 1] for each in cast("list[int]", rest[1]))
                raise EventIdConflict(str(arguments[(index - 1) * 5]), fields, index - 1)
            if kind == b"unnumbered":
                self._note(rest[0].decode("ascii", "replace"))
                raise SourceUnavailable(unnumbered_message(str(self._unnumbered)), outcome="not_published")
            if kind == b"behind":
                await self._identify(key.epoch if key else "", emptied=True)
            elif kind == b"foreign":
                await self._learn(key, *rest)
            elif self._identity(rest[0], rest[1]) is None:
                await self._identify("")
        raise SourceUnavailable("the log's identity keeps changing", outcome="not_published")

    async def _append_again(self, arguments: Sequence[str | bytes | int]) -> tuple[CursorKey, Sequence[Any]]:
        try:
            return await self._append(arguments)
        except SourceUnavailable as error:
            raise SourceUnavailable(str(error), outcome="unknown") from error

    def _judge_replicas(self, reached: Sequence[int]) -> None:
        if reached and reached[0] < self._replicas:
            raise SourceUnavailable(
                f"{reached[0]} of {self._replicas} replicas have the events so far", outcome="unknown"
            )

    async def _learn(self, key: CursorKey | None, upto: int, entries: Sequence[Any]) -> None:
        """Take note of the ids of others' entries."""
        records = (record_of(entry) for entry in raw_entries(entries))
        known: list[str | bytes | int] = []
        for record in records:
            known += record or ()
        head = (key.epoch if key else "", self._remember, upto)
        await self._connections.script(_LEARN, (self._keys.log, self._keys.meta, *self._keys.ids), (*head, *known))

    def _retention(self) -> Retention:
        return Retention(self._connections, self._keys, retain=self._retain, retain_for=self._retain_for)

    def _connect(self, most: int) -> Connections:
        source, key = self._source, self._keys.log
        place = (
            place_of_url(source, key, timeout=self._timeout)
            if isinstance(source, str)
            else place_of_client(source, key, timeout=self._timeout)
        )
        self._slot = place.slot
        return Connections(place, most=most, timeout=self._timeout)

    def _place(self) -> Hashable:
        """Two sources with the same may share a connection. A client is known by itself: it lives as long as its sources do."""
        return (self._source if isinstance(self._source, str) else id(self._source), self._timeout, self._slot)


def _receipt(key: CursorKey, entries: Sequence[Entry], index: int, answer: Sequence[Any]) -> Receipt:
    """Read publish.lua's answer for one entry: a place of its own, that of one before it in the batch, or that of one in the log."""
    sequence, duplicate, there, *here = answer
    if there:
        raw = RawEntry(sequence, there[1]).raw
    elif here or not duplicate:
        raw = b"{%b}" % entries[here[0] - 1 if here else index].body
    else:
        raw = None
    cursor = key.bare(sequence) if raw is None else key.cursor(sequence, raw)
    return Receipt(entries[index].event_id, sequence, str(cursor), duplicate=bool(duplicate))


def _seconds(name: str, value: Any) -> float:
    # Scripts get milliseconds: less than one would be none, which stands for ever.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.001 <= value <= 1e9:
        raise ConfigurationError(f"{name}: got {value!r}, expected seconds from 0.001 to 1e9")
    return float(value)


def _count(name: str, value: Any) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < 0:
        raise ConfigurationError(f"{name}: got {value!r}, expected an integer from 0 on")
    return int(value)


def _split_settings(url: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Take the settings that are the source's own out of a URL's query; the rest is redis-py's."""
    base, _, query = url.partition("?")
    found, rest = dict(settings), list[tuple[str, str]]()
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in settings:
            rest.append((name, value))
            continue
        try:
            found[name] = float(value)
        except ValueError:
            # What it got is not shown: it may be of a password that was not percent-encoded.
            raise ConfigurationError(f"source: the URL's {name}: expected a number") from None
    return base + (f"?{urlencode(rest)}" if rest else ""), found


if TYPE_CHECKING:  # held against the Protocols here, not at some distant call
    _live: type[LiveSource] = RedisSource
    _writable: type[WritableSource] = RedisSource
    _reporting: type[ReportingSource] = RedisSource
    _inspectable: type[InspectableSource] = RedisSource
    _repairable: type[RepairableSource] = RedisSource
