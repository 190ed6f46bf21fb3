"""
Every error that asgi_forum raises, with its code, HTTP status and WebSocket close code.

    ForumError
    ├── BadRequest                  400  a parameter is off
    │   ├── InvalidCursor
    │   ├── InvalidTail
    │   ├── InvalidLimit
    │   ├── InvalidFilter
    │   └── InvalidWait
    ├── Unauthorized                401  the app's authorization said so
    │   └── AuthorizationExpired         it said so until a time, and that has passed
    ├── Forbidden                   403
    │   ├── OriginNotAllowed
    │   └── PublishDisabled
    ├── NotFound                    404
    ├── MethodNotAllowed            405
    ├── RequestTimeout              408  a request that does not come to its end
    ├── EventIdConflict             409  an `event_id` that is taken, with other content
    ├── CursorExpired               410  a page's form of ForumReset
    ├── PayloadTooLarge             413
    ├── UnsupportedMediaType        415
    ├── InvalidEvent                422
    ├── Unavailable                      it will pass: come back after `retry_after` seconds
    │   ├── TooManyConnections      429
    │   ├── SourceUnavailable       503
    │   ├── ShuttingDown            503
    │   └── TooSlow                 503  a stream whose client could not keep up
    ├── InvalidMessage                   /socket: not one of its messages
    │   ├── IdInUse
    │   ├── UnknownId
    │   └── TooManySubscriptions
    ├── InternalError               500  the app's own hook failed
    ├── ForumReset                       not a failure: the position can't be served; reload, and go on
    ├── ForumClosed                      used after `aclose()`
    └── ConfigurationError               a setting, or the way the forum is used, is off

`code` is for programs, the message for people: it says what was got and what is taken. The status and the
close code stand here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

__all__ = [
    "AuthorizationExpired",
    "BadRequest",
    "ConfigurationError",
    "CursorExpired",
    "EventIdConflict",
    "Forbidden",
    "ForumClosed",
    "ForumError",
    "ForumReset",
    "IdInUse",
    "InternalError",
    "InvalidCursor",
    "InvalidEvent",
    "InvalidFilter",
    "InvalidLimit",
    "InvalidMessage",
    "InvalidTail",
    "InvalidWait",
    "MethodNotAllowed",
    "NotFound",
    "OriginNotAllowed",
    "Outcome",
    "PayloadTooLarge",
    "PublishDisabled",
    "RequestTimeout",
    "ResetReason",
    "ShuttingDown",
    "SourceUnavailable",
    "TooManyConnections",
    "TooManySubscriptions",
    "TooSlow",
    "Unauthorized",
    "Unavailable",
    "UnknownId",
    "UnsupportedMediaType",
    "error_types",
    "quote",
]

ResetReason = Literal["trimmed", "replaced", "ahead", "skipped"]
Outcome = Literal["not_published", "unknown"]


def quote(got: object) -> str:
    """Quote a value for a message, shortened: what somebody sent may be long or hold control characters."""
    text = ascii(got)
    return text if len(text) <= 60 else f"{text[:57]}..."


class ForumError(Exception):
    """The base of all errors of this package. limit: the field of `Limits` that was reached, where it was one."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    close_code: ClassVar[int] = 1011
    limit: str | None = None

    def at(self, limit: str) -> Self:
        """Name the field of `Limits` that was reached; return this error."""
        self.limit = limit
        return self

    @property
    def message(self) -> str:
        """What happened, in one line, fit to be shown to a client."""
        return str(self)

    def extra(self) -> dict[str, Any]:
        """Return the fields that the JSON of this error has beside `code` and `message`."""
        return {}

    def headers(self) -> dict[str, str]:
        """Return the headers that an HTTP answer with this error has to carry."""
        return {}


class BadRequest(ForumError):
    """A parameter is off; the message names it, what it got and what it takes."""

    code: ClassVar[str] = "bad_request"
    status: ClassVar[int] = 400
    close_code: ClassVar[int] = 1008


class InvalidCursor(BadRequest):
    """A cursor that can't be read. A readable cursor of another log is no error: it leads to a reset."""

    code: ClassVar[str] = "invalid_cursor"

    def __init__(self, got: object) -> None:
        takes = "one of this forum's cursors, 'earliest', 'latest' or an integer >= 0"
        super().__init__(f"cursor: got {quote(got)}, expected {takes}")


