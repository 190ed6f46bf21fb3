"""A request that is off, or not allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from asgi_forum.errors.base import ForumError, quote

__all__ = [
    "AuthorizationExpired",
    "BadRequest",
    "Forbidden",
    "InvalidCursor",
    "InvalidFilter",
    "InvalidLimit",
    "InvalidTail",
    "InvalidWait",
    "MethodNotAllowed",
    "NotFound",
    "OriginNotAllowed",
    "PublishDisabled",
    "RequestTimeout",
    "Unauthorized",
    "UnsupportedMediaType",
]


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


class UnsupportedMediaType(ForumError):
    """A request body that is not JSON by its content type."""

    code: ClassVar[str] = "unsupported_media_type"
    status: ClassVar[int] = 415
    close_code: ClassVar[int] = 1008

    def __init__(self, got: str) -> None:
        super().__init__(f"content-type: got {quote(got)}, expected 'application/json'")
