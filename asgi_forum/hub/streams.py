"""The open streams of one process: who may come in, and that all leave when it stops."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Protocol, Self

import anyio

from asgi_forum.errors import ForumError, ShuttingDown, TooManyConnections
from asgi_forum.settings import Limits

__all__ = ["LAST", "Endable", "OpenStreams", "Place", "Transport"]

_TOGETHER = 1.0
"""Seconds for which places that have lasted are gathered before they are given back: what that takes is done once for all of them."""

LAST = 0.5
"""Seconds after which requests are ended though WebSockets are open: a client that reads nothing does not leave."""

Transport = Literal["sse", "websocket", "page", "python"]


class Endable(Protocol):
    """A stream that can be told to end."""

    def end(self, error: ForumError) -> None:
        """End with an error, at the next frame. Harmless when ended."""
        ...


class Place:
    """
    One stream's place among the open ones, as a context manager; what it holds is told when the forum stops.

    One that nobody has claimed yet, of a connection that was granted nothing so far, makes room for another where there is none.

    lasts: seconds for which it counts as one of this process's after its stream has ended.
    """

    __slots__ = ("_held", "_streams", "address", "claimed", "closing", "identities", "lasts", "transport")

    def __init__(self, streams: OpenStreams, transport: Transport, address: str | None) -> None:
        self._streams = streams
        self._held: tuple[Endable, ...] = ()
        self.transport: Transport = transport
        self.address: str | None = address
        self.identities: frozenset[str] = frozenset()
        self.claimed: bool = False
        self.lasts: float = 0.0
        self.closing: ForumError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held = ()  # a stream knows its place: without this only the garbage collector would free the two
        self._streams.leave(self)

    def claim(self, identity: str | None) -> None:
        """Note that something was granted here, and to whom; each identity counts once. Raises TooManyConnections."""
        if identity is not None and identity not in self.identities:
            self._streams.identify(identity)
            self.identities |= {identity}
        self.claimed = True

    def hold(self, stream: Endable) -> None:
        """Tell `stream` too when the forum stops; at once if it is stopping."""
        self._held = (*self._held, stream)
        if self.closing is not None:
            stream.end(self.closing)

    def end(self, error: ForumError) -> None:
        """Tell all that it holds, and will hold. Harmless when told."""
        if self.closing is None:
            self.closing = error
            for stream in self._held:
                stream.end(error)


class OpenStreams:
    """Counts streams by transport, client address and identity, refuses what is over a limit, and ends all."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places: dict[Place, None] = {}
        self._hosts_own = 0
        self._lasting = 0
        self._overdue = 0
        self._by_address: Counter[str] = Counter()
        self._by_identity: Counter[str] = Counter()
        self._empty = anyio.Event()
        self._when_left: list[Callable[[], None]] = []
        self._all_told = False
        self.by_transport: Counter[str] = Counter()
        self.closing: ForumError | None = None

    @property
    def count(self) -> int:
        """How many are open, of all kinds. For any thread, and for handlers of signals."""
        return len(self._places)

    def granted(self, transport: Transport, address: str | None = None, identity: str | None = None) -> Place:
        """Take a place for one stream that was granted. Raises as `admitted`."""
        place = self.admitted(transport, address)
        try:
            place.claim(identity)
        except TooManyConnections:
            self.leave(place)
            raise
        return place

    def admitted(self, transport: Transport, address: str | None = None) -> Place:
        """
        Take a place for a connection of which nobody knows yet what it will be granted.

        Raises ShuttingDown, TooManyConnections. The host's own (`python`) are not limited.
        """
        if self.closing is not None:
            raise ShuttingDown
        if transport != "python":
            self._check(address)
        place = Place(self, transport, address)
        place.claimed = transport == "python"
        self._places[place] = None
        self._hosts_own += transport == "python"
        self.by_transport[transport] += 1
        _add(self._by_address, address, 1)
        return place

    def leave(self, place: Place) -> None:
        """Give a place back, once."""
        self._hosts_own -= place.transport == "python"
        self.by_transport[place.transport] -= 1
        for identity in place.identities:
            _add(self._by_identity, identity, -1)
        self._forget(place)
        if place.lasts:
            self._lasting += 1
            asyncio.get_running_loop().call_later(place.lasts, self._over)
        self._look_who_is_left()

    def _over(self) -> None:
        """Give back a place that has lasted: with others that are over by then, once Python has freed what the server held for them."""
        self._overdue += 1
        if self._overdue == 1:
            asyncio.get_running_loop().call_later(_TOGETHER, self._free)

    def _free(self) -> None:
        # With Daphne a WebSocket that has gone holds itself, and all that it did not send: the collector counts objects, not bytes.
        gc.collect()
        self._lasting -= self._overdue
        self._overdue = 0

    def identify(self, identity: str) -> None:
        """Count one more stream of an identity. Raises TooManyConnections."""
        most = self._limits.streams_per_identity
        if most is not None and self._by_identity[identity] >= most:
            raise TooManyConnections(f"{most} streams are open for this identity, as many as it may have").at(
                "streams_per_identity"
            )
        _add(self._by_identity, identity, 1)

    def end_all(self, error: ForumError) -> None:
        """
        Refuse new streams and tell the open ones to end; each says goodbye and leaves by itself. Harmless when done before.

        Requests (SSE, pages) are told last, once no WebSocket is open, or LAST seconds later: granian waits for requests, but not for
        WebSockets, and what is not closed by then is cut.
        """
        if self.closing is not None:
            return
        self.closing = error
        for place in tuple(self._places):
            if place.transport not in ("sse", "page"):
                place.end(error)
        if self.by_transport["websocket"]:
            asyncio.get_running_loop().call_later(LAST, self._end_requests)
        self._look_who_is_left()

    async def wait_empty(self) -> None:
        """Wait until all have left, after `end_all`."""
        await self._empty.wait()

    def when_left(self, call: Callable[[], None]) -> None:
        """Call once, in a turn of its own, when all have left after `end_all`; soon where they have. In the loop."""
        self._when_left.append(call)
        self._look_who_is_left()

    def _end_requests(self) -> None:
        if self.closing is not None and not self._all_told:
            self._all_told = True
            for place in tuple(self._places):
                place.end(self.closing)

    def _look_who_is_left(self) -> None:
        if self.closing is None:
            return
        if not self.by_transport["websocket"]:
            self._end_requests()
        if not self._places:
            self._empty.set()
            calls, self._when_left = self._when_left, []
            for call in calls:
                asyncio.get_running_loop().call_soon(call)

    def _check(self, address: str | None) -> None:
        most, each = self._limits.streams, self._limits.streams_per_address
        if each is not None and address and self._by_address[address] >= each and not self._make_room(address):
            raise TooManyConnections(f"{each} streams are open from this address, as many as it may have").at(
                "streams_per_address"
            )
        if len(self._places) - self._hosts_own + self._lasting >= most and not self._make_room(None):
            raise TooManyConnections(f"{most} streams are open, as many as this process takes").at("streams")

    def _make_room(self, address: str | None) -> bool:
        """End the oldest connection (of an address, where one is given) that was granted nothing; whether there was one."""
        idle = (place for place in self._places if not place.claimed and address in (None, place.address))
        if (oldest := next(idle, None)) is None:
            return False
        self._forget(oldest)
        oldest.end(
            TooManyConnections("a connection without a subscription made room for another").at(
                "streams" if address is None else "streams_per_address"
            )
        )
        return True

    def _forget(self, place: Place) -> None:
        """Take a place from those that count. Harmless where it does not count any more."""
        if place in self._places:
            del self._places[place]
            _add(self._by_address, place.address, -1)


def _add(counts: Counter[str], name: str | None, number: int) -> None:
    """Count, and forget who has none."""
    if name is not None:
        counts[name] += number
        if not counts[name]:
            del counts[name]
