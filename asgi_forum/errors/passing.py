"""What will pass: come back later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from asgi_forum.errors.base import ForumError

__all__ = [
    "Outcome",
    "ShuttingDown",
    "SourceUnavailable",
    "TooManyConnections",
    "TooSlow",
    "Unavailable",
]


Outcome = Literal["not_published", "unknown"]


class Unavailable(ForumError):
    """
    A refusal that will pass; `retry_after` is in seconds.

    For a publish, `outcome` says whether the events were `not_published` or that it is `unknown`, and `event_ids` holds every
    id of the request: repeating it with them is safe.
    """

    code: ClassVar[str] = "unavailable"
    status: ClassVar[int] = 503
    close_code: ClassVar[int] = 1013
    retry_after: int = 1

    def __init__(self, message: str, *, outcome: Outcome | None = None, event_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.outcome: Outcome | None = outcome
        self.event_ids: tuple[str, ...] = tuple(event_ids)

    def extra(self) -> dict[str, Any]:
        """Say what became of a publish, and the ids to repeat it with."""
        ids = {"event_ids": list(self.event_ids)} if self.event_ids else {}
        return {"outcome": self.outcome, **ids} if self.outcome else {}

    def headers(self) -> dict[str, str]:
        """Say when to come back."""
        return {"retry-after": str(self.retry_after)}


class TooManyConnections(Unavailable):
    """A limit of open streams is reached."""

    code: ClassVar[str] = "too_many_connections"
    status: ClassVar[int] = 429
    retry_after: int = 5


class SourceUnavailable(Unavailable):
    """The source can't be reached just now."""

    code: ClassVar[str] = "source_unavailable"
    retry_after: int = 2

    def __init__(
        self,
        message: str = "the event source can't be reached just now",
        *,
        outcome: Outcome | None = None,
        event_ids: Sequence[str] = (),
    ) -> None:
        super().__init__(message, outcome=outcome, event_ids=event_ids)


class ShuttingDown(Unavailable):
    """The forum is stopping; another process, or this one in a moment, goes on."""

    code: ClassVar[str] = "shutting_down"
    close_code: ClassVar[int] = 1012

    def __init__(
        self,
        message: str = "the server is restarting",
        *,
        outcome: Outcome | None = None,
        event_ids: Sequence[str] = (),
    ) -> None:
        super().__init__(message, outcome=outcome, event_ids=event_ids)


class TooSlow(Unavailable):
    """The client could not keep up, and the slow-client policy is to disconnect it. It may resume from its last cursor."""

    code: ClassVar[str] = "too_slow"

    def __init__(self, message: str = "the client is too slow; it may resume from its last cursor") -> None:
        super().__init__(message)
