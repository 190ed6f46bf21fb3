"""Who may read and publish: the app's hooks, and the Origin of browsers."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from asgi_forum.errors import (
    ConfigurationError,
    Forbidden,
    ForumError,
    InternalError,
    OriginNotAllowed,
    Unauthorized,
    quote,
)
from asgi_forum.filters import Filter, Values
from asgi_forum.logs import EventLogger, event_logger
from asgi_forum.models import ForumEvent

__all__ = [
    "Authorize",
    "AuthorizePublish",
    "OriginPolicy",
    "Subscription",
    "authorize_publish",
    "authorize_subscription",
]

logger: EventLogger = event_logger("asgi_forum.auth")


@dataclass(frozen=True, slots=True)
class Subscription:
    """
    What a client asks to read, and what `authorize` makes of it.

    filter: the events that it asks for. identity: who it is; Limits.streams_per_identity counts by it. expires_at: when an open
    stream ends, as Unix seconds or an aware datetime; None for never.
    """

    filter: Filter
    identity: str | None = None
    expires_at: float | datetime | None = None

    def narrow(
        self, *, ticket: Values = None, run_id: Values = None, thread_id: Values = None, event_type: Values = None
    ) -> Self:
        """
        Return this subscription, allowed only these values, compared exactly (only clients' own filters ignore case).

        None leaves a field as it is, an empty list allows nothing. It never becomes wider.
        """
        narrowed = self.filter.narrow(ticket=ticket, run_id=run_id, thread_id=thread_id, event_type=event_type)
        return replace(self, filter=narrowed)

    def seconds_left(self) -> float | None:
        """Return how long it still holds, in seconds; None for ever."""
        if self.expires_at is None:
            return None
        until = self.expires_at.timestamp() if isinstance(self.expires_at, datetime) else self.expires_at
        return until - time.time()


Authorize = Callable[[HTTPConnection, Subscription], Awaitable[Subscription | bool | None] | Subscription | bool | None]
"""
Asked for every subscription: it returns None or True to allow it, False to refuse it (403), or a narrower Subscription; or raises
Unauthorized or Forbidden (Starlette's and FastAPI's HTTPException will do).
"""

AuthorizePublish = Callable[[HTTPConnection, Sequence[ForumEvent]], Awaitable[bool | None] | bool | None]
"""Asked for every publish over HTTP: it returns None or True to allow it, False to refuse it (403), or raises as above."""


async def authorize_subscription(hook: Authorize | None, connection: HTTPConnection, keep: Filter) -> Subscription:
    """Ask the app for a subscription. Raises Unauthorized, Forbidden; InternalError where the hook itself failed."""
    asked = Subscription(keep)
    if hook is None:
        return asked
    answer = await _ask(hook, connection, asked)
    granted = answer if isinstance(answer, Subscription) else asked
    if not isinstance(granted.filter, Filter):
        logger.error("asgi_forum.authorize_failed: got filter=%.60r, expected a Filter", granted.filter)
        raise InternalError
    if not isinstance(granted.identity, str | None):
        logger.error("asgi_forum.authorize_failed: got identity=%.60r, expected a string or None", granted.identity)
        raise InternalError
    if not _is_time(granted.expires_at):
        logger.error(
            "asgi_forum.authorize_failed: got expires_at=%.60r, expected Unix seconds, an aware datetime or None",
            granted.expires_at,
        )
        raise InternalError
    left = granted.seconds_left()
    if left is not None and left <= 0:
        raise Unauthorized("the authorization has expired")
    return granted


def _is_time(value: object) -> bool:
    """Whether a time at which an authorization ends can be compared with the clock."""
    if isinstance(value, datetime):
        return value.tzinfo is not None
    if isinstance(value, bool):
        return False
    return value is None or (isinstance(value, int | float) and not math.isnan(value))


async def authorize_publish(
    hook: AuthorizePublish | None, connection: HTTPConnection, events: Sequence[ForumEvent]
) -> None:
    """Ask the app for a publish. Raises as `authorize_subscription`."""
    if hook is not None and isinstance(await _ask(hook, connection, events), Subscription):
        logger.error("asgi_forum.authorize_failed: got a Subscription for a publish, expected None or a bool")
        raise InternalError


async def _ask(hook: Callable[..., Any], *asked: object) -> Any:
    try:
        answer = hook(*asked)
        if inspect.isawaitable(answer):
            answer = await answer
    except ForumError as error:
        if isinstance(error, ConfigurationError):  # a fault of the hook's own, no answer
            logger.exception("asgi_forum.authorize_failed")
            raise InternalError from error
        raise
    except HTTPException as error:
        raise (Unauthorized if error.status_code == 401 else Forbidden)(str(error.detail)) from error
    except Exception as error:
        # Refused, and without a word of the cause to the client: what failed decides over what it may see.
        logger.exception("asgi_forum.authorize_failed")
        raise InternalError from error
    if answer is False:
        raise Forbidden
    if not (answer is None or answer is True or isinstance(answer, Subscription)):
        logger.error(
            "asgi_forum.authorize_failed: got %s, expected None, a bool or a Subscription", type(answer).__name__
        )
        raise InternalError
    return answer


class OriginPolicy:
    """
    The rule of section 8: an Origin must have the host and port of the Host header as written, or be allowed.

    Allowed origins are written as browsers write them (`https://app.example`, `http://localhost:3000`), or `*` for any.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        if isinstance(allowed, str) or not isinstance(allowed, Iterable):
            raise ConfigurationError(f"allowed_origins: got {allowed!r}, expected a list of origins")
        self._allowed = frozenset(_checked_origin(origin) for origin in allowed)

    def check(self, connection: HTTPConnection) -> None:
        """Raise OriginNotAllowed for a page of another origin; what has no Origin is no browser's page, and passes."""
        origins = connection.headers.getlist("origin")
        if not origins:
            return
        origin = origins[0].lower()
        hosts = connection.headers.getlist("host")
        if len(origins) > 1 or len(hosts) > 1:
            raise OriginNotAllowed("origin: got several Origin or Host headers, expected one")
        if origin in self._allowed or ("*" in self._allowed and origin != "null"):
            return
        if origin == "null" or not hosts or not _same_host(origin, hosts[0].lower()):
            raise OriginNotAllowed(
                f"origin: got {quote(origins[0])}, expected that of the forum's own host, or an allowed one"
            )


def _same_host(origin: str, host: str) -> bool:
    """Whether an origin has the host and port of a Host header; a port that is its scheme's own may be written or left out."""
    scheme, separator, authority = origin.partition("://")
    if not separator or not authority:
        return False
    default = {"http": ":80", "https": ":443"}.get(scheme, ":")
    return authority.removesuffix(default) == host.removesuffix(default)


def _checked_origin(origin: str) -> str:
    try:
        parts = urlsplit(origin if isinstance(origin, str) else "")
    except ValueError:
        parts = urlsplit("")
    plain = (
        parts.scheme
        and parts.netloc
        and not parts.path
        and not parts.query
        and not parts.fragment
        and "@" not in parts.netloc
    )
    if origin != "*" and not plain:
        raise ConfigurationError(
            f"allowed_origins: got {origin!r}, expected an origin such as 'https://app.example', or '*'"
        )
    return origin.lower()
