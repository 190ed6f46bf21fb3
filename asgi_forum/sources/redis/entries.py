"""The entries of a log as Redis keeps them: what a forum makes of one, and the trace by which a repeated id is judged."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b, sha1
from typing import Any, cast

from pydantic_core import from_json

from asgi_forum.cursor import Cursor, CursorKey
from asgi_forum.entries import Entry, StoredEvent, canonical
from asgi_forum.errors import InvalidEvent, quote
from asgi_forum.logs import EventLogger, event_logger
from asgi_forum.models import parse_events

__all__ = ["FIELDS", "Decoder", "RawEntry", "decoded", "mask_of", "record_of", "trace_of"]

logger: EventLogger = event_logger("asgi_forum.redis")

FIELDS = (
    "event_type",
    "event_version",
    "occurred_at",
    "thread_id",
    "run_id",
    "ticket",
    "agent_name",
    "actor_type",
    "actor_name",
    "correlation_id",
    "causation_id",
    "payload",
)
"""What a trace is made of, in order; publish.lua counts on it."""

_REQUIRED = ("event_id", "event_type", "ticket", "occurred_at")
_TOLD = 10_000
_OWN, _SMALL = 1000, 4096
"""How many entries of this process's own are remembered until they come back, and of how many bytes at most."""


@dataclass(frozen=True, slots=True)
class RawEntry:
    """One entry: its sequence, and its fields as they stand in the stream."""

    sequence: int
    fields: Sequence[bytes]

    @property
    def raw(self) -> bytes:
        """What its cursor's check is made of: the JSON alone, or, where there is more than that, all of it."""
        if len(self.fields) == 2 and self.fields[0] == b"event":
            return self.fields[1]
        return b"\0" + b"".join(b"%d:%b" % (len(text), text) for text in self.fields)

    @property
    def event(self) -> bytes | None:
        """Its JSON, if it has any."""
        for name, value in zip(self.fields[::2], self.fields[1::2], strict=True):
            if name == b"event":
                return value
        return None


def _envelope_and_payload(data: bytes) -> tuple[dict[str, Any], Any]:
    document: Any = from_json(data)
    fields = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    envelope: Any = fields.get("envelope")
    if not isinstance(envelope, dict):
        raise InvalidEvent([{"loc": ["event"], "msg": 'expected {"envelope": {...}, "payload": {...}}'}])
    return cast("dict[str, Any]", envelope), fields.get("payload")


def decoded(entry: RawEntry) -> Entry:
    """Return an entry as a published event; InvalidEvent where it does not pass the same checks."""
    data = entry.event
    if data is None:
        raise InvalidEvent([{"loc": [], "msg": "expected a field 'event'"}])
    try:
        envelope, payload = _envelope_and_payload(data)
    except ValueError as error:
        raise InvalidEvent([{"loc": ["event"], "msg": f"not JSON: {quote(str(error))}"}]) from error
    if "payload" in envelope:
        raise InvalidEvent([{"loc": ["envelope", "payload"], "msg": "the payload stands beside the envelope"}])
    (event,) = parse_events({**envelope, "payload": payload})
    for name in _REQUIRED:
        if getattr(event, name) is None:
            raise InvalidEvent([{"loc": ["envelope", name], "msg": "this field is required"}])
    return Entry.of(event)


class Decoder:
    """
    Makes events of entries. What can't be decoded is counted, and told with its id, once (the last 10,000 are known); its number is
    used up.
    """

    def __init__(self) -> None:
        self.undecodable: int = 0
        self._told: OrderedDict[int, None] = OrderedDict()
        self._own: OrderedDict[bytes, Entry] = OrderedDict()

    def expect(self, entries: Sequence[Entry]) -> None:
        """Remember what this process publishes, for a while: its bytes come back, and need not be checked again."""
        for entry in entries:
            if len(entry.body) <= _SMALL:
                self._own[b"{%b}" % entry.body] = entry
        while len(self._own) > _OWN:
            self._own.popitem(last=False)

    def event(self, entry: RawEntry, cursor: Cursor) -> StoredEvent | None:
        """Return the event of an entry; None where it can't be decoded."""
        try:
            own = (
                self._own.pop(entry.fields[1], None) if len(entry.fields) == 2 and entry.fields[0] == b"event" else None
            )
            return StoredEvent.stored(own or decoded(entry), entry.sequence, str(cursor))
        except InvalidEvent as error:
            if entry.sequence not in self._told:
                self.undecodable += 1
                self._told[entry.sequence] = None
                if len(self._told) > _TOLD:
                    self._told.popitem(last=False)
                logger.warning("asgi_forum.undecodable_entry: 0-%d: %s", entry.sequence, error)
            return None

    def events(self, entries: Sequence[RawEntry], key: CursorKey) -> list[StoredEvent]:
        """Return the events of entries, in order; those that can't be decoded are left out."""
        found = (self.event(entry, key.cursor(entry.sequence, entry.raw)) for entry in entries)
        return [event for event in found if event is not None]


def _values(body: bytes) -> Mapping[str, Any]:
    document = from_json(b"{%b}" % body)
    return {**document["envelope"], "payload": document["payload"]}


def trace_of(entry: Entry) -> bytes:
    """
    Return the trace of an entry: for each field 3 bytes of a hash of its value, for the payload 6.

    Two values that differ have the same trace once in 16 million times, two payloads once in 2^48: then a repeat with other
    content counts as a duplicate.
    """
    values = _values(entry.body)
    traces = [_trace_of_value(canonical(values.get(name))) for name in FIELDS[:-1]]
    return b"".join([*traces, blake2b(canonical(values["payload"]).encode(), digest_size=6).digest()])


@lru_cache(4096)
def _trace_of_value(text: str) -> bytes:
    """Most values are those of many events: no value, a type, a ticket, who it was."""
    return blake2b(text.encode(), digest_size=3).digest()


def mask_of(entry: Entry) -> str:
    """Return which fields the publisher gave, as 1 and 0."""
    return "".join("1" if name in entry.given else "0" for name in FIELDS)


def record_of(entry: RawEntry) -> tuple[str, bytes] | None:
    """Return the id of another producer's entry, and what is remembered of it; None where it can't be decoded."""
    try:
        event = decoded(entry)
    except InvalidEvent:
        return None
    digest = sha1(entry.fields[1], usedforsecurity=False).hexdigest()[:8]
    return event.event_id, b"%d::%b:%b" % (entry.sequence, digest.encode(), trace_of(event))
