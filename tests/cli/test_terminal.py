"""What is shown on a terminal can't take it over."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_forum.cli.terminal import event_line, harmless, harmless_json
from asgi_forum.entries import StoredEvent
from tests.client.events import document, event

HOSTILE = "\x1b]0;owned\x07\x9b31m\r\n\x00\x7f\u202eevil\u2066\u2028\ud7ff\u200b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 😀 漢字", "plain é 😀 漢字"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b\x7f\x00", "\\x9b\\x7f\\x00"),
        ("\u202e\u2066\u2028", "\\u202e\\u2066\\u2028"),
        ("a\u00a0b\u2003c", "a b c"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_a_terminal_could_obey_is_escaped(text: str, shown: str) -> None:
    """Control characters, turns of direction, ends of lines; other blanks are blanks."""
    assert harmless(text) == shown


@given(st.text())
def test_nothing_harmful_is_left(text: str) -> None:
    """Of any text: only characters that can be seen, and the blank."""
    for shown in (harmless(text), harmless_json(text.replace("\ud800", ""))):
        assert all(unicodedata.category(each)[0] not in "CZ" or each == " " for each in shown)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_stays_the_same_json(text: str) -> None:
    """Only written in another way."""
    line = json.dumps({"x": text}, ensure_ascii=False)
    assert json.loads(harmless_json(line)) == {"x": text}


def test_a_line_tells_time_type_ticket_who_and_payload() -> None:
    """In this order."""
    found = event_line(event(3, ticket="T-1", actor_name="planner-1"), width=100, colour=False)
    assert found == '2026-02-10 12:56:00Z  forum.post.added  T-1  planner-1  {"n":3}'


@pytest.mark.parametrize(
    ("envelope", "who"),
    [({}, "system"), ({"agent_name": "planner"}, "planner"), ({"agent_name": "a", "actor_name": "b"}, "b")],
)
def test_who_is_the_nearest_name(envelope: dict[str, str], who: str) -> None:
    """The actor's, else the agent's, else the kind of actor."""
    assert f"  {who}  " in event_line(event(1, **envelope), width=100, colour=False)


def test_a_long_payload_is_cut() -> None:
    """So that a line stays one on the screen."""
    long = StoredEvent.from_json(json.dumps({**document(1), "payload": {"x": "y" * 500}}))
    found = event_line(long, width=100, colour=False)
    assert len(found) <= 100
    assert found.endswith("…")


def test_nothing_of_an_event_can_take_over_a_terminal() -> None:
    """Neither its fields nor its payload, coloured or not."""
    hostile = StoredEvent.from_json(
        json.dumps({**document(1, ticket=HOSTILE, actor_name=HOSTILE), "payload": {HOSTILE: HOSTILE}})
    )
    for width in (80, 300):
        shown = event_line(hostile, width=width, colour=False)
        assert all(each.isprintable() for each in shown)
        coloured = event_line(hostile, width=width, colour=True)
        assert set(coloured) - set(shown) <= {"\x1b"} | set("0123456789;[m")
        assert coloured.count("\x1b") == 8
