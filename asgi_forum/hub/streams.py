"""The open streams of one process: who may come in, and that all leave when it stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import anyio

from asgi_forum.errors import ForumError, ShuttingDown, TooManyConnections
from asgi_forum.settings import Limits

__all__ = ["Endable", "OpenStreams", "Place", "Transport"]

Transport = Literal["sse", "websocket", "page", "python"]


class Endable(Protocol):
    """A stream that can be told to end."""

    def end(self, error: ForumError) -> None:
        """End with an error, at the next frame. Harmless when ended."""
        ...


@dataclass(eq=False, slots=True)
class Place:
    """One stream's place among the open ones; what it holds is told when the forum stops."""

    held: list[Endable] = field(default_factory=list[Endable])
    closing: ForumError | None = None

    def hold(self, stream: Endable) -> None:
        """Tell `stream` too when the forum stops; at once if it is stopping."""
        self.held.append(stream)
        if self.closing is not None:
            stream.end(self.closing)

    def release(self, stream: Endable) -> None:
        """Forget a stream that has ended by itself."""
        self.held.remove(stream)


class OpenStreams:
    """Counts streams by transport and client address, refuses what is over a limit, and ends all."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places: set[Place] = set()
        self._by_address: Counter[str] = Counter()
        self._empty = anyio.Event()
        self.by_transport: Counter[str] = Counter()
        self.closing: ForumError | None = None

    @contextmanager
    def admitted(self, transport: Transport, address: str | None = None) -> Generator[Place]:
        """Hold a place for one stream. Raises ShuttingDown, TooManyConnections. The host's own (`python`) are not limited."""
        if self.closing is not None:
            raise ShuttingDown
        if transport != "python":
            self._check(address)
        place = Place()
        self._places.add(place)
        self.by_transport[transport] += 1
        self._by_address[address or ""] += 1
        try:
            yield place
        finally:
            self._places.discard(place)
            self.by_transport[transport] -= 1
            self._by_address[address or ""] -= 1
            if not self._by_address[address or ""]:
                del self._by_address[address or ""]
            if self.closing is not None and not self._places:
                self._empty.set()

    def end_all(self, error: ForumError) -> None:
        """Refuse new streams and tell the open ones to end; each says goodbye and leaves by itself. Harmless when done before."""
        if self.closing is not None:
            return
        self.closing = error
        if not self._places:
            self._empty.set()
        for place in tuple(self._places):
            place.closing = error
            for stream in tuple(place.held):
                stream.end(error)

    async def wait_empty(self) -> None:
        """Wait until all have left, after `end_all`."""
        await self._empty.wait()

    def _check(self, address: str | None) -> None:
        most = self._limits.streams
        if len(self._places) - self.by_transport["python"] >= most:
            raise TooManyConnections(f"{most} streams are open, as many as this process takes")
        most_each = self._limits.streams_per_address
        if most_each is not None and address and self._by_address[address] >= most_each:
            raise TooManyConnections(f"{most_each} streams are open from this address, as many as it may have")
