"""Cursors: their grammar, what makes them, and where a stream may be asked to start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_forum.cursor import EARLIEST, LATEST, REPLACED, Cursor, CursorKey, Start, parse_start
from asgi_forum.errors import InvalidCursor

WORD = st.text("abzAZ059_-", min_size=1, max_size=32)


@given(WORD, st.integers(0, 10**19 - 1), WORD)
def test_a_cursor_is_read_as_it_was_written(epoch: str, sequence: int, check: str) -> None:
    """Writing and reading are each other's inverse, and the text is short printable ASCII."""
    cursor = Cursor(epoch, sequence, check)
    text = str(cursor)
    assert Cursor.parse(text) == cursor
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 128


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "e.1",
        "e.1.",
        ".1.c",
        "e..c",
        "e.-1.c",
        "e.+1.c",
        "e.01.c",
        "e.1.c.d",
        "e.1.c ",
        " e.1.c",
        "e.1.c\n",
        "e.1,c",
        "e.\u0661.c",
        "\xe9.1.c",
        "e.1.c=",
        "e." + "9" * 20 + ".c",
        "e" * 33 + ".1.c",
        "e.1." + "c" * 33,
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    """Only the one form passes; the message shows what was got."""
    with pytest.raises(InvalidCursor, match="cursor: got "):
        Cursor.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_a_start_or_refused(text: str) -> None:
    """Nothing that a client sends is anything but a start or an InvalidCursor."""
    try:
        start = parse_start(text)
    except InvalidCursor:
        return
    assert start.cursor is None or str(start.cursor) == text


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("latest", LATEST),
        ("earliest", EARLIEST),
        ("0", EARLIEST),
        ("000", EARLIEST),
        ("7", Start(sequence=7)),
        ("007", Start(sequence=7)),
        ("9" * 128, Start(sequence=int("9" * 128))),
        ("e.7.c", Start(cursor=Cursor("e", 7, "c"))),
        ("e.7.-", Start(cursor=Cursor("e", 7))),
    ],
)
def test_a_start_is_a_word_a_number_or_a_cursor(text: str, start: Start) -> None:
    """The `cursor` parameter of section 2."""
    assert parse_start(text) == start


@pytest.mark.parametrize(
    "text", ["", "Latest", "EARLIEST", "-1", "+1", "1.0", "1e3", " 1", "1 ", "\u0661", "9" * 129, "tail", "null"]
)
def test_another_start_is_refused(text: str) -> None:
    """Words are lower case, numbers are digits, 128 at most."""
    with pytest.raises(InvalidCursor):
        parse_start(text)


@pytest.mark.parametrize(
    ("start", "earliest"), [(EARLIEST, True), (LATEST, False), (REPLACED, False), (Start(sequence=1), False)]
)
def test_only_zero_is_the_earliest(start: Start, earliest: bool) -> None:
    """The log's beginning is where 0 lies, wherever that is."""
    assert start.earliest is earliest


def test_a_key_gives_one_entry_one_cursor() -> None:
    """The same entry at the same place has the same cursor, whoever computes it."""
    assert CursorKey("e", b"s").cursor(7, b"entry") == CursorKey("e", b"s").cursor(7, b"entry")


@pytest.mark.parametrize(
    ("secret", "sequence", "raw"),
    [
        (b"t", 7, b"entry"),
        (b"s", 8, b"entry"),
        (b"s", 7, b"Entry"),
        (b"s", 7, b""),
        (b"s", 7, b"entry\0"),
        (b"s", 77, b"entry"),
    ],
)
def test_another_entry_place_or_secret_has_another_check(secret: bytes, sequence: int, raw: bytes) -> None:
    """A check belongs to one entry, at one place, in one log."""
    assert CursorKey("e", secret).cursor(sequence, raw).check != CursorKey("e", b"s").cursor(7, b"entry").check


@given(st.integers(0, 10**12), st.binary(max_size=20), st.integers(0, 10**12), st.binary(max_size=20))
def test_no_two_entries_share_a_check(one: int, raw: bytes, two: int, other: bytes) -> None:
    """A sequence and its entry can't be split in another way: `1` and `2:x` is not `12` and `:x`."""
    key = CursorKey("e", b"s")
    assert (key.cursor(one, raw).check == key.cursor(two, other).check) == ((one, raw) == (two, other))


def test_a_check_is_of_48_bits() -> None:
    """Eight characters of base64, 40 bits being the least that the protocol allows."""
    assert len(CursorKey("e", b"s").cursor(7, b"entry").check) == 8


def test_a_fresh_key_names_another_log() -> None:
    """Epoch and secret are drawn anew, never derived."""
    one, two = CursorKey.fresh(), CursorKey.fresh()
    assert one.epoch != two.epoch
    assert one.cursor(1, b"").check != two.cursor(1, b"").check
    assert Cursor.parse(str(one.cursor(1, b""))).epoch == one.epoch


def test_a_bare_position_is_no_entrys_cursor() -> None:
    """The position of an entry that is gone has a check that no entry has."""
    key = CursorKey("e", b"s")
    assert str(key.bare(7)) == "e.7.-"
    assert Cursor.parse("e.7.-") == key.bare(7)
    assert key.cursor(7, b"").check != "-"
