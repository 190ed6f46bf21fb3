"""Events that are not taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from asgi_forum.errors.base import ForumError, quote

__all__ = [
    "EventIdConflict",
    "InvalidEvent",
    "PayloadTooLarge",
]


class EventIdConflict(ForumError):
    """
    An `event_id` that the forum has, with other content. Nothing of the request was published.

    `fields` says where they differ; it is empty where that is not the publisher's to know.
    """

    code: ClassVar[str] = "event_id_conflict"
    status: ClassVar[int] = 409
    close_code: ClassVar[int] = 1008

    def __init__(self, event_id: str, fields: Sequence[str], index: int = 0) -> None:
        other = f"another {', '.join(fields)}" if fields else "other content"
        super().__init__(f"event_id {quote(event_id)} is taken by an event with {other}; nothing was published")
        self.event_id = event_id
        self.fields: tuple[str, ...] = tuple(fields)
        self.index = index

    def extra(self) -> dict[str, Any]:
        """Say which event of the request it was."""
        return {"event_id": self.event_id, "index": self.index}


class PayloadTooLarge(ForumError):
    """An event or a request over its size; `index` is the event's, where it is an event."""

    code: ClassVar[str] = "payload_too_large"
    status: ClassVar[int] = 413
    close_code: ClassVar[int] = 1009

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index

    def extra(self) -> dict[str, Any]:
        """Say which event of the request it was, if it was one."""
        return {} if self.index is None else {"index": self.index}


class InvalidEvent(ForumError):
    """
    An event, or a list of them, that does not pass; nothing of the request was published.

    `details` lists every fault as `{"loc": [...], "msg": "..."}`; `loc` begins with the event's index where a list was given.
    """

    code: ClassVar[str] = "invalid_event"
    status: ClassVar[int] = 422
    close_code: ClassVar[int] = 1008

    def __init__(self, details: Sequence[dict[str, Any]]) -> None:
        self.details: list[dict[str, Any]] = list(details)
        first = self.details[0]
        where = ".".join(map(str, first["loc"]))
        more = f" (and {len(self.details) - 1} more)" if len(self.details) > 1 else ""
        super().__init__(f"{where}: {first['msg']}{more}" if where else f"{first['msg']}{more}")

    def extra(self) -> dict[str, Any]:
        """List every fault."""
        return {"details": self.details}
