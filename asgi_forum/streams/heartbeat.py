"""When a stream has to say that it is still there."""

from __future__ import annotations

__all__ = ["Heartbeat"]


class Heartbeat:
    """The rule of section 3: a heartbeat whenever `interval` seconds pass with nothing else sent. `now` is any rising clock."""

    __slots__ = ("due", "interval")

    def __init__(self, interval: float, *, now: float) -> None:
        self.interval: float = interval
        self.due: float = now + interval

    def frame_sent(self, *, now: float) -> None:
        """Note that a frame, of whatever kind, is on its way."""
        self.due = now + self.interval
