"""Positions that can't be served, and messages of `/socket` that are off."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from asgi_forum.errors.base import ForumError

__all__ = [
    "CursorExpired",
    "ForumReset",
    "IdInUse",
    "InvalidMessage",
    "ResetReason",
    "TooManySubscriptions",
    "UnknownId",
]


ResetReason = Literal["trimmed", "replaced", "ahead", "skipped"]


class InvalidMessage(ForumError):
    """A message on `/socket` that is none of its commands."""

    code: ClassVar[str] = "invalid_message"
    status: ClassVar[int] = 400
    close_code: ClassVar[int] = 1008


class IdInUse(InvalidMessage):
    """A subscription of that id is there."""

    code: ClassVar[str] = "id_in_use"


class UnknownId(InvalidMessage):
    """No subscription has that id."""

    code: ClassVar[str] = "unknown_id"


class TooManySubscriptions(InvalidMessage):
    """The connection's limit of subscriptions is reached."""

    code: ClassVar[str] = "too_many_subscriptions"


class CursorExpired(ForumError):
    """A page can't go on from its cursor; `earliest_cursor` lies just before the earliest retained event."""

    code: ClassVar[str] = "cursor_expired"
    status: ClassVar[int] = 410
    close_code: ClassVar[int] = 1008

    def __init__(self, reason: ResetReason, earliest_cursor: str) -> None:
        super().__init__(
            f"the events after this cursor can't be delivered ({reason}); reload, and go on from earliest_cursor"
        )
        self.reason: ResetReason = reason
        self.earliest_cursor = earliest_cursor

    def extra(self) -> dict[str, Any]:
        """Say why, and where to go on."""
        return {"reason": self.reason, "earliest_cursor": self.earliest_cursor}


class ForumReset(ForumError):
    """
    The events between a reader's position and `next_cursor` can't be delivered; `reason` says why.

    Reload the state that was built from events, and go on: iterating again continues from `next_cursor`.
    """

    code: ClassVar[str] = "forum.reset"
    status: ClassVar[int] = 410
    close_code: ClassVar[int] = 1008

    def __init__(self, reason: ResetReason, next_cursor: str) -> None:
        super().__init__(f"{reason}: the events before {next_cursor} can't be delivered; reload, and go on")
        self.reason: ResetReason = reason
        self.next_cursor = next_cursor
