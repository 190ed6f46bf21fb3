"""The base of all errors, and those that are nobody's request."""

from __future__ import annotations

from typing import Any, ClassVar, Self

__all__ = [
    "ConfigurationError",
    "ForumClosed",
    "ForumError",
    "InternalError",
    "quote",
]


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


class InternalError(ForumError):
    """Something on the server's side failed; its log has the cause."""

    def __init__(self, message: str = "an internal error; the server's log has the cause") -> None:
        super().__init__(message)


class ForumClosed(ForumError):
    """The forum was closed; it publishes and delivers no more."""

    def __init__(self, message: str = "this forum is closed") -> None:
        super().__init__(message)


class ConfigurationError(ForumError):
    """A setting is off, or the forum is used in a way that can't work; the message says what to do."""
