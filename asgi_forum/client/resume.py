"""Where a reader is in the log, and what of a connection's frames it still has to get (section 2 of the protocol)."""

from __future__ import annotations

from dataclasses import replace

from asgi_forum.entries import StoredEvent
from asgi_forum.frames import ErrorFrame, EventsFrame, Frame, ResetFrame

__all__ = ["Resumption"]


class Resumption:
    """
    One reader's position across connections. Never waits.

    `received` is the last cursor that any frame brought: where the next connection goes on. Until there is one, every
    connection repeats the original request (`latest` and `tail` are fixed by the server at the first contact).
    """

    def __init__(self, cursor: str | int | None = None, tail: int | None = None) -> None:
        self.received: str | None = None
        self._first: dict[str, str] = {}
        if cursor is not None:
            self._first["cursor"] = str(cursor)
        if tail is not None:
            self._first["tail"] = str(tail)
        self._sequence = 0

    @property
    def given(self) -> str | None:
        """The cursor that the reader began with; None for words and numbers, which name no place of a log."""
        cursor = self._first.get("cursor", "latest")
        return None if cursor in ("earliest", "latest") or cursor.isdecimal() else cursor

    @property
    def resumes(self) -> bool:
        """Whether the next connection goes on from what an earlier one brought."""
        return self.received is not None

    def parameters(self) -> dict[str, str]:
        """Return `cursor` and `tail` as the next connection has to send them."""
        return dict(self._first) if self.received is None else {"cursor": self.received}

    def start_over(self) -> ResetFrame | None:
        """
        Begin anew, since the forum can't read the cursor: a forum gave it, so another one stands there now.

        Returns the reset that tells of it; None where no cursor had come yet, so that the reader's own is off.
        """
        if not self.resumes:
            return None
        self.received, self._first, self._sequence = None, {"cursor": "earliest"}, 0
        return ResetFrame("replaced", "earliest")

    def take(self, frame: Frame) -> Frame | None:
        """
        Note a frame, and return what of it has to be delivered: None where nothing is left.

        An event whose sequence was delivered before is dropped, unless a reset has come between.
        """
        if isinstance(frame, ErrorFrame):
            return frame
        if frame.next_cursor is not None:
            self.received = frame.next_cursor
        if isinstance(frame, ResetFrame):
            self._sequence = 0
        if not isinstance(frame, EventsFrame):
            return frame
        fresh = [event for event in frame.events if self._is_new(event)]
        if len(fresh) == len(frame.events):
            return frame
        return replace(frame, events=fresh) if fresh else None

    def _is_new(self, event: StoredEvent) -> bool:
        if event.sequence <= self._sequence:
            return False
        self._sequence = event.sequence
        return True
