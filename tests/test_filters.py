"""Filters: what a client may ask for, what matches, and that narrowing never widens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_forum.errors import ConfigurationError, InvalidFilter
from asgi_forum.filters import EVERYTHING, Filter, below
from asgi_forum.models import Keys

FIELDS = ["ticket", "run_id", "thread_id", "event_type"]


def keys(
    ticket: str = "T-1", run_id: str | None = None, thread_id: str | None = None, event_type: str = "forum.post.added"
) -> Keys:
    """What filters look at, of an event in one line."""
    return Keys.of(ticket, run_id, thread_id, event_type)


@pytest.mark.parametrize(
    ("wish", "event", "matches"),
    [
        ({}, {}, True),
        ({"ticket": []}, {}, True),
        ({"ticket": "T-1"}, {}, True),
        ({"ticket": " t-1\t"}, {}, True),
        ({"ticket": "T-11"}, {}, False),
        ({"ticket": "T"}, {}, False),
        ({"ticket": ["T-2", "T-1"]}, {}, True),
        ({"ticket": ("T-2", "T-3")}, {}, False),
        ({"ticket": "STRASSE"}, {"ticket": "Straße"}, True),
        ({"run_id": "R"}, {"run_id": "r"}, True),
        ({"run_id": "R"}, {}, False),
        ({"thread_id": "H"}, {"thread_id": "h"}, True),
        ({"thread_id": "H"}, {"run_id": "h"}, False),
        ({"ticket": "T-1", "run_id": "r"}, {"run_id": "r"}, True),
        ({"ticket": "T-2", "run_id": "r"}, {"run_id": "r"}, False),
        ({"event_type": "forum"}, {}, True),
        ({"event_type": " FORUM.Post "}, {}, True),
        ({"event_type": "forum.post.added"}, {}, True),
        ({"event_type": "forum.po"}, {}, False),
        ({"event_type": "forum.post.added.twice"}, {}, False),
        ({"event_type": "post"}, {}, False),
        ({"event_type": ["agent", "forum.post"]}, {}, True),
        ({"event_type": "forum.thread"}, {"event_type": "forum.threads"}, False),
        ({"event_type": "forum.thread"}, {"event_type": "forum.thread-x"}, False),
    ],
)
def test_an_event_matches_what_was_asked_for(wish: dict[str, Any], event: dict[str, Any], matches: bool) -> None:
    """Any of the values of a field, all of the fields; trimmed, without regard to case; types at word boundaries."""
    assert Filter.of(**wish).matches(keys(**event)) is matches


@pytest.mark.parametrize(
    ("event_type", "kept", "is_below"),
    [
        ("a.b", "a", True),
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("ab", "a", False),
        ("a", "ab", False),
        ("a.b", "b", False),
        ("a", "", False),
    ],
)
def test_a_type_is_below_at_a_dot(event_type: str, kept: str, is_below: bool) -> None:
    """`forum.thread` keeps `forum.thread.opened`, not `forum.threads`."""
    assert below(event_type, kept) is is_below


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", ["", "  ", "x" * 257, "a\nb", "a\x85b", 5, None, b"x"])
def test_a_value_that_is_off_is_refused(name: str, value: Any) -> None:
    """Blank, too long, with control characters, or no text; the message names the field and what it got."""
    field = "type" if name == "event_type" else name
    with pytest.raises(InvalidFilter, match=f"^{field}: got .*expected 1 to 256 characters"):
        Filter.of(**{name: ["ok", value]})


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("values", [5, 1.5, True])
def test_values_that_are_no_list_are_refused(name: str, values: Any) -> None:
    """A host that hands in a number gets the forum's own error, with the field's name in it."""
    field = "type" if name == "event_type" else name
    with pytest.raises(InvalidFilter, match=f"^{field}: got "):
        Filter.of(**{name: values})


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_has_32_values_at_most(name: str) -> None:
    """The bound of section 2 is sharp, and counts what was sent: repetitions too."""
    field = "type" if name == "event_type" else name
    Filter.of(**{name: [f"v{number}" for number in range(32)]})
    Filter.of(**{name: "x" * 256})
    with pytest.raises(InvalidFilter, match=f"^{field}: got 33 values, expected at most 32"):
        Filter.of(**{name: ["v"] * 33})


@pytest.mark.parametrize("value", ["a..b", ".a", "a.", "a b", "a/b", "ü", "*", "forum.*"])
def test_a_type_of_another_form_is_refused(value: str) -> None:
    """No event can have such a type, so it is a mistake."""
    with pytest.raises(InvalidFilter, match="expected dot-separated words"):
        Filter.of(event_type=value)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"ticket": "T-1"}, {"ticket": [" t-1 "]}),
        ({"ticket": ["a", "B", "A"]}, {"ticket": ("b", "a")}),
        ({"event_type": ["forum.thread", "forum"]}, {"event_type": "FORUM"}),
        ({"event_type": ["forum.thread.opened", "forum.thread", "agent"]}, {"event_type": ["agent", "forum.thread"]}),
        ({"run_id": None}, {"run_id": []}),
    ],
)
def test_equal_wishes_are_equal_values(one: dict[str, Any], two: dict[str, Any]) -> None:
    """However they were written: so their readers share one channel."""
    assert Filter.of(**one) == Filter.of(**two)
    assert hash(Filter.of(**one)) == hash(Filter.of(**two))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Filter.of(ticket="a"), Filter.of(run_id="a")),
        (Filter.of(event_type="forum"), Filter.of(event_type="forums")),
        (Filter.of(), Filter.of().narrow(ticket=[])),
        (Filter.of().narrow(ticket="a"), Filter.of().narrow(ticket="A")),
        (Filter.of(ticket="a"), Filter.of().narrow(ticket="a")),
    ],
)
def test_other_wishes_are_other_values(one: Filter, two: Filter) -> None:
    """Two that let other events pass are never one channel."""
    assert one != two


# What authorization leaves


@pytest.mark.parametrize(
    ("allowed", "event", "matches"),
    [
        ({"ticket": "T-1"}, {}, True),
        ({"ticket": "t-1"}, {}, False),
        ({"ticket": " T-1"}, {}, False),
        ({"ticket": ["T-2", "T-1"]}, {}, True),
        ({"ticket": []}, {}, False),
        ({"run_id": "r"}, {"run_id": "r"}, True),
        ({"run_id": "r"}, {"run_id": "R"}, False),
        ({"run_id": "r"}, {}, False),
        ({"run_id": ""}, {}, False),
        ({"thread_id": ["h"]}, {"thread_id": "h"}, True),
        ({"thread_id": ["h"]}, {"thread_id": "i"}, False),
        ({"event_type": "forum.post"}, {}, True),
        ({"event_type": "Forum.post"}, {}, False),
        ({"event_type": "forum.po"}, {}, False),
        ({"event_type": ""}, {}, False),
        ({"event_type": []}, {}, False),
        ({"ticket": "T-1", "run_id": "r"}, {"run_id": "s"}, False),
        ({}, {}, True),
    ],
)
def test_what_is_allowed_is_compared_exactly(allowed: dict[str, Any], event: dict[str, Any], matches: bool) -> None:
    """Letter for letter; None leaves a field as it was, and an empty list allows nothing."""
    assert Filter.of().narrow(**allowed).matches(keys(**event)) is matches


def test_a_wish_and_what_is_allowed_must_both_match() -> None:
    """A client's `t-1` finds `T-1` and `t-1`; allowed is one of them."""
    narrowed = Filter.of(ticket="t-1").narrow(ticket="T-1")
    assert narrowed.matches(keys("T-1"))
    assert not narrowed.matches(keys("t-1"))


