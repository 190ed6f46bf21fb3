"""A file that keeps the discussion over restarts: one published event a line, as `asgi-forum publish --ndjson` reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from asgi_forum import Forum, ForumEvent, StoredEvent

__all__ = ["Journal", "JournalError"]

BATCH = 500


class JournalError(Exception):
    """A journal that can't be used; the message names the file and, where it is a line's fault, the line."""


class Journal:
    """
    Written by an observer of the forum, read back when the server starts.

    The events keep their ids, so replaying twice changes nothing. A line that a crash cut off is dropped; any other that can't
    be read is an error: passing it over in silence would lose a part of the discussion.
    """

    def __init__(self, path: Path) -> None:
        """Read the file, if it is there, and open it for what comes. Raises JournalError."""
        try:
            self._events = _read(path)
            self._file: BinaryIO | None = path.open("ab")
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror or error}") from error

    async def replay(self, forum: Forum) -> list[ForumEvent]:
        """Publish what the file held, oldest first, and return it."""
        events, self._events = self._events, []
        for start in range(0, len(events), BATCH):
            await forum.publish_many(events[start : start + BATCH])
        return events

    def write(self, event: StoredEvent) -> None:
        """Append one event. It is with the operating system when this returns: it outlives the process, if not a power cut."""
        if self._file is None:
            return
        document: dict[str, Any] = json.loads(event.json)
        self._file.write(
            json.dumps({**document["envelope"], "payload": document["payload"]}, ensure_ascii=False).encode() + b"\n"
        )
        self._file.flush()

    def close(self) -> None:
        """Close the file; what comes after is not written."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _read(path: Path) -> list[ForumEvent]:
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    events: list[ForumEvent] = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            events.append(ForumEvent.model_validate(from_json(line)))
        except ValueError as error:  # pydantic's is one too
            raise JournalError(f"{path}, line {number}: not an event: {str(error).splitlines()[0]}") from error
    return events
