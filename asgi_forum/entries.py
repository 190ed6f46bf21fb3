"""
An event on its way into a log, and as the log keeps it.

It is encoded once, when it enters the log; readers share those bytes. Everything here is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import lru_cache
from json import JSONEncoder
from random import getrandbits
from typing import Any, Self, cast

from pydantic_core import from_json, to_json

from asgi_forum.cursor import Cursor
from asgi_forum.errors import InvalidEvent, PayloadTooLarge, quote
from asgi_forum.models import MAX_EVENTS, Envelope, ForumEvent, Keys
from asgi_forum.stamps import new_event_id, rfc3339, utc_text

__all__ = ["Entry", "StoredEvent", "canonical", "encode_events", "is_plain"]

MAX_DEPTH = 150
"""The most levels of a payload: JSON parsers have limits (ours 200), and a payload travels inside frames and lists of them."""


@dataclass(slots=True)
class _Shared:
    """What the events of one ticket, run and so on share: the JSON of their envelopes before and after `occurred_at`, and the keys."""

    before: bytes
    after: bytes
    keys: Keys


@lru_cache(maxsize=1024)
def _shared(
    event_type: str,
    event_version: int,
    thread_id: str | None,
    run_id: str | None,
    ticket: str,
    agent_name: str | None,
    actor_type: str,
    actor_name: str | None,
) -> _Shared:
    who = {
        "thread_id": thread_id,
        "run_id": run_id,
        "ticket": ticket,
        "agent_name": agent_name,
        "actor_type": actor_type,
        "actor_name": actor_name,
    }
    before = _members({"event_type": event_type, "event_version": event_version}) + b',"occurred_at":'
    return _Shared(before, _members(who), Keys.of(ticket, run_id, thread_id, event_type))


def _causes(event: ForumEvent) -> bytes:
    """Return the JSON of what led to an event, which no two events need share."""
    return b"," + _members({"correlation_id": event.correlation_id, "causation_id": event.causation_id})


def _members(fields: Mapping[str, object]) -> bytes:
    """Return the JSON of an object's members, of those that have a value."""
    return to_json({name: value for name, value in fields.items() if value is not None})[1:-1]


class _Given(Mapping[str, Any]):
    """The fields that a publisher named, as JSON values: made when they are asked for, which is where an id is repeated."""

    __slots__ = ("_event", "_occurred_at")

    def __init__(self, event: ForumEvent, occurred_at: str) -> None:
        self._event = event
        self._occurred_at = occurred_at

    def __getitem__(self, name: str) -> Any:
        return self._fields()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields())

    def __len__(self) -> int:
        return len(self._fields())

    def _fields(self) -> dict[str, Any]:
        given = {
            name: value for name, value in self._event.__dict__.items() if value is not None and name != "event_id"
        }
        if "occurred_at" in given:
            given["occurred_at"] = self._occurred_at
        return given


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One event ready for a log: checked, complete, encoded.

    `body` is its JSON without the outer braces (`"envelope":{...},"payload":{...}`), UTF-8, in one line. `given` holds the fields
    that the publisher named (but for `event_id`), as JSON values: what a repeated `event_id` is compared by. `token` is this
    entry's own: a source may tell by it that it was handed the same one twice, because an answer was lost.
    """

    event_id: str
    body: bytes
    keys: Keys
    given: Mapping[str, Any]
    token: int = field(default_factory=lambda: getrandbits(32))

    @classmethod
    def of(cls, event: ForumEvent, *, index: int = 0, now: str | None = None) -> Self:
        """
        Encode an event; what it left out gets its default (`occurred_at`: `now`, as RFC 3339).

        Raises InvalidEvent, with `index`, where the payload is not JSON (RFC 8259): NaN, a lone surrogate, an object of Python.
        """
        event_id = event.event_id or new_event_id()
        shared = _shared(
            event.event_type,
            event.event_version or 1,
            event.thread_id,
            event.run_id,
            event.ticket,
            event.agent_name,
            event.actor_type or "system",
            event.actor_name,
        )
        occurred_at = rfc3339(event.occurred_at) if event.occurred_at else now or utc_text()
        causes = _causes(event) if event.correlation_id or event.causation_id else b""
        body = b'"envelope":{"event_id":%b,%b"%b",%b%b},"payload":%b' % (
            to_json(event_id),
            shared.before,
            occurred_at.encode(),
            shared.after,
            causes,
            _encode_payload(event.payload, index),
        )
        return cls(event_id, body, shared.keys, _Given(event, occurred_at))

    def conflicts(self, stored: StoredEvent) -> list[str]:
        """Return the fields in which the stored event of the same id has other content than what was given here."""
        document = from_json(stored.json)
        there = {"payload": document["payload"], **document["envelope"]}
        return sorted(name for name, value in self.named() if canonical(there.get(name)) != canonical(value))

    def named(self) -> list[tuple[str, Any]]:
        """Return what was given, as the JSON that the log keeps: a payload's tuple is a list there, its key 1 is "1"."""
        named = [(name, value) for name, value in self.given.items() if name != "payload"]
        if "payload" in self.given:
            named.append(("payload", from_json(self.body.partition(b',"payload":')[2])))
        return named


