"""What the two transports share: one connection's life, as the stream over it sees that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from asgi_forum import __version__
from asgi_forum.client.address import Address
from asgi_forum.errors import ForumError
from asgi_forum.frames import Frame

__all__ = ["USER_AGENT", "Bounds", "Connection", "Dialer", "Lost", "Request"]

USER_AGENT = f"asgi-forum/{__version__}"


class Lost(Exception):
    """
    There is no connection, or no longer; another try may succeed.

    `error` says why, `retry_after` how many seconds the server asks to wait at least.
    """

    def __init__(self, error: ForumError, retry_after: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Bounds:
    """
    What a connection may cost. Times are in seconds.

    open: until it stands. silence: without a sign of life, after which it counts as lost. frame: the most bytes of
    one frame.
    """

    open: float
    silence: float
    frame: int


@dataclass(frozen=True, slots=True)
class Request:
    """
    What to ask for: the filters as query parameters, where to begin (`resumes`: a cursor from an earlier connection),
    headers.
    """

    filters: Sequence[tuple[str, str]]
    start: Mapping[str, str]
    resumes: bool
    headers: Mapping[str, str]


class Connection(Protocol):
    """One open connection. For one task."""

    @property
    def survives_cancelling(self) -> bool:
        """Whether `receive` may be called again after it was cancelled."""
        ...

    @property
    def retry_ms(self) -> int | None:
        """What the stream's `retry:` line asks for, where the transport has one."""
        ...

    async def receive(self) -> Sequence[Frame]:
        """
        Wait for what comes next: one frame or more, or none that this version knows.

        Cancelling takes no frame away that the next call, or the next connection, would not bring. Raises Lost,
        UnexpectedAnswer.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the connection. Harmless when it is gone."""
        ...


class Dialer(Protocol):
    """Opens connections, one after the other."""

    async def open(self, address: Address, request: Request) -> Connection:
        """
        Return an open connection. Raises Lost, or the refusal where it will not pass. Cancelling leaves nothing
        behind.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what the connections share."""
        ...
