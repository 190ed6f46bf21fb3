"""EventDecoder: the rules of `text/event-stream` (HTML, 9.2.5 and 9.2.6)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_forum.client.decoder import EventDecoder, Message, MessageTooLarge


def decode(*pieces: bytes) -> list[Message]:
    """Decode a stream that comes in these pieces."""
    decoder = EventDecoder()
    return [message for piece in pieces for message in decoder.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b"data: a\n\n", [Message("a")]),
        (b"data:a\n\n", [Message("a")]),
        (b"data:  a\n\n", [Message(" a")]),
        (b"data: a\r\n\r\n", [Message("a")]),
        (b"data: a\r\r", [Message("a")]),
        (b"data: a\rdata: b\n\r\n", [Message("a\nb")]),
        (b"data\n\n", [Message("")]),
        (b"data\ndata\n\n", [Message("\n")]),
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Message("YHOO\n+2\n10")]),
        (b": a comment\n\ndata: a\n\n", [Message("a")]),
        (b"event: add\ndata: 1\n\ndata: 2\n\n", [Message("1", "add"), Message("2")]),
        (b"event: add\n\ndata: 2\n\n", [Message("2")]),
        (b"event\ndata: 1\n\n", [Message("1")]),
        (b"unknown: 1\nDATA: 2\n data: 3\n\n", []),
        (b"data: a: b\n\n", [Message("a: b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Message("a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Message("a")]),
        (b"data: \xff\n\n", [Message("�")]),
        ("data: \u2028\x0b\x85 stay\n\n".encode(), [Message("\u2028\x0b\x85 stay")]),
        (b"data: cut", []),
        (b"data: cut\n", []),
        (b"data: cut\r", []),
        (b"", []),
    ],
)
def test_a_stream_is_read_as_a_browser_reads_it(stream: bytes, messages: list[Message]) -> None:
    """Line ends, comments, unknown fields, a byte order mark and what was cut are all as HTML says."""
    assert decode(stream) == messages


def test_an_id_holds_until_another_one_comes() -> None:
    """A message without an id has that of the one before it, which an empty one takes back."""
    assert decode(b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n") == [
        Message("a", id="1"),
        Message("b", id="1"),
        Message("c"),
    ]


def test_an_id_counts_once_its_message_is_complete() -> None:
    """A connection that breaks between `id:` and the message's end leaves the last id as it was."""
    decoder = EventDecoder()
    decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert decoder.last_event_id == "1"
    decoder.feed(b"\n")
    assert decoder.last_event_id == "2"


def test_an_id_without_data_counts_too() -> None:
    """A message that holds an id alone is not delivered, but moves the last id."""
    decoder = EventDecoder()
    assert decoder.feed(b"id: 7\n\n") == []
    assert decoder.last_event_id == "7"


def test_an_id_with_a_null_is_ignored() -> None:
    """The last id stays what it was."""
    assert decode(b"id: 1\ndata: a\n\nid: 2\x00\ndata: b\n\n")[1].id == "1"


@pytest.mark.parametrize(
    ("line", "milliseconds"),
    [(b"1500", 1500), (b"0", 0), (b"1.5", None), (b"-1", None), (b"+1", None), (b"\xd9\xa1", None), (b"", None)],
)
def test_a_retry_line_is_digits_only(line: bytes, milliseconds: int | None) -> None:
    """Anything else is passed over."""
    decoder = EventDecoder()
    assert decoder.feed(b"retry: " + line + b"\n\n") == []
    assert decoder.retry_ms == milliseconds


FIELDS = st.sampled_from(
    [b"data: x", b"data", b"id: 4", b"event: e", b": c", b"retry: 5", b"", b"", "data: é".encode()]
)
LINES = st.lists(st.tuples(FIELDS, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=12)


@given(LINES, st.lists(st.integers(0, 60), max_size=6))
def test_how_a_stream_is_cut_into_pieces_does_not_matter(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    """Any pieces, down to single bytes, give the messages of the whole."""
    stream = b"".join(field + end for field, end in lines)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(places)]
    assert decode(*pieces) == decode(stream) == decode(*[stream[i : i + 1] for i in range(len(stream))])


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 100, b"data: 1234\n" * 12])
def test_a_message_without_end_is_not_kept_for_ever(stream: bytes) -> None:
    """More than the limit of one message, in one line or in many, is an error."""
    decoder = EventDecoder(limit=100)
    with pytest.raises(MessageTooLarge, match="100 bytes"):
        decoder.feed(stream)


def test_many_small_messages_are_no_large_one() -> None:
    """The limit is that of each message, not of the stream."""
    decoder = EventDecoder(limit=20)
    assert len(decoder.feed(b"data: 1234567890\n\n" * 50)) == 50
