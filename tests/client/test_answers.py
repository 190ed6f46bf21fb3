"""What a forum answers, read; and what is no such answer, told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_forum.client.answers import frame_of_text, frames_of_messages, read_health, read_page, read_receipts
from asgi_forum.client.decoder import EventDecoder
from asgi_forum.client.refusals import UnexpectedAnswer
from asgi_forum.entries import StoredEvent
from asgi_forum.frames import ErrorFrame, EventsFrame, Frame, HeartbeatFrame, LiveFrame, ResetFrame
from asgi_forum.models import Receipt
from tests.client.events import document, event

SENT = "2026-02-10T12:56:00.123Z"
FRAMES: list[Frame] = [
    EventsFrame((event(1), event(2)), event(2).cursor, SENT),
    LiveFrame("push", "e.2.x", SENT),
    LiveFrame("heartbeat", None, SENT),
    HeartbeatFrame("e.2.x", None, SENT),
    HeartbeatFrame(None, True, SENT),
    ResetFrame("trimmed", "e.9.-", SENT),
    ErrorFrame("shutting_down", "the server is restarting"),
]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: str(frame.type))
def test_a_frame_of_a_websocket_comes_back_as_it_was(frame: Frame) -> None:
    """Every field of it."""
    found = frame_of_text(frame.text, "here")
    if isinstance(frame, EventsFrame):
        assert isinstance(found, EventsFrame)
        assert tuple(found.events) == tuple(frame.events)
        assert (found.next_cursor, found.sent_at) == (frame.next_cursor, frame.sent_at)
    else:
        assert found == frame


@pytest.mark.parametrize("frame", FRAMES[1:], ids=lambda frame: str(frame.type))
def test_a_frame_of_an_event_stream_comes_back_as_it_was(frame: Frame) -> None:
    """As a message with a name."""
    assert frames_of_messages(EventDecoder().feed(frame.sse), "here") == [frame]


def test_events_that_came_together_are_one_frame() -> None:
    """Another frame between them divides them; each batch ends at its last event's cursor."""
    stream = FRAMES[0].sse + FRAMES[3].sse + EventsFrame([event(3)], event(3).cursor).sse
    found = frames_of_messages(EventDecoder().feed(stream), "here")
    assert [type(each) for each in found] == [EventsFrame, HeartbeatFrame, EventsFrame]
    assert [list(each.events) for each in found if isinstance(each, EventsFrame)] == [[event(1), event(2)], [event(3)]]
    assert [each.next_cursor for each in found if isinstance(each, EventsFrame)] == [event(2).cursor, event(3).cursor]


def test_a_frame_from_the_future_is_passed_over() -> None:
    """So that servers may learn to say more."""
    assert frame_of_text('{"type": "forum.weather", "sky": "blue"}', "here") is None
    assert frames_of_messages(EventDecoder().feed(b'event: sky\ndata: {"type": "sky"}\n\n'), "here") == []


@pytest.mark.parametrize(
    "payload", [{"x": 1e22, "y": 1e-7, "z": 0.1}, {"é😀": "\u2028 \x7f"}, {"n": 2**80}, {"a": [None, True]}]
)
def test_an_event_is_the_same_over_every_transport(payload: dict[str, Any]) -> None:
    """To the byte: from a message, from a frame, from a page."""
    whole = {**document(1), "payload": payload}
    text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False)
    (streamed,) = frames_of_messages(EventDecoder().feed(f"data: {text}\n\n".encode()), "here")
    framed = frame_of_text(f'{{"type":"forum.events","events":[{text}],"next_cursor":"e.1.c1"}}', "here")
    page = read_page(f'{{"events":[{text}],"next_cursor":"e.1.c1","has_more":false}}'.encode(), "here")
    assert isinstance(streamed, EventsFrame)
    assert isinstance(framed, EventsFrame)
    assert streamed.events[0].json == framed.events[0].json == page.events[0].json == text.encode()
    assert streamed.events[0] == StoredEvent.from_json(text)


def test_fields_from_the_future_are_passed_over() -> None:
    """In an event and its envelope; they stay in its JSON."""
    found = frame_of_text(
        json.dumps(
            {"type": "forum.events", "events": [{**document(1, mood="good"), "new": 1}], "next_cursor": "e.1.c1"}
        ),
        "here",
    )
    assert isinstance(found, EventsFrame)
    assert found.events[0].envelope.ticket == "T-1"
    assert b'"mood":"good"' in found.events[0].json


def test_receipts_and_health_are_read() -> None:
    """Health also where most of it is withheld."""
    receipts = b'{"events": [{"event_id": "a", "sequence": 1, "cursor": "e.1.x", "duplicate": true}]}'
    assert read_receipts(receipts, "here") == [Receipt("a", 1, "e.1.x", duplicate=True)]
    whole = read_health(
        b'{"status": "ok", "source": {"kind": "memory"}, "streams": {"sse": 1}, "cursor": "e.1.x"}', "here"
    )
    assert (whole.status, whole.degraded, whole.cursor, whole.streams) == ("ok", False, "e.1.x", {"sse": 1})
    withheld = read_health(b'{"status": "degraded"}', "here")
    assert (withheld.degraded, withheld.cursor, withheld.source) == (True, None, {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"1",
        b"{}",
        b'{"events": 5}',
        b'{"events": [1], "next_cursor": "x"}',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_what_is_no_answer_of_a_forum_is_told(body: bytes) -> None:
    """By one error that names the address, whatever was read for."""
    for read in (read_page, read_receipts, read_health, frame_of_text):
        with pytest.raises(UnexpectedAnswer, match="here did not answer as a forum does"):
            read(body, "here")


def test_an_event_stream_of_something_else_is_told() -> None:
    """Messages of any other server."""
    with pytest.raises(UnexpectedAnswer, match="here did not answer as a forum does"):
        frames_of_messages(EventDecoder().feed(b"data: hello\n\n"), "here")
