"""What other programs write into a log: entries by plain XADD, good ones and others."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["foreign"]


def foreign(event_id: str | None, *, payload: Any = None, **fields: Any) -> str:
    """The JSON of an event of another producer; a field that is None is left out."""
    envelope = {
        "event_id": event_id,
        "event_type": "forum.post.added",
        "ticket": "T-1",
        "occurred_at": "2026-02-10T12:56:00Z",
        **fields,
    }
    given = {name: value for name, value in envelope.items() if value is not None}
    return json.dumps({"envelope": given} if payload is None else {"envelope": given, "payload": payload})
