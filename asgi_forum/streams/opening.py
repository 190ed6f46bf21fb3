"""Opening one stream: authorization, a reader, and when it has to end."""

from __future__ import annotations

import random
from dataclasses import dataclass

import anyio
from starlette.requests import HTTPConnection
from starlette.types import Scope

from asgi_forum.auth import Authorize, Subscription, authorize_subscription
from asgi_forum.errors import AuthorizationExpired, ShuttingDown
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.reader import Reader
from asgi_forum.hub.streams import Place
from asgi_forum.settings import Limits
from asgi_forum.streams.feed import Ending, Feed
from asgi_forum.streams.pacing import Budget
from asgi_forum.streams.request import Asked

__all__ = ["Door", "lifetime", "of_age", "of_authorization"]

_SPREAD = 0.1
"""The part of the greatest age over which the ends of streams are spread that began together."""


@dataclass(frozen=True, slots=True)
class Door:
    """What every transport needs to open a stream: what is at work, and whom to ask."""

    running: Running
    authorize: Authorize | None

    async def grant(self, connection: HTTPConnection, asked: Asked) -> Subscription:
        """Ask the app. Raises Unauthorized, Forbidden, InternalError."""
        return await authorize_subscription(self.authorize, connection, asked.filter)

    async def opened(self, asked: Asked, granted: Subscription, scope: Scope, place: Place) -> Feed:
        """
        Open a stream that begins before its first frame: `latest` and `tail` are fixed when the client hears of it.

        Its place holds it from now on: where the forum stops meanwhile, this raises the error that the stream would end with.
        """
        feed = self.open(asked, granted, of_age(self.running.limits), Budget.needed(scope, self.running.limits, place))
        place.hold(feed)
        if asked.start.tail is not None:
            try:
                await feed.begin()
            except BaseException:
                feed.close(began=False)
                raise
        return feed

    def open(
        self, asked: Asked, granted: Subscription, ending: Ending | None = None, budget: Budget | None = None
    ) -> Feed:
        """
        Open the stream; close it when done. Nothing waits here: the source may be away.

        It ends with its authorization, or with `ending`, whichever comes first.
        """
        running = self.running
        endings = [each for each in (of_authorization(granted), ending) if each is not None]
        return Feed(
            running.hub,
            Reader(running.hub, granted.filter, asked.start),
            running.watchdog,
            limit=asked.limit,
            heartbeat=running.heartbeat,
            ending=min(endings, key=lambda each: each.at, default=None),
            budget=budget,
        )


def of_authorization(granted: Subscription) -> Ending | None:
    """Return the end of an authorization, to the second."""
    left = granted.seconds_left()
    if left is None:
        return None
    error = AuthorizationExpired("the authorization has expired; authorize again, and resume")
    return Ending(anyio.current_time() + left, error)


def of_age(limits: Limits) -> Ending | None:
    """Return when something that begins now is too old: what began together does not end together."""
    age = limits.max_stream_age
    if age is None:
        return None
    error = ShuttingDown("this stream has reached its greatest age; resume from its last cursor").at("max_stream_age")
    return Ending(anyio.current_time() + lifetime(age, random.random()), error)


def lifetime(age: float, draw: float) -> float:
    """Return how many seconds one of many may live: never more than `age`, and less by at most a tenth; `draw` is 0 to 1."""
    return age * (1.0 - _SPREAD * draw)
