"""Ids of events that are no longer retained, and just enough of each to judge a repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from asgi_forum.entries import Entry, StoredEvent, canonical, is_plain

__all__ = ["Remembered", "Trace"]


def _hash(payload: dict[str, Any]) -> int:
    """Hash a payload as JSON has it, whatever the order of its keys."""
    return hash(to_json(dict(sorted(payload.items()))) if is_plain(payload) else canonical(payload))


@dataclass(frozen=True, slots=True)
class Trace:
    """What is left of an event: its place, its envelope as JSON, and a hash of its payload (of this process: never stored)."""

    sequence: int
    cursor: str
    envelope: bytes
    payload: int

    def conflicts(self, entry: Entry) -> Sequence[str]:
        """Return the fields in which `entry` has other content than the event that is gone, among those that it gives."""
        there = from_json(self.envelope)
        found: list[str] = []
        for name, value in entry.named():
            same = _hash(value) == self.payload if name == "payload" else there.get(name) == value
            if not same:
                found.append(name)
        return sorted(found)


class Remembered:
    """
    Traces by `event_id`, each kept for `seconds` at least and twice that at most.

    Two generations take turns: adding is one dictionary entry, forgetting is one dictionary dropped. Its size is what left
    retention within that time. `now` is any clock that never goes back, in seconds.
    """

    def __init__(self, seconds: float, *, now: float) -> None:
        self._seconds = seconds
        self._turned = now
        self._young: dict[str, Trace] = {}
        self._old: dict[str, Trace] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, event_id: str) -> Trace | None:
        """Return the trace of an event, if it is remembered."""
        return self._young.get(event_id) or self._old.get(event_id)

    def add(self, event_id: str, event: StoredEvent, *, now: float) -> None:
        """Remember an event that leaves the log."""
        if now - self._turned >= self._seconds:
            self._old = self._young if now - self._turned < 2 * self._seconds else {}
            self._young, self._turned = {}, now
        # The two fields lie side by side, and inside of a string the quotes around `payload` would be escaped.
        envelope, _, payload = event.json.partition(b'"envelope":')[2].partition(b',"payload":')
        self._young[event_id] = Trace(event.sequence, event.cursor, envelope, _hash(from_json(payload[:-1])))
