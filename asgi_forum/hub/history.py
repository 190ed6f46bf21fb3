"""What readers share that catch up: frames of stored events, and the steps that led to them."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from asgi_forum.cursor import Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame

__all__ = ["History", "Step"]

_FRAMES = 64
_FRESH = 1.0
"""How many frames of history are kept at most, and for how many seconds, for those who come to the same position next."""


@dataclass(slots=True)
class Step:
    """
    Where a reader got to from one position, and with which frame, a full one: at the log's end there may be more by now.

    end: the sequence of the log's end, as far as was known. examined: how many entries were looked at. made_at: by `time.monotonic`.
    """

    frame: EventsFrame
    reached: Cursor
    end: int
    examined: int
    made_at: float


class History:
    """
    Frames of stored events that were made a moment ago: readers of one filter that catch up behind each other share them.

    A step is shared by those who stand at the very same cursor: what was found right about it then is right now. For how long is
    bounded like that of a block of history (see SharedReads), and for the same reason.
    """

    def __init__(self) -> None:
        self._frames: OrderedDict[tuple[Filter, str, int, str], tuple[float, EventsFrame]] = OrderedDict()
        self._steps: OrderedDict[tuple[Filter, Cursor, int, int], Step] = OrderedDict()

    def frame(self, keep: Filter, events: list[StoredEvent], cursor: str) -> EventsFrame:
        """Make a frame of stored events, or return the one that was made of the same: it is encoded once."""
        key = (keep, events[0].cursor, len(events), cursor)
        found = self._frames.get(key)
        now = time.monotonic()
        if found is None or now - found[0] > _FRESH:
            found = self._frames[key] = (now, EventsFrame(events, cursor))
            if len(self._frames) > _FRAMES:
                self._frames.popitem(last=False)
        return found[1]

    def step(self, keep: Filter, after: Cursor, limit: int, room: int) -> Step | None:
        """Return the step that another reader has taken from this position, with these bounds, a moment ago."""
        found = self._steps.get((keep, after, limit, room))
        return found if found is not None and time.monotonic() - found.made_at <= _FRESH else None

    def taken(self, keep: Filter, after: Cursor, limit: int, room: int, step: Step) -> None:
        """Remember a step, for who comes next."""
        self._steps[keep, after, limit, room] = step
        if len(self._steps) > _FRAMES:
            self._steps.popitem(last=False)
