"""What readers share that catch up: frames of stored events, and the steps that led to them."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from asgi_forum.cursor import Cursor
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame

__all__ = ["History", "Step"]

_FRESH = 1.0
"""Seconds for which frames of history are kept for those who come to the same position next."""

_FRAMES = 64
"""The most frames that are kept apart from a step: those that are not full."""

OVERHEAD = 2048
"""Bytes of Python objects around a frame, and around a step that leads to it (measured: 1,600 to 1,800 on CPython 3.11)."""

_FEW = 8
"""
Steps that are kept while nobody takes them: one who reads alone leaves the processor's cache to what it reads. As soon as one is taken,
many may be needed: of a hundred readers that began together, some were thousands of events ahead of others.
"""


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
    bounded like that of a block of history (see SharedReads), and for the same reason. The frames of steps have `max_bytes` at most,
    but for the newest few; so have the others, but for the newest.
    """

    def __init__(self, max_bytes: int) -> None:
        self._frames: OrderedDict[tuple[Filter, str, int, str], tuple[float, EventsFrame]] = OrderedDict()
        self._steps: OrderedDict[tuple[Filter, Cursor, int, int], Step] = OrderedDict()
        self._max_bytes = max_bytes
        self._size = self._frames_size = 0
        self._shared_at = -math.inf

    def frame(self, keep: Filter, made: EventsFrame) -> EventsFrame:
        """Return the frame that was made of the same events a moment ago, or else this one: it is encoded once."""
        key = (keep, made.events[0].cursor, len(made.events), made.next_cursor)
        found = self._frames.get(key)
        now = time.monotonic()
        if found is None or now - found[0] > _FRESH:
            if found is not None:
                del self._frames[key]
                self._frames_size -= _cost(found[1])
            found = self._frames[key] = (now, made)
            self._frames_size += _cost(made)
            while len(self._frames) > 1 and (len(self._frames) > _FRAMES or self._frames_size > self._max_bytes):
                self._frames_size -= _cost(self._frames.popitem(last=False)[1][1])
        return found[1]

    def step(self, keep: Filter, after: Cursor, limit: int, room: int) -> Step | None:
        """Return the step that another reader has taken from this position, with these bounds, a moment ago."""
        found = self._steps.get((keep, after, limit, room))
        if found is None or (now := time.monotonic()) - found.made_at > _FRESH:
            return None
        self._shared_at = now
        return found

    def taken(self, keep: Filter, after: Cursor, limit: int, room: int, step: Step) -> None:
        """Remember a step, for who comes next."""
        key = (keep, after, limit, room)
        if (before := self._steps.pop(key, None)) is not None:
            self._size -= _cost(before.frame)
        self._steps[key] = step
        self._size += _cost(step.frame)
        most = self._max_bytes if step.made_at - self._shared_at <= _FRESH else 0
        while len(self._steps) > _FEW and self._size > most:
            self._size -= _cost(self._steps.popitem(last=False)[1].frame)


def _cost(frame: EventsFrame) -> int:
    return frame.size + OVERHEAD
