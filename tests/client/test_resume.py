"""Resumption: one reader's position across connections, whatever they do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_forum.client.answers import frames_of_messages
from asgi_forum.client.decoder import EventDecoder
from asgi_forum.client.resume import Resumption
from asgi_forum.entries import StoredEvent
from asgi_forum.frames import ErrorFrame, EventsFrame, Frame, HeartbeatFrame, LiveFrame, ResetFrame
from tests.client.events import event


def events(*sequences: int) -> EventsFrame:
    """Make a frame of these events."""
    return EventsFrame([event(each) for each in sequences], event(sequences[-1]).cursor)


def sequences(frame: Frame | None) -> list[int]:
    """Return the sequences of what is delivered."""
    assert frame is None or isinstance(frame, EventsFrame)
    return [each.sequence for each in frame.events] if frame else []


@pytest.mark.parametrize(
    ("cursor", "tail", "parameters"),
    [
        (None, None, {}),
        ("latest", None, {"cursor": "latest"}),
        (0, None, {"cursor": "0"}),
        (7, None, {"cursor": "7"}),
        (None, 20, {"tail": "20"}),
        (None, 0, {"tail": "0"}),
        ("e.3.x", None, {"cursor": "e.3.x"}),
    ],
)
def test_the_original_request_is_repeated_until_a_cursor_came(
    cursor: str | int | None, tail: int | None, parameters: dict[str, str]
) -> None:
    """Frames without a cursor (the source is away) leave the start as it was; the first cursor replaces it."""
    reader = Resumption(cursor, tail)
    assert reader.parameters() == parameters
    assert not reader.resumes
    reader.take(HeartbeatFrame(None, degraded=True))
    reader.take(ErrorFrame("shutting_down", "bye"))
    assert reader.parameters() == parameters
    reader.take(LiveFrame("push", "e.9.x"))
    assert reader.parameters() == {"cursor": "e.9.x"}
    assert reader.resumes


@pytest.mark.parametrize(
    ("cursor", "given_cursor"),
    [("e.3.x", "e.3.x"), ("latest", None), ("earliest", None), (5, None), ("5", None), (None, None)],
)
def test_only_a_cursor_is_one(cursor: str | int | None, given_cursor: str | None) -> None:
    """Words and numbers name no place of a log, so they are no position to keep."""
    assert Resumption(cursor).given == given_cursor


def test_every_frame_moves_the_position() -> None:
    """Heartbeats, too, and resets: whatever has a cursor."""
    reader = Resumption()
    frames: list[Frame] = [
        events(1, 2),
        HeartbeatFrame("e.7.x"),
        LiveFrame("push", "e.8.x"),
        ResetFrame("trimmed", "e.20.-"),
    ]
    received: list[str | None] = []
    for frame in frames:
        reader.take(frame)
        received.append(reader.received)
    assert received == [event(2).cursor, "e.7.x", "e.8.x", "e.20.-"]


def test_an_event_that_was_delivered_is_dropped() -> None:
    """Alone or in a frame with new ones."""
    reader = Resumption()
    assert sequences(reader.take(events(1, 2, 3))) == [1, 2, 3]
    assert sequences(reader.take(events(2, 3))) == []
    assert sequences(reader.take(events(3, 4))) == [4]


def test_events_out_of_order_are_dropped() -> None:
    """What is delivered only ever rises."""
    assert sequences(Resumption().take(events(2, 1, 3, 3))) == [2, 3]


@pytest.mark.parametrize("reason", ["trimmed", "replaced", "ahead", "skipped"])
def test_after_a_reset_events_may_come_again(reason: str) -> None:
    """A log that was replaced begins anew with its numbers."""
    reader = Resumption()
    reader.take(events(5, 6))
    reader.take(ResetFrame(reason, "f.0.-"))  # type: ignore[arg-type]
    assert sequences(reader.take(events(1, 2))) == [1, 2]


def test_a_cursor_that_a_new_forum_cannot_read_is_a_reset() -> None:
    """One that came from the forum itself: it begins at the earliest event of the new log."""
    reader = Resumption()
    reader.take(events(5))
    reset = reader.start_over()
    assert reset is not None
    assert (reset.reason, reset.next_cursor) == ("replaced", "earliest")
    assert reader.parameters() == {"cursor": "earliest"}
    assert not reader.resumes
    assert sequences(reader.take(events(1))) == [1]


def test_a_reader_s_own_cursor_that_cannot_be_read_is_an_error() -> None:
    """There is nothing to start over from."""
    assert Resumption("nonsense").start_over() is None


def stream(log: list[StoredEvent], parameters: dict[str, str], size: int) -> bytes:
    """Write what a forum sends over SSE after a cursor: events in frames of `size`, a heartbeat behind each."""
    cursors = ["e.0.-", *[each.cursor for each in log]]
    at = cursors.index(parameters.get("cursor", "e.0.-"))
    frames: list[Frame] = []
    while at < len(log):
        batch = log[at : at + size]
        at += len(batch)
        frames += [EventsFrame(batch, batch[-1].cursor), HeartbeatFrame(batch[-1].cursor)]
    return b"retry: 5\n\n" + b"".join(frame.sse for frame in frames)


def delivered(body: bytes, reader: Resumption, pieces: int) -> Iterator[int]:
    """Read a connection's bytes, in pieces, and yield the sequences that are delivered."""
    decoder = EventDecoder()
    for start in range(0, len(body), pieces):
        for frame in frames_of_messages(decoder.feed(body[start : start + pieces]), "here"):
            fresh = reader.take(frame)
            if isinstance(fresh, EventsFrame):
                yield from sequences(fresh)


@given(
    st.integers(0, 12),
    st.integers(1, 5),
    st.lists(st.integers(0, 1500), max_size=8),
    st.sampled_from([1, 7, 100, 4096]),
)
def test_connections_cut_at_any_byte_deliver_each_event_once(
    count: int, size: int, cuts: list[int], pieces: int
) -> None:
    """Whatever prefix of its bytes each connection brought, the next one goes on just behind it."""
    log = [event(sequence) for sequence in range(1, count + 1)]
    reader = Resumption("e.0.-")
    seen: list[int] = []
    for cut in cuts:
        seen += delivered(stream(log, reader.parameters(), size)[:cut], reader, pieces)
    seen += delivered(stream(log, reader.parameters(), size), reader, pieces)
    assert seen == [each.sequence for each in log]
