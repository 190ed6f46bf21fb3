"""Events as a forum sends them, made by hand."""

from __future__ import annotations

import json
from typing import Any

from asgi_forum.entries import StoredEvent


def document(sequence: int, **envelope: Any) -> dict[str, Any]:
    """Make the JSON of the event with this sequence, in the log `e`."""
    return {
        "sequence": sequence,
        "cursor": f"e.{sequence}.c{sequence}",
        "envelope": {
            "event_id": f"id-{sequence}",
            "event_type": "forum.post.added",
            "event_version": 1,
            "occurred_at": "2026-02-10T12:56:00.123Z",
            "ticket": "T-1",
            "actor_type": "system",
            **envelope,
        },
        "payload": {"n": sequence},
    }


def event(sequence: int, **envelope: Any) -> StoredEvent:
    """Make the event with this sequence."""
    return StoredEvent.from_json(json.dumps(document(sequence, **envelope), separators=(",", ":"), ensure_ascii=False))
