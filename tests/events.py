"""Events in one line, for tests that are about something else."""

from __future__ import annotations

from typing import Any

from asgi_forum.cursor import CursorKey
from asgi_forum.entries import Entry, StoredEvent
from asgi_forum.models import ForumEvent

KEY = CursorKey("epoch", b"secret")
"""What makes the cursors of `stored` events."""

TYPE = "forum.post.added"


def draft(**fields: Any) -> ForumEvent:
    """Make an event to publish; what is not given is like everywhere."""
    return ForumEvent.model_validate({"event_type": TYPE, "ticket": "T-1", **fields})


def entry(**fields: Any) -> Entry:
    """Make an event that is ready for a log."""
    return Entry.of(draft(**fields))


def entries(count: int, **fields: Any) -> list[Entry]:
    """Make several, each with an id of its own."""
    return [entry(**fields) for _ in range(count)]


def stored(sequence: int, **fields: Any) -> StoredEvent:
    """Make the event with this sequence, in the log `epoch`."""
    made = entry(**fields)
    return StoredEvent.stored(made, sequence, str(KEY.cursor(sequence, made.body)))


def sequences(*parts: Any) -> list[int]:
    """Return the sequences of events, those of frames and pages included, in order."""
    return [event.sequence for part in parts for event in getattr(part, "events", part)]
