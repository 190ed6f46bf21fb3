"""What a URL on the command line stands for: a forum that is served somewhere, or the log in a source itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ForumError
from asgi_forum.models import ForumEvent, Receipt

__all__ = ["Stream", "Target"]


class Stream(Protocol):
    """Events as they come: each once, in order, across losses. Iterating raises ForumReset, and goes on after it."""

    @property
    def trouble(self) -> ForumError | None:
        """Why there is nothing to read from just now."""
        ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> StoredEvent: ...

    async def __aenter__(self) -> object:
        """Wait for the first contact, without end. Raises what will not pass. Cancelled, it has let go of everything."""
        ...

    async def aclose(self) -> None:
        """Let go of everything."""
        ...


class Target(Protocol):
    """Where a command's events come from or go to. For one event loop."""

    @property
    def shown(self) -> str:
        """Its address without credentials, for an error that does not name it; empty where errors do."""
        ...

    async def publish(self, events: Sequence[ForumEvent]) -> list[Receipt]:
        """Publish events that have ids, all or none, once. Raises Unavailable, with its outcome, and what refuses them."""
        ...

    def follow(self, **parameters: Any) -> Stream:
        """Return the events that match; `parameters` are those of a query. Raises BadRequest."""
        ...

    async def check(self, say: Callable[[str], None]) -> str | None:
        """Say line by line how it is, writing nothing; return what keeps it from being well. Raises ForumError."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