@dataclass(frozen=True, slots=True, eq=False)
class StoredEvent:
    """
    One event of a log. `sequence` numbers the log's entries from 1; `cursor` is the position just after it.

    `sse` is its message of Server-Sent Events, `json` the JSON of section 1 in it, in UTF-8 and without a newline: encoded once, shared
    by all readers. `envelope` and `payload` are decoded when first asked for. Two events are equal where their JSON is.
    """

    sequence: int
    cursor: str
    sse: bytes
    keys: Keys
    _decoded: tuple[Envelope, dict[str, Any]] | None = field(default=None, repr=False)

    @classmethod
    def stored(cls, entry: Entry, sequence: int, cursor: str) -> Self:
        """Give an entry its place in a log."""
        at = cursor.encode("ascii")
        message = b'id: %b\ndata: {"sequence":%d,"cursor":"%b",%b}\n\n' % (at, sequence, at, entry.body)
        return cls(sequence, cursor, message, entry.keys)

    @classmethod
    def from_json(cls, data: str | bytes | Mapping[str, Any]) -> Self:
        """Read the JSON of section 1, as a client gets it; fields it does not know are passed over. Raises InvalidEvent."""
        try:
            document: Any = data if isinstance(data, Mapping) else from_json(data)
            envelope = _envelope(document["envelope"])
            sequence, cursor, payload = document["sequence"], document["cursor"], document["payload"]
            if not (isinstance(sequence, int) and isinstance(cursor, str) and isinstance(payload, dict)):
                raise TypeError("sequence, cursor and payload are an integer, a string and an object")
            at = cursor.encode("ascii")
            keys = Keys.of(envelope.ticket, envelope.run_id, envelope.thread_id, envelope.event_type)
            raw = (
                data
                if isinstance(data, bytes)
                else (data if isinstance(data, str) else _encode_json(document)).encode()
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidEvent([{"loc": [], "msg": f"not an event's JSON: {quote(str(error))}"}]) from error
        return cls(
            sequence, cursor, b"id: %b\ndata: %b\n\n" % (at, raw), keys, (envelope, cast("dict[str, Any]", payload))
        )

    @property
    def json(self) -> bytes:
        """Its JSON: what its message has behind `id: `, the cursor, and `data: `."""
        return self.sse[len(self.cursor) + 11 : -2]

    @property
    def position(self) -> Cursor:
        """The position just after it, as its cursor says."""
        epoch, _, check = self.cursor.split(".")
        return Cursor(epoch, self.sequence, check)

    @property
    def envelope(self) -> Envelope:
        """Who, what and when."""
        return self._decode()[0]

    @property
    def payload(self) -> dict[str, Any]:
        """What the publisher said. It is shared: don't change it."""
        return self._decode()[1]

    def _decode(self) -> tuple[Envelope, dict[str, Any]]:
        decoded = self._decoded
        if decoded is None:
            document = from_json(self.json)
            decoded = (_envelope(document["envelope"]), document["payload"])
            object.__setattr__(self, "_decoded", decoded)
        return decoded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredEvent) and self.json == other.json

    def __hash__(self) -> int:
        return hash(self.cursor)


_ENVELOPE_FIELDS = frozenset(each.name for each in fields(Envelope))
_encode_json = JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
canonical: Callable[[object], str] = JSONEncoder(separators=(",", ":"), sort_keys=True).encode
"""One text for equal JSON values, whatever the order of their keys (`true` and 1 differ, as 1 and 1.0 do)."""


def _envelope(document: Mapping[str, Any]) -> Envelope:
    known: dict[str, Any] = {name: value for name, value in document.items() if name in _ENVELOPE_FIELDS}
    known["occurred_at"] = datetime.fromisoformat(document["occurred_at"])
    return Envelope(**known)


_SHORT = 2**63
"""Integers of fewer digits than Python refuses to write."""


def is_plain(payload: Mapping[str, object]) -> bool:
    """Whether nothing in it needs a closer look: most payloads are a few texts and numbers."""
    for name, value in payload.items():
        kind = type(value)
        # Not what is made of these: `to_json` writes the value of an Enum, which need not be the number that it is.
        plain = kind is str or value is None or kind is bool or (kind is int and -_SHORT < cast("int", value) < _SHORT)
        if not plain or type(name) is not str:
            return False
    return True


def _encode_payload(payload: dict[str, Any] | None, index: int) -> bytes:
    if not payload:
        return b"{}"
    try:
        if is_plain(payload):
            return to_json(payload)
        encoded = _encode_json(payload).encode()
        if encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH:
            # The parser's own limit is 200; so deep in arrays, a payload of up to MAX_DEPTH passes.
            from_json(b"[" * (200 - MAX_DEPTH) + encoded + b"]" * (200 - MAX_DEPTH))
        return encoded
    except (TypeError, ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError) or "recursion limit" in str(error)
        fault = f"nested too deeply, expected at most {MAX_DEPTH} levels" if deep else f"not JSON: {error!s:.200}"
        raise InvalidEvent([{"loc": [index, "payload"], "msg": fault}]) from error


def encode_events(events: Sequence[ForumEvent], max_bytes: int) -> list[Entry]:
    """
    Encode the events of one publish, 1 to 1000; ids that were left out are made here, so that a repeat is the same request.

    Raises InvalidEvent, and PayloadTooLarge for an event whose JSON (envelope and payload) has more than `max_bytes`.
    """
    if (
        not isinstance(events, list | tuple | Sequence)
        or isinstance(events, str | bytes)
        or not 1 <= len(events) <= MAX_EVENTS
    ):
        got = len(events) if isinstance(events, list | tuple) else quote(events)
        raise InvalidEvent([{"loc": [], "msg": f"expected 1 to {MAX_EVENTS} events; got {got}"}])
    now = utc_text()
    entries: list[Entry] = []
    for index, event in enumerate(events):
        if not isinstance(event, ForumEvent):
            raise InvalidEvent([{"loc": [index], "msg": f"expected a ForumEvent; got {quote(event)}"}])
        entry = Entry.of(event, index=index, now=now)
        if len(entry.body) + 2 > max_bytes:
            raise PayloadTooLarge(
                f"event {index}: got {len(entry.body) + 2} bytes, expected at most {max_bytes}", index
            ).at("event_bytes")
        entries.append(entry)
    return entries