class InvalidTail(BadRequest):
    """`tail` is no integer from 0 to 1000, or came together with `cursor`."""

    code: ClassVar[str] = "invalid_tail"


class InvalidLimit(BadRequest):
    """`limit` is no integer from 1 to 1000."""

    code: ClassVar[str] = "invalid_limit"


class InvalidFilter(BadRequest):
    """A filter value that is blank, too long or of the wrong form, or too many of them."""

    code: ClassVar[str] = "invalid_filter"


class InvalidWait(BadRequest):
    """`wait` is no number of seconds from 0 to 60."""

    code: ClassVar[str] = "invalid_wait"


class Unauthorized(ForumError):
    """The app's authorization wants to know first who is asking."""

    code: ClassVar[str] = "unauthorized"
    status: ClassVar[int] = 401
    close_code: ClassVar[int] = 1008

    def __init__(self, message: str = "authorization is required") -> None:
        super().__init__(message)


class AuthorizationExpired(Unauthorized):
    """The authorization of an open stream has come to its end."""

    code: ClassVar[str] = "authorization_expired"


class Forbidden(ForumError):
    """The app's authorization refused."""

    code: ClassVar[str] = "forbidden"
    status: ClassVar[int] = 403
    close_code: ClassVar[int] = 1008

    def __init__(self, message: str = "not allowed") -> None:
        super().__init__(message)


class OriginNotAllowed(Forbidden):
    """A browser's page of another origin, which the forum does not allow."""

    code: ClassVar[str] = "origin_not_allowed"


class PublishDisabled(Forbidden):
    """Publishing over HTTP is off."""

    code: ClassVar[str] = "publish_disabled"

    def __init__(self) -> None:
        super().__init__("publishing over HTTP is off for this forum (allow_publish=True turns it on)")


class NotFound(ForumError):
    """No such address."""

    code: ClassVar[str] = "not_found"
    status: ClassVar[int] = 404
    close_code: ClassVar[int] = 1008


class MethodNotAllowed(ForumError):
    """An address that does not take this method; `allow` lists those it takes."""

    code: ClassVar[str] = "method_not_allowed"
    status: ClassVar[int] = 405
    close_code: ClassVar[int] = 1008

    def __init__(self, method: str, allow: Sequence[str]) -> None:
        super().__init__(f"method: got {quote(method)}, expected one of {', '.join(allow)}")
        self.allow: tuple[str, ...] = tuple(allow)

    def headers(self) -> dict[str, str]:
        """Name the methods that the address takes."""
        return {"allow": ", ".join(self.allow)}


class RequestTimeout(ForumError):
    """The rest of a request's body did not come; nothing of it was published."""

    code: ClassVar[str] = "request_timeout"
    status: ClassVar[int] = 408
    close_code: ClassVar[int] = 1008


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


class UnsupportedMediaType(ForumError):
    """A request body that is not JSON by its content type."""

    code: ClassVar[str] = "unsupported_media_type"
    status: ClassVar[int] = 415
    close_code: ClassVar[int] = 1008

    def __init__(self, got: str) -> None:
        super().__init__(f"content-type: got {quote(got)}, expected 'application/json'")


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


class InternalError(ForumError):
    """Something on the server's side failed; its log has the cause."""

    def __init__(self, message: str = "an internal error; the server's log has the cause") -> None:
        super().__init__(message)


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


class ForumClosed(ForumError):
    """The forum was closed; it publishes and delivers no more."""

    def __init__(self, message: str = "this forum is closed") -> None:
        super().__init__(message)


class ConfigurationError(ForumError):
    """A setting is off, or the forum is used in a way that can't work; the message says what to do."""


def error_types() -> dict[str, type[ForumError]]:
    """Return every error's class by its code; of several with one code, the one that a server answers with."""
    found: dict[str, type[ForumError]] = {}
    pending = ForumError.__subclasses__()
    while pending:
        kind = pending.pop()
        pending.extend(kind.__subclasses__())
        found[kind.code] = kind
    return {**found, InternalError.code: InternalError}
