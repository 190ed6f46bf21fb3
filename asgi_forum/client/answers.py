"""What a forum answers, read: frames, pages, receipts, health. Bytes in, values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from json import JSONEncoder
from typing import Any, TypeVar

from pydantic_core import from_json

from asgi_forum.client.decoder import Message
from asgi_forum.client.refusals import unexpected
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import InvalidEvent, quote
from asgi_forum.frames import ErrorFrame, EventsFrame, Frame, HeartbeatFrame, LiveFrame, ResetFrame
from asgi_forum.models import Receipt

__all__ = ["Health", "Page", "frame_of_text", "frames_of_messages", "read_health", "read_page", "read_receipts"]

T = TypeVar("T")

# An event inside a frame or page is written again just as the forum writes it: so it equals the same event from a
# stream of SSE.
_encode = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Page:
    """
    One page of events, oldest first. `next_cursor` is where the next page begins; it moves on also where nothing
    matched.

    `has_more`: whether `next_cursor` lies before the log's end. An empty page may have more behind it.
    """

    events: tuple[StoredEvent, ...]
    next_cursor: str
    has_more: bool


@dataclass(frozen=True, slots=True)
class Health:
    """
    How a forum is. `status` is `ok` or `degraded` (its source can't be reached just now; streams stay open).

    The rest is left out for those whom the forum's authorization refuses. `cursor` is the log's end.
    """

    status: str
    cursor: str | None = None
    source: Mapping[str, Any] = field(default_factory=dict[str, Any])
    streams: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def degraded(self) -> bool:
        """Whether the source can't be reached just now."""
        return self.status != "ok"


def _event(document: Mapping[str, Any]) -> StoredEvent:
    return StoredEvent.from_json(_encode(document))


def _sent(document: Mapping[str, Any]) -> dict[str, str]:
    return {"sent_at": document["sent_at"]} if "sent_at" in document else {}


_FRAMES: dict[str, Callable[[dict[str, Any]], Frame]] = {
    EventsFrame.type: lambda it: EventsFrame([_event(each) for each in it["events"]], it["next_cursor"], **_sent(it)),
    LiveFrame.type: lambda it: LiveFrame(it["mode"], it.get("next_cursor"), **_sent(it)),
    HeartbeatFrame.type: lambda it: HeartbeatFrame(it.get("next_cursor"), it.get("degraded"), **_sent(it)),
    ResetFrame.type: lambda it: ResetFrame(it["reason"], it["next_cursor"], **_sent(it)),
    ErrorFrame.type: lambda it: ErrorFrame(it["code"], it["message"]),
}


def frame_of_text(text: str | bytes, shown: str) -> Frame | None:
    """Read a frame's JSON; None for a type that this version does not know. UnexpectedAnswer where it is none."""

    def read(document: Any) -> Frame | None:
        make = _FRAMES.get(document["type"])
        return make(document) if make else None

    return _read(text, shown, read)


def frames_of_messages(messages: Sequence[Message], shown: str) -> list[Frame]:
    """Read the messages of an event stream; events that stand together become one frame."""
    frames: list[Frame] = []
    events: list[StoredEvent] = []
    for message in messages:
        if message.event == "message":
            events.append(_guarded(shown, StoredEvent.from_json, message.data))
            continue
        _collect(frames, events)
        frame = frame_of_text(message.data, shown)
        if frame is not None:
            frames.append(frame)
    _collect(frames, events)
    return frames


def _collect(frames: list[Frame], events: list[StoredEvent]) -> None:
    if events:
        frames.append(EventsFrame(tuple(events), events[-1].cursor))
        events.clear()


def read_page(body: bytes, shown: str) -> Page:
    """Read the answer to `GET /events`."""
    return _read(body, shown, lambda it: Page(tuple(map(_event, it["events"])), it["next_cursor"], it["has_more"]))


def read_receipts(body: bytes, shown: str) -> list[Receipt]:
    """Read the answer to `POST /events`."""

    def receipts(document: Any) -> list[Receipt]:
        return [Receipt(it["event_id"], it["sequence"], it["cursor"], it["duplicate"]) for it in document["events"]]

    return _read(body, shown, receipts)


def read_health(body: bytes, shown: str) -> Health:
    """Read the answer to `GET /health`."""
    return _read(
        body, shown, lambda it: Health(it["status"], it.get("cursor"), it.get("source", {}), it.get("streams", {}))
    )


def _read(body: str | bytes, shown: str, read: Callable[[Any], T]) -> T:
    return _guarded(shown, lambda: read(from_json(body)))


def _guarded(shown: str, read: Callable[..., T], *arguments: object) -> T:
    try:
        return read(*arguments)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidEvent) as error:
        raise unexpected(shown, quote(str(error))) from error
