"""The pump: one task in each process that follows the live feed into the hub, and comes back after every loss."""

from __future__ import annotations

import random

import anyio

from asgi_forum.errors import SourceUnavailable
from asgi_forum.hub.beginning import FAR
from asgi_forum.hub.hub import Hub
from asgi_forum.logs import EventLogger, event_logger
from asgi_forum.sources.base import LiveSource, Page

__all__ = ["Backoff", "Pump"]

logger: EventLogger = event_logger("asgi_forum.pump")

_STEADY = 5.0
"""Seconds after which a feed counts as one that works: one that breaks at once is not asked for faster and faster."""


class Backoff:
    """Delays that grow from `first` to `most` seconds, each spread by half, so that many processes don't come back at once."""

    def __init__(self, first: float = 0.1, most: float = 5.0) -> None:
        self._first = self._next = first
        self._most = most

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._next = self._first

    def delay(self) -> float:
        """Return the seconds to wait now."""
        now, self._next = self._next, min(self._next * 2, self._most)
        return now * random.uniform(0.5, 1.5)


class Pump:
    """Follows the source, however often it goes away. A source without a live feed needs none."""

    def __init__(self, hub: Hub, source: LiveSource) -> None:
        self._hub = hub
        self._source = source
        self._backoff = Backoff()

    async def run(self) -> None:
        """Go on until cancelled. Any error of the feed is logged once, and followed by another try from the same position."""
        while True:
            try:
                await self.contact()
                end = self._hub.tail.end
                if end is not None:
                    began = anyio.current_time()
                    try:
                        await self._source.follow(end, self._deliver)
                    finally:
                        if anyio.current_time() - began > _STEADY:
                            self._backoff.reset()
            except SourceUnavailable as error:
                self._lost(str(error))
            except Exception:
                logger.exception("asgi_forum.feed_failed")
                self._lost("the feed failed")
            await anyio.sleep(self._backoff.delay())

    async def contact(self) -> None:
        """Reach the source for the first time: the tail begins at its end. Raises SourceUnavailable. Harmless later."""
        if self._hub.tail.end is None:
            self._hub.begin((await self._source.read(FAR, 0)).end)
            self._reached()

    def _deliver(self, page: Page) -> None:
        """
        Take a page. Only at the log's end an outage is over: a reader that is told so, and finds nothing more in the tail, is live.

        What follows the position where the feed broke off is the source's to judge: it alone can tell whether the log is the same.
        """
        self._hub.accept(page)
        if page.position == page.end:
            self._reached()

    def _reached(self) -> None:
        if self._hub.degraded:
            logger.info("asgi_forum.source_back: streams go on from where they were")
        self._hub.reached()

    def _lost(self, why: str) -> None:
        if not self._hub.degraded:
            logger.warning("asgi_forum.source_lost: %s", why)
        self._hub.lost()