@pytest.mark.parametrize(
    ("first", "second", "passes"),
    [
        ("forum", "forum.post", ["forum.post", "forum.post.added"]),
        ("forum.post", "forum", ["forum.post", "forum.post.added"]),
        (
            ["forum.post", "forum.thread"],
            ["forum.thread.opened", "forum.post"],
            ["forum.post", "forum.post.added", "forum.thread.opened"],
        ),
        ("forum.post", "forum.thread", []),
        ("forum", [], []),
        ([], "forum", []),
        ("forum.post", None, ["forum.post", "forum.post.added"]),
    ],
)
def test_types_that_overlap_leave_what_both_allow(first: Any, second: Any, passes: list[str]) -> None:
    """The lower of two types is what remains of them."""
    keep = Filter.of().narrow(event_type=first).narrow(event_type=second)
    types = ["forum", "forum.post", "forum.post.added", "forum.posts", "forum.thread", "forum.thread.opened"]
    assert [each for each in types if keep.matches(keys(event_type=each))] == passes


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("values", [[None], [5], ["a", None], [b"a"]])
def test_what_is_allowed_is_text(name: str, values: Any) -> None:
    """A hook that lists a None has a bug; that events without a value were meant can't be guessed."""
    with pytest.raises(ConfigurationError, match="narrow: got"):
        Filter.of().narrow(**{name: values})


def test_a_filter_that_is_not_narrowed_allows_everything() -> None:
    """Nothing is compared where nothing was said."""
    assert Filter.of(ticket="a").allowed is EVERYTHING
    assert Filter.of(ticket="a").narrow() == Filter.of(ticket="a")


NAME = st.sampled_from(["a", "A", "b", "ß"])
TYPE = st.sampled_from(["a", "a.b", "a.b.c", "ab", "b", "b.a"])
WISH = st.fixed_dictionaries(
    {}, optional={name: st.lists(TYPE if name == "event_type" else NAME, max_size=3) for name in FIELDS}
)
EVENTS = st.lists(st.builds(Keys.of, NAME, st.none() | NAME, st.none() | NAME, TYPE), max_size=12)


def passing(keep: Filter, events: Sequence[Keys]) -> set[Keys]:
    """The events that pass a filter."""
    return {each for each in events if keep.matches(each)}


@given(WISH, st.lists(WISH, max_size=3), EVENTS)
def test_narrowing_leaves_just_what_all_allow(
    wish: dict[str, Any], narrowings: list[dict[str, Any]], events: list[Keys]
) -> None:
    """Narrowed any number of times, a filter passes what passes it and each of the narrowings alone: never more, never less."""
    keep = Filter.of(**wish)
    expected = passing(keep, events)
    for narrowing in narrowings:
        expected &= passing(Filter.of().narrow(**narrowing), events)
        keep = keep.narrow(**narrowing)
        assert passing(keep, events) == expected


@given(WISH, st.lists(WISH, min_size=2, max_size=3), EVENTS)
def test_the_order_of_narrowings_is_without_meaning(
    wish: dict[str, Any], narrowings: list[dict[str, Any]], events: list[Keys]
) -> None:
    """Two layers of authorization agree, whichever comes first."""
    there, back = Filter.of(**wish), Filter.of(**wish)
    for narrowing in narrowings:
        there = there.narrow(**narrowing)
    for narrowing in reversed(narrowings):
        back = back.narrow(**narrowing)
    assert passing(there, events) == passing(back, events)


@given(WISH, EVENTS)
def test_a_narrowing_does_not_touch_the_wish(wish: dict[str, Any], events: list[Keys]) -> None:
    """What a client asked for stays as it is; a narrowed filter is a new value."""
    keep = Filter.of(**wish)
    narrowed = keep.narrow(ticket=[])
    assert replace(narrowed, allowed=EVERYTHING) == keep
    assert passing(narrowed, events) == set()
