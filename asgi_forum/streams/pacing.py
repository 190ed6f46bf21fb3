"""Servers that never say how much a client has taken: what one stream may send there, before it ends and the client comes back."""

from __future__ import annotations

from starlette.types import Scope

from asgi_forum.errors import ShuttingDown
from asgi_forum.hub.streams import Place
from asgi_forum.settings import Limits

__all__ = ["Budget"]


class Budget:
    """
    The bytes that one connection may still send where the server applies no back-pressure, `Limits.unpaced_bytes` at first.

    Daphne takes all that it is given at once, and keeps it for a client that reads nothing. It shows only in what it does not say:
    which version of the specification it follows. A client that has come to the end of such a stream has read it, and resumes.

    What is not read after `Limits.send_timeout` is the kernel's to let go of; until then the stream's place stays taken, so that
    `Limits.streams` bounds how many such clients there are.
    """

    __slots__ = ("_left", "_place", "_timeout")

    @classmethod
    def needed(cls, scope: Scope, limits: Limits, place: Place) -> Budget | None:
        """Return the budget of a connection; None where it needs none."""
        paced = "spec_version" in scope.get("asgi", {"spec_version": None})
        return None if paced else cls(limits, place)

    def __init__(self, limits: Limits, place: Place) -> None:
        self._left = limits.unpaced_bytes
        self._timeout = limits.send_timeout
        self._place = place

    def spend(self, size: int) -> ShuttingDown | None:
        """Count what is being sent; return the error to end with, where nothing should follow it."""
        self._left -= size
        if self._left > 0:
            return None
        self._place.lasts = self._timeout
        return ShuttingDown("this stream has sent as much as one may here; resume from its last cursor").at(
            "unpaced_bytes"
        )
