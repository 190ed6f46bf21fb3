"""What the demo's server has to know about the discussion: derived from the forum's events, as the page's own store is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asgi_forum import Envelope, ForumEvent, StoredEvent


@dataclass(slots=True)
class Thread:
    """A thread as far as the server checks requests against it."""

    ticket: str
    run_id: str | None
    state: str = "open"


class Board:
    """Threads by id. For the event loop's thread only."""

    def __init__(self) -> None:
        self.threads: dict[str, Thread] = {}

    async def observe(self, event: StoredEvent) -> None:
        """Take in an event of the forum, whoever published it."""
        self.note(event.envelope, event.payload)

    def note(self, event: Envelope | ForumEvent, payload: Mapping[str, Any]) -> None:
        """Take in an event; twice changes nothing, so what this server publishes itself may be noted before it is observed."""
        if event.thread_id is None:
            return
        thread = self.threads.setdefault(event.thread_id, Thread(event.ticket, event.run_id))
        if event.event_type == "forum.state.changed":
            thread.state = str(payload.get("state", thread.state))
        elif event.event_type == "forum.thread.closed":
            thread.state = "closed"
