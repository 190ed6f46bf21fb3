"""A forum that is served somewhere, as the commands use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asgi_forum.cli.targets import Stream, Target
from asgi_forum.client import ForumStream, Health, connect, health, publish, read
from asgi_forum.client.address import Address
from asgi_forum.client.libraries import httpx2
from asgi_forum.errors import SourceUnavailable
from asgi_forum.models import ForumEvent, Receipt

__all__ = ["ForumTarget"]

_TIMEOUT = 10.0


class ForumTarget:
    """The forum at an address."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = headers
        self._http = httpx2.AsyncClient()
        self.shown: str = Address.parse(url).shown

    async def publish(self, events: Sequence[ForumEvent]) -> list[Receipt]:
        """Publish in one request."""
        return await publish(self._url, events, headers=self._headers, http=self._http)

    def follow(self, **parameters: Any) -> ForumStream:
        """Return a stream that resumes by itself."""
        return connect(self._url, headers=self._headers, **parameters)

    async def check(self, say: Callable[[str], None]) -> str | None:
        """Ask for the health, and read a page."""
        state = await health(self._url, headers=self._headers, answer_timeout=_TIMEOUT, http=self._http)
        for line in _lines(state):
            say(line)
        before = time.perf_counter()
        try:
            page = await read(self._url, tail=1, headers=self._headers, answer_timeout=_TIMEOUT, http=self._http)
        except SourceUnavailable as error:
            return f"degraded: {error}"
        taken = time.perf_counter() - before
        say(f"cursor   {page.next_cursor}")
        say(f"read     {taken * 1000:.1f} ms")
        return "degraded: the forum can't reach its source just now" if state.degraded else None

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()


def _lines(state: Health) -> Iterator[str]:
    yield f"status   {state.status}"
    if state.source:
        told = [f"{name} {value}" for name, value in state.source.items() if name not in ("kind", "available")]
        available = "available" if state.source.get("available") else "away"
        yield f"source   {', '.join([str(state.source.get('kind')), available, *told])}"
    if state.streams:
        yield f"streams  {', '.join(f'{name} {count}' for name, count in state.streams.items())}"


if TYPE_CHECKING:
    _target: type[Target] = ForumTarget
    _stream: type[Stream] = ForumStream
