"""The frames that a stream carries (section 3), and the bytes and text of each: made once, however many clients get it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import ClassVar, Literal

from pydantic_core import to_json

from asgi_forum.cursor import Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ForumError, ResetReason
from asgi_forum.stamps import utc_text

__all__ = [
    "PIECE",
    "ErrorFrame",
    "EventsFrame",
    "Frame",
    "HeartbeatFrame",
    "LiveFrame",
    "Mode",
    "ResetFrame",
    "command_frame",
    "first_frame",
]

Mode = Literal["push", "heartbeat"]

PIECE = 64 * 1024
"""The bytes that are sent at once, where a frame can be cut: a client that takes that much in time is not stuck."""


@dataclass(frozen=True)
class _Encoded:
    """What all frames share: their JSON as a WebSocket's text and as an SSE message, each made when first asked for and kept."""

    type: ClassVar[str]

    @cached_property
    def _rest(self) -> bytes:
        """The frame's JSON behind its `type`, without the opening brace."""
        return to_json({name: value for name, value in self.__dict__.items() if value is not None})[1:]

    @cached_property
    def text(self) -> str:
        """The frame as one JSON text."""
        return self.text_for(None)

    @cached_property
    def size(self) -> int:
        """The bytes of its JSON, or of its events' where it has some: what it costs to be sent, about."""
        return len(self._rest)

    def text_for(self, subscription: str | None) -> str:
        """Return the frame as one JSON text, with the `id` of a subscription of `/socket`."""
        named = "" if subscription is None else f'"id":{to_json(subscription).decode()},'
        return f'{{"type":"{self.type}",{named}{self._rest.decode()}'

    @cached_property
    def sse(self) -> bytes:
        """The frame as one SSE message, with its `next_cursor` as id where it has one (an empty id would erase the client's)."""
        cursor = getattr(self, "next_cursor", None)
        named = b"id: %b\n" % cursor.encode() if cursor else b""
        return b"event: %b\n%bdata: %b\n\n" % (self.type.encode(), named, self.text.encode())

    @cached_property
    def sse_pieces(self) -> Sequence[bytes]:
        """The frame's SSE messages as they are sent: none is cut, and a client that takes data slowly has taken some of it soon."""
        return (self.sse,)


@dataclass(frozen=True)
class EventsFrame(_Encoded):
    """Matching events, oldest first, at least one. `next_cursor` is the position just after the last."""

    type: ClassVar[str] = "forum.events"
    events: Sequence[StoredEvent]
    next_cursor: str
    sent_at: str = field(default_factory=utc_text)

    @cached_property
    def _rest(self) -> bytes:
        events = b",".join([event.json for event in self.events])
        return b'"events":[%b],"next_cursor":"%b","sent_at":"%b"}' % (
            events,
            self.next_cursor.encode(),
            self.sent_at.encode(),
        )

    @cached_property
    def position(self) -> Cursor:
        """The position just after the last event."""
        last = self.events[-1]
        return last.position if last.cursor == self.next_cursor else Cursor.parse(self.next_cursor)

    @cached_property
    def size(self) -> int:
        """The bytes of its events."""
        return sum([len(event.sse) for event in self.events])

    @cached_property
    def sse(self) -> bytes:
        """One SSE message for each event, without an `event:` field, so that `onmessage` gets it."""
        return b"".join(self.sse_pieces)

    @cached_property
    def sse_pieces(self) -> Sequence[bytes]:
        """The messages, put together up to about `PIECE` bytes; a larger one goes alone."""
        if len(self.events) == 1:
            return (self.events[0].sse,)
        if self.size <= PIECE:
            return (b"".join([event.sse for event in self.events]),)
        pieces: list[list[bytes]] = [[]]
        size = 0
        for event in self.events:
            message = event.sse
            if pieces[-1] and size + len(message) > PIECE:
                pieces.append([])
                size = 0
            pieces[-1].append(message)
            size += len(message)
        return tuple(b"".join(piece) for piece in pieces)


@dataclass(frozen=True)
class LiveFrame(_Encoded):
    """Stored history is delivered. `mode` is `heartbeat` where the source has no live feed: then only heartbeats follow."""

    type: ClassVar[str] = "forum.live"
    mode: Mode
    next_cursor: str | None
    sent_at: str = field(default_factory=utc_text)


@dataclass(frozen=True)
class HeartbeatFrame(_Encoded):
    """Nothing else was sent for a while. `next_cursor` moves past events that the filter left out; `degraded`: the source is away."""

    type: ClassVar[str] = "heartbeat"
    next_cursor: str | None
    degraded: bool | None = None
    sent_at: str = field(default_factory=utc_text)


@dataclass(frozen=True)
class ResetFrame(_Encoded):
    """Events between the reader's position and `next_cursor` can't be delivered. Reload; the stream goes on from `next_cursor`."""

    type: ClassVar[str] = "forum.reset"
    reason: ResetReason
    next_cursor: str
    sent_at: str = field(default_factory=utc_text)


@dataclass(frozen=True)
class ErrorFrame(_Encoded):
    """The last frame before the server ends a stream, or the answer to a command of `/socket` that was off."""

    type: ClassVar[str] = "forum.error"
    code: str
    message: str

    @classmethod
    def of(cls, error: ForumError) -> ErrorFrame:
        """Tell of an error; what else it carries (`details`, ...) belongs to HTTP answers only."""
        return cls(error.code, error.message)


def first_frame(events: Sequence[StoredEvent], limit: int, max_bytes: int, end: str) -> EventsFrame:
    """
    Make a frame of the first events: at most `limit`, as many as `max_bytes` of messages hold, but one at least.

    `end` is the cursor that it leads to where it holds them all.
    """
    taken = events[:limit]
    sizes = [len(event.sse) for event in taken]
    size = sum(sizes)
    if size > max_bytes:
        count = max(bisect_right(list(accumulate(sizes)), max_bytes), 1)
        taken, size = taken[:count], sum(sizes[:count])
    frame = EventsFrame(taken, end if len(taken) == len(events) else taken[-1].cursor)
    frame.__dict__["size"] = size  # which it would count again
    return frame


Frame = EventsFrame | LiveFrame | HeartbeatFrame | ResetFrame | ErrorFrame
"""Any frame of a stream (section 3 of the protocol)."""


def command_frame(kind: str, **fields: object) -> str:
    """Return the text of an answer to a command of `/socket`: `subscribed`, `unsubscribed`, `pong`."""
    return to_json({"type": kind, **{name: value for name, value in fields.items() if value is not None}}).decode()
