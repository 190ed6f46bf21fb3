"""Frames: their JSON, their SSE form, and that each is made once."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from asgi_forum.errors import InvalidCursor
from asgi_forum.frames import (
    ErrorFrame,
    EventsFrame,
    Frame,
    HeartbeatFrame,
    LiveFrame,
    ResetFrame,
    command_frame,
    first_frame,
)
from tests.events import sequences, stored

EVENTS = [stored(1, payload={"text": "ü\n\r\u2028"}), stored(2)]
SENT = "2026-02-10T12:56:00.123Z"

FRAMES: list[tuple[Frame, dict[str, Any]]] = [
    (
        EventsFrame(EVENTS, "e.2.c", SENT),
        {
            "type": "forum.events",
            "events": [json.loads(event.json) for event in EVENTS],
            "next_cursor": "e.2.c",
            "sent_at": SENT,
        },
    ),
    (LiveFrame("push", "e.2.c", SENT), {"type": "forum.live", "mode": "push", "next_cursor": "e.2.c", "sent_at": SENT}),
    (LiveFrame("heartbeat", None, SENT), {"type": "forum.live", "mode": "heartbeat", "sent_at": SENT}),
    (HeartbeatFrame("e.2.c", None, SENT), {"type": "heartbeat", "next_cursor": "e.2.c", "sent_at": SENT}),
    (
        HeartbeatFrame("e.2.c", True, SENT),
        {"type": "heartbeat", "next_cursor": "e.2.c", "degraded": True, "sent_at": SENT},
    ),
    (HeartbeatFrame(None, True, SENT), {"type": "heartbeat", "degraded": True, "sent_at": SENT}),
    (
        ResetFrame("trimmed", "e.2.-", SENT),
        {"type": "forum.reset", "reason": "trimmed", "next_cursor": "e.2.-", "sent_at": SENT},
    ),
    (ErrorFrame("too_slow", 'so "slow"'), {"type": "forum.error", "code": "too_slow", "message": 'so "slow"'}),
]
IDS = [f"{type(frame).__name__}{number}" for number, (frame, _) in enumerate(FRAMES)]


@pytest.mark.parametrize(("frame", "document"), FRAMES, ids=IDS)
def test_a_frame_is_one_json_text(frame: Frame, document: dict[str, Any]) -> None:
    """Section 3's fields, `type` first; what has no value is left out."""
    assert json.loads(frame.text) == document
    assert next(iter(json.loads(frame.text))) == "type"
    assert "\n" not in frame.text


@pytest.mark.parametrize(("frame", "document"), FRAMES, ids=IDS)
def test_a_frame_of_a_subscription_has_its_id(frame: Frame, document: dict[str, Any]) -> None:
    """The same frame, with an `id` as it was sent, quotes and all."""
    assert json.loads(frame.text_for('a"\u2028')) == {**document, "id": 'a"\u2028'}
    assert json.loads(frame.text_for(None)) == document


@pytest.mark.parametrize(("frame", "document"), FRAMES[1:], ids=IDS[1:])
def test_a_frame_is_one_sse_message(frame: Frame, document: dict[str, Any]) -> None:
    """`event:` is its type, `data:` its JSON, `id:` its cursor; without a cursor there is no `id:`, which would erase the client's."""
    lines = frame.sse.decode().split("\n")
    assert lines[-2:] == ["", ""]
    fields = dict(line.split(": ", 1) for line in lines[:-2])
    assert fields.pop("event") == document["type"]
    assert json.loads(fields.pop("data")) == document
    assert fields == ({"id": document["next_cursor"]} if "next_cursor" in document else {})


def test_events_are_sse_messages_of_their_own() -> None:
    """One for each, without `event:`, so that `onmessage` gets it; its id is its own cursor, its data its own JSON."""
    frame = EventsFrame(EVENTS, "e.2.c")
    assert frame.sse == b"".join(b"id: %b\ndata: %b\n\n" % (event.cursor.encode(), event.json) for event in EVENTS)


