"""Batches: lines of JSON, cut into requests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_forum.cli.ndjson import MAX_BATCH_BYTES, MAX_LINE, Batches, Line, LineError, line_of, read_line
from asgi_forum.errors import EventIdConflict, InvalidEvent, PayloadTooLarge, PublishDisabled


def line(number: int, **fields: Any) -> bytes:
    """Write an event as a line."""
    draft = {"event_type": "forum.post.added", "ticket": "T-1", "payload": {"n": number}, **fields}
    return json.dumps(draft).encode() + b"\n"


def numbers(batches: Iterable[list[Line]]) -> list[list[int]]:
    """Return the numbers of the lines of each batch."""
    return [[each.number for each in batch] for batch in batches]


def batches_of(*pieces: bytes) -> list[list[Line]]:
    """Cut a file that comes in these pieces."""
    batches = Batches()
    found = [batch for piece in pieces for batch in batches.feed(piece)]
    return found + list(batches.finish())


def test_a_batch_has_a_thousand_events_at_most() -> None:
    """What is left at the end is one more."""
    found = batches_of(b"".join(line(each) for each in range(2500)))
    assert [len(batch) for batch in found] == [1000, 1000, 500]
    assert [each.number for batch in found for each in batch] == list(range(1, 2501))


def test_a_batch_has_a_bounded_size() -> None:
    """An event that is larger than that goes alone."""
    large = line(1, payload={"x": "y" * (MAX_BATCH_BYTES // 3)})
    huge = line(1, payload={"x": "y" * (MAX_BATCH_BYTES + 1)})
    found = batches_of(large * 5 + line(1) + huge + line(2))
    assert numbers(found) == [[1, 2], [3, 4], [5, 6], [7], [8]]
    assert all(sum(each.size for each in batch) <= MAX_BATCH_BYTES for batch in found if len(batch) > 1)


def test_a_flush_yields_what_is_there() -> None:
    """A line that has begun waits for its end."""
    batches = Batches()
    begun = line(3)
    assert list(batches.feed(line(1) + line(2) + begun[:10])) == []
    assert batches.pending
    assert numbers(batches.flush()) == [[1, 2]]
    assert not batches.pending
    assert list(batches.flush()) == []
    assert list(batches.feed(begun[10:])) == []
    assert numbers(batches.finish()) == [[3]]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_blank_lines_are_skipped_and_counted(end: bytes) -> None:
    """So that numbers are those of an editor. The last line needs no end; a byte order mark is passed over."""
    content = line(1).rstrip()
    found = batches_of(b"\xef\xbb\xbf" + end + content + end + b"  \t" + end + end + content)
    assert numbers(found) == [[2, 5]]


@given(st.lists(st.integers(1, 40), max_size=30))
def test_how_a_file_is_cut_into_pieces_does_not_matter(sizes: list[int]) -> None:
    """Any pieces give the lines of the whole."""
    whole = b"".join(line(each, event_id=f"e{each}", payload={"é": "😀" * each}) for each in range(5))
    pieces: list[bytes] = []
    rest = whole
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    found = batches_of(*pieces, rest)
    assert [each.event for batch in found for each in batch] == [each.event for each in batches_of(whole)[0]]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "line 7: not JSON: "),
        (b"hello", "line 7: not JSON: "),
        (b"\xff", "line 7: not JSON: "),
        (b"[" * 10_000, "line 7: not JSON: "),
        (b"[]", "line 7: expected one event, as a JSON object"),
        (b"5", "line 7: "),
        (b"{}", "line 7: event_type: Field required"),
        (b'{"event_type": "a", "ticket": ""}', "line 7: ticket: "),
        (b'{"event_type": "A B", "ticket": "t"}', "line 7: event_type: expected dot-separated lower-case words"),
        (b'{"event_type": "a", "ticket": "t", "new": 1}', "line 7: new: "),
        (b'{"event_type": "a", "ticket": "t", "payload": []}', "line 7: payload: "),
        (b'{"event_type": "a", "ticket": "t", "payload": {"x": NaN}}', "line 7: payload: not JSON"),
        (b'{"event_type": "a", "ticket": "t", "payload": {"x": "\\ud800"}}', "line 7: "),
        (
            b'{"event_type": "a", "ticket": "t", "occurred_at": "yesterday"}',
            "line 7: occurred_at: expected an RFC 3339",
        ),
        (b'{"event_type": "a", "ticket": "t", "event_version": 1.5}', "line 7: event_version: "),
    ],
)
def test_a_line_that_is_no_event_is_named(raw: bytes, message: str) -> None:
    """With its first fault."""
    with pytest.raises(LineError) as error:
        read_line(7, raw)
    assert str(error.value).startswith(message), str(error.value)
    assert "\n" not in str(error.value)


def test_a_bad_line_keeps_its_batch_back() -> None:
    """Batches that were full before it have been yielded."""
    batches = Batches()
    full = b"".join(line(each) for each in range(1000))
    ready = batches.feed(full + line(1) * 2 + b"oops\n")
    assert len(next(ready)) == 1000
    with pytest.raises(LineError, match="line 1003: not JSON"):
        next(ready)


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    """It is refused once it is longer than any forum takes."""
    batches = Batches()
    pieces = [line(1), *[b"x" * 2**20] * (MAX_LINE // 2**20)]
    assert [batch for piece in pieces for batch in batches.feed(piece)] == []
    with pytest.raises(LineError, match="line 2: longer than"):
        list(batches.feed(b"x"))


def test_every_event_has_an_id_before_it_is_sent() -> None:
    """One that is given is kept; one that is made is known as such."""
    given_id = read_line(1, line(1, event_id="mine"))
    made = read_line(2, line(2))
    assert (given_id.event.event_id, given_id.made_id) == ("mine", False)
    assert made.event.event_id
    assert made.made_id


BATCH = [read_line(number, line(number, event_id=f"e{number}")) for number in (11, 13, 14)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InvalidEvent([{"loc": [1, "ticket"], "msg": "missing"}]), "line 13: ticket: missing"),
        (InvalidEvent([{"loc": [2], "msg": "a"}, {"loc": [0], "msg": "b"}]), "line 14: a (and 1 more)"),
        (EventIdConflict("e14", ["payload"], index=2), "line 14: event_id 'e14' is taken"),
        (PayloadTooLarge("too large", index=0), "line 11: too large"),
        (PayloadTooLarge("event 1: got 9 bytes", index=1), "line 13: got 9 bytes"),
        (PayloadTooLarge("too large"), None),
        (InvalidEvent([{"loc": [], "msg": "too many"}]), None),
        (InvalidEvent([{"loc": [9, "ticket"], "msg": "missing"}]), None),
        (PublishDisabled(), None),
    ],
)
def test_a_refusal_is_led_back_to_its_line(error: Any, message: str | None) -> None:
    """Where the forum names an event of the request."""
    found = line_of(error, BATCH)
    assert (found and str(found).startswith(message or "")) or (found is None and message is None)


def test_a_refusal_of_a_single_event_is_about_its_line() -> None:
    """Also where the forum names none."""
    assert str(line_of(PayloadTooLarge("too large"), BATCH[:1])) == "line 11: too large"
