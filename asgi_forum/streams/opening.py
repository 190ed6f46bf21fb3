"""Opening one stream: authorization, a reader, and when it has to end."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from starlette.requests import HTTPConnection
from starlette.types import Scope

from asgi_forum.auth import Authorize, Subscription, authorize_subscription
from asgi_forum.errors import AuthorizationExpired, ShuttingDown
from asgi_forum.hub.lifecycle import Running
from asgi_forum.hub.reader import Reader
from asgi_forum.streams.feed import Ending, Feed
from asgi_forum.streams.pacing import Budget
from asgi_forum.streams.request import Asked

__all__ = ["Door", "ending_of"]


@dataclass(frozen=True, slots=True)
class Door:
    """What every transport needs to open a stream: what is at work, and whom to ask."""

    running: Running
    authorize: Authorize | None

    async def grant(self, connection: HTTPConnection, asked: Asked) -> Subscription:
        """Ask the app. Raises Unauthorized, Forbidden, InternalError."""
        return await authorize_subscription(self.authorize, connection, asked.filter)

    async def opened(self, asked: Asked, granted: Subscription, scope: Scope) -> Feed:
        """Open a stream that begins before its first frame: `latest` and `tail` are fixed when the client hears of it."""
        feed = self.open(asked, granted, Budget(scope, self.running.limits))
        if asked.start.tail is not None:
            try:
                await feed.begin()
            except BaseException:
                feed.close()
                raise
        return feed

    def open(self, asked: Asked, granted: Subscription, budget: Budget | None = None) -> Feed:
        """Open the stream; close it when done. Nothing waits here: the source may be away."""
        running = self.running
        reader = Reader(running.hub, granted.filter, asked.start)
        return Feed(
            running.hub,
            reader,
            running.watchdog,
            limit=asked.limit,
            heartbeat=running.heartbeat,
            ending=ending_of(running, granted),
            budget=budget,
        )


def ending_of(running: Running, granted: Subscription) -> Ending | None:
    """Return when a stream has to end by itself: at its authorization's end or at the greatest age, whichever comes first."""
    now = anyio.current_time()
    left, age = granted.seconds_left(), running.limits.max_stream_age
    endings: list[Ending] = []
    if left is not None:
        endings.append(
            Ending(now + left, AuthorizationExpired("the authorization has expired; authorize again, and resume"))
        )
    if age is not None:
        endings.append(
            Ending(
                now + age,
                ShuttingDown("this stream has reached its greatest age; resume from its last cursor").at(
                    "max_stream_age"
                ),
            )
        )
    return min(endings, key=lambda ending: ending.at, default=None)