def test_many_events_are_sent_in_pieces_of_whole_messages() -> None:
    """About PIECE bytes each; an event that is larger goes alone, and the pieces together are the frame."""
    sizes = [10, 30_000, 30_000, 10_000, 100_000, 10]
    events = [stored(number, payload={"text": "x" * size}) for number, size in enumerate(sizes, 1)]
    frame = EventsFrame(events, events[-1].cursor)
    assert [piece.count(b"\nid: ") + 1 for piece in frame.sse_pieces] == [3, 1, 1, 1]
    assert all(piece.startswith(b"id: ") and piece.endswith(b"\n\n") for piece in frame.sse_pieces)
    assert b"".join(frame.sse_pieces) == frame.sse
    assert LiveFrame("push", "c").sse_pieces[0].startswith(b"event: forum.live")


def test_no_byte_of_an_event_ends_an_sse_line_early() -> None:
    """Line breaks of a payload are escaped; what SSE takes for no line break may stand as it is."""
    assert not re.search(rb"[\r\n]", EVENTS[0].json)


@pytest.mark.parametrize("frame", [frame for frame, _ in FRAMES], ids=IDS)
def test_a_frame_is_encoded_once(frame: Frame) -> None:
    """Each form is the same object, however many clients get it."""
    assert frame.text is frame.text
    assert frame.sse is frame.sse


@pytest.mark.parametrize(("frame", "document"), FRAMES, ids=IDS)
def test_one_form_leaves_the_others_alone(frame: Frame, document: dict[str, Any]) -> None:
    """Asking for the SSE form first, or for the text, gives the same."""
    fresh = replace(frame)
    assert fresh.sse == frame.sse
    assert json.loads(fresh.text) == document


@pytest.mark.parametrize(
    "make",
    [
        lambda: EventsFrame(EVENTS, "c"),
        lambda: LiveFrame("push", None),
        lambda: HeartbeatFrame(None),
        lambda: ResetFrame("ahead", "c"),
    ],
)
def test_a_frame_says_when_it_was_made(make: Any) -> None:
    """`sent_at` is RFC 3339, in UTC, with `Z`."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", json.loads(make().text)["sent_at"])


def test_an_error_is_told_by_code_and_message() -> None:
    """What a stream ends with."""
    error = InvalidCursor("x")
    assert ErrorFrame.of(error) == ErrorFrame("invalid_cursor", error.message)


def test_a_command_is_answered_with_what_has_a_value() -> None:
    """`subscribed` has no `next_cursor` while it is not fixed."""
    assert json.loads(command_frame("subscribed", id="a", next_cursor=None)) == {"type": "subscribed", "id": "a"}
    assert json.loads(command_frame("pong", sent_at=SENT)) == {"type": "pong", "sent_at": SENT}


SIZE = len(stored(1).sse)


@pytest.mark.parametrize(
    ("limit", "room", "taken"),
    [
        (10, 10**9, [1, 2, 3, 4]),
        (4, 4 * SIZE, [1, 2, 3, 4]),
        (2, 10**9, [1, 2]),
        (10, 2 * SIZE, [1, 2]),
        (10, 2 * SIZE - 1, [1]),
        (10, SIZE, [1]),
        (10, 1, [1]),
        (1, 1, [1]),
    ],
)
def test_a_frame_is_bounded_in_events_and_bytes(limit: int, room: int, taken: list[int]) -> None:
    """Both bounds are sharp; one event is taken however large it is, or a stream would never go on."""
    events = [stored(number) for number in (1, 2, 3, 4)]
    frame = first_frame(events, limit, room, "the end")
    assert sequences(frame) == taken
    assert frame.next_cursor == ("the end" if len(taken) == 4 else events[taken[-1] - 1].cursor)
    assert frame.size == EventsFrame(frame.events, frame.next_cursor).size
