"""The bytes of requests and pages that are under way: what a process holds for clients that send, or take, them slowly."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from asgi_forum.errors import TooManyConnections

__all__ = ["Transfer", "Transfers"]


class Transfers:
    """Counts the bytes of all bodies of requests and pages that are under way, and refuses what is over `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.under_way: int = 0

    def begun(self) -> Transfer:
        """Begin one, of which nothing is held yet; a context manager."""
        return Transfer(self)

    def add(self, transfer: Transfer, size: int) -> None:
        """Count more bytes of one. Raises TooManyConnections. What is alone may always have them: other limits say how many."""
        others = self.under_way - transfer.size
        if others and self.under_way + size > self._most:
            raise TooManyConnections(
                f"{others} bytes of other requests and pages are under way, and {transfer.size + size} of this one; "
                f"this process takes {self._most}"
            ).at("transfer_bytes")
        self.under_way += size
        transfer.size += size

    def end(self, transfer: Transfer) -> None:
        """Let go of one."""
        self.under_way -= transfer.size
        transfer.size = 0


class Transfer:
    """One request's body, or one page, on its way."""

    __slots__ = ("_transfers", "size")

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers
        self.size: int = 0

    def add(self, size: int) -> None:
        """Hold so many bytes more. Raises TooManyConnections."""
        self._transfers.add(self, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transfers.end(self)
