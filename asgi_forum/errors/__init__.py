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
close code stand in this package and nowhere else.
"""

from __future__ import annotations

from asgi_forum.errors.base import ConfigurationError, ForumClosed, ForumError, InternalError, quote
from asgi_forum.errors.passing import Outcome, ShuttingDown, SourceUnavailable, TooManyConnections, TooSlow, Unavailable
from asgi_forum.errors.publishing import EventIdConflict, InvalidEvent, PayloadTooLarge
from asgi_forum.errors.requests import (
    AuthorizationExpired,
    BadRequest,
    Forbidden,
    InvalidCursor,
    InvalidFilter,
    InvalidLimit,
    InvalidTail,
    InvalidWait,
    MethodNotAllowed,
    NotFound,
    OriginNotAllowed,
    PublishDisabled,
    RequestTimeout,
    Unauthorized,
    UnsupportedMediaType,
)
from asgi_forum.errors.streams import (
    CursorExpired,
    ForumReset,
    IdInUse,
    InvalidMessage,
    ResetReason,
    TooManySubscriptions,
    UnknownId,
)

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


def error_types() -> dict[str, type[ForumError]]:
    """Return every error's class by its code; of several with one code, the one that a server answers with."""
    found: dict[str, type[ForumError]] = {}
    pending = ForumError.__subclasses__()
    while pending:
        kind = pending.pop()
        pending.extend(kind.__subclasses__())
        found[kind.code] = kind
    return {**found, InternalError.code: InternalError}
