"""
What a client raises beside the errors of the protocol, and how an answer becomes one of those.

    ForumError
    ├── Unavailable
    │   └── Unreachable         nothing of the forum's answered: no connection, or it was lost
    └── UnexpectedAnswer        something answered, but not as a forum does
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, ClassVar

from pydantic_core import from_json

from asgi_forum.errors import (
    AuthorizationExpired,
    BadRequest,
    CursorExpired,
    EventIdConflict,
    Forbidden,
    ForumError,
    InvalidEvent,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    TooManyConnections,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    error_types,
)

__all__ = [
    "UnexpectedAnswer",
    "Unreachable",
    "ends_for_good",
    "error_of",
    "refusal",
    "retry_after",
    "unexpected",
    "unreachable",
    "will_pass",
]

_BY_STATUS: dict[int, type[ForumError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    429: TooManyConnections,
}


class Unreachable(Unavailable):
    """
    No connection to the forum, or it was lost before the answer came.

    After a publish, `outcome` and `event_ids` say what became of it, and how to repeat it.
    """

    code: ClassVar[str] = "unreachable"


class UnexpectedAnswer(ForumError):
    """The address answered, but not as a forum does: it may be another server's, or a proxy's."""

    code: ClassVar[str] = "unexpected_answer"
    status: ClassVar[int] = 502


def will_pass(status: int) -> bool:
    """Whether a refusal with this status is worth another try."""
    return status in (408, 425, 429) or status >= 500


def ends_for_good(code: str) -> bool:
    """Whether a `forum.error` with this code would be met again by the next connection."""
    kind = error_types().get(code, ForumError)
    lasting = (BadRequest, Unauthorized, Forbidden, NotFound)
    # A token that ran out may be renewed: the next connection's refusal will tell.
    return issubclass(kind, lasting) and not issubclass(kind, AuthorizationExpired)


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that a `Retry-After` header asks for; 0 where there is none that can be read."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return 0.0


def error_of(code: str, message: str, status: int = 500) -> ForumError:
    """Make the error of a code with the server's message; one of the status where the code is not known."""
    kind = error_types().get(code) or _BY_STATUS.get(status) or _by_class(status)
    # Most kinds word their message themselves, from what was got: here the server has done that.
    return kind.__new__(kind, message)


def _by_class(status: int) -> type[ForumError]:
    if status < 400:
        return UnexpectedAnswer
    return ForumError if status < 500 else Unavailable


def refusal(status: int, headers: Mapping[str, str], body: bytes, shown: str) -> ForumError:
    """
    Make the error of an HTTP answer. One without the forum's JSON (a proxy's, say) gets a message that names the
    address.
    """
    told = _error_object(body)
    message = str(told.get("message") or f"{shown} answered {status}{_hint(status)}")
    error = error_of(str(told.get("code", "")), message, status)
    _complete(error, told)
    if isinstance(error, Unavailable):
        error.retry_after = math.ceil(retry_after(headers)) or error.retry_after
    elif isinstance(error, MethodNotAllowed):
        error.allow = tuple(each.strip() for each in headers.get("allow", "").split(",") if each.strip())
    return error


def _hint(status: int) -> str:
    if status == 404:
        return ": is a forum mounted there?"
    return ", a redirect: use the address it leads to" if 300 <= status < 400 else ""


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        document: Any = from_json(body)
        return dict(document["error"])
    except (ValueError, KeyError, TypeError):
        return {}


def _complete(error: ForumError, told: Mapping[str, Any]) -> None:
    """Give the error the fields of its kind: what the server told of them, or nothing."""
    if isinstance(error, InvalidEvent):
        details: Sequence[dict[str, Any]] = told.get("details") or [{"loc": [], "msg": str(error)}]
        error.details = list(details)
    elif isinstance(error, EventIdConflict):
        error.event_id, error.fields, error.index = str(told.get("event_id", "")), (), int(told.get("index", 0))
    elif isinstance(error, PayloadTooLarge):
        error.index = told.get("index")
    elif isinstance(error, CursorExpired):
        error.reason = told.get("reason", "replaced")
        error.earliest_cursor = str(told.get("earliest_cursor", "earliest"))
    elif isinstance(error, Unavailable):
        error.outcome = told.get("outcome")
        error.event_ids = tuple(told.get("event_ids", ()))


def unexpected(shown: str, fault: object) -> UnexpectedAnswer:
    """Make the error of an answer that can't be read."""
    return UnexpectedAnswer(f"{shown} did not answer as a forum does: {fault}")


def unreachable(fault: Exception | str, shown: str = "") -> Unreachable:
    """
    Make the error of a connection that failed, in one line (an exception without a text is told by its name).

    It names the address that is `shown`, where it will stand alone.
    """
    text = " ".join(str(fault).split()) or type(fault).__name__
    return Unreachable(f"{shown}: {text}" if shown else text)
