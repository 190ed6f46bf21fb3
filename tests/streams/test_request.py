"""What a client asks for: in a query, in a message of `/socket`, by the host's own code; and what is off."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.requests import HTTPConnection

from asgi_forum.cursor import EARLIEST, LATEST, REPLACED, Cursor, Start
from asgi_forum.errors import BadRequest, InvalidCursor, InvalidFilter, InvalidLimit, InvalidTail, InvalidWait
from asgi_forum.filters import Filter
from asgi_forum.streams.request import Asked, asked_by_host, asked_by_message, asked_by_query, asked_wait, resumed

CURSOR = Cursor("e", 7, "c")


def connection(query: str | list[tuple[str, str]] = "", **headers: str) -> HTTPConnection:
    """A request with this query and these headers."""
    text = query if isinstance(query, str) else urlencode(query)
    sent = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "query_string": text.encode(), "headers": sent})


def by_query(query: str | list[tuple[str, str]] = "", *, default: Start = LATEST, **headers: str) -> Asked:
    """What an SSE client with this query asks for."""
    return asked_by_query(connection(query, **headers), default=default, resume=True)


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", Asked(Filter(), LATEST, 100)),
        ("colour=red&_=1", Asked(Filter(), LATEST, 100)),
        ("ticket=T-1&ticket=t-2", Asked(Filter.of(ticket=["T-1", "T-2"]), LATEST, 100)),
        ("run_id=a&thread_id=b", Asked(Filter.of(run_id="a", thread_id="b"), LATEST, 100)),
        ("type=a&event_type=b.c", Asked(Filter.of(event_type=["a", "b.c"]), LATEST, 100)),
        ("ticket=a%2Bb+c", Asked(Filter.of(ticket="a+b c"), LATEST, 100)),
        ("cursor=e.7.c", Asked(Filter(), Start(cursor=CURSOR), 100)),
        ("cursor=earliest", Asked(Filter(), EARLIEST, 100)),
        ("cursor=12&limit=5", Asked(Filter(), Start(sequence=12), 5)),
        ("tail=0&limit=1000", Asked(Filter(), LATEST, 1000)),
        ("tail=1000&limit=1", Asked(Filter(), Start(tail=1000), 1)),
        ("limit=007", Asked(Filter(), LATEST, 7)),
    ],
)
def test_a_query_is_read(query: str, asked: Asked) -> None:
    """Section 2's parameters; unknown ones are ignored."""
    assert by_query(query) == asked


@pytest.mark.parametrize("default", [EARLIEST, LATEST])
def test_each_address_has_its_own_default(default: Start) -> None:
    """Pages begin at the earliest, streams at the latest."""
    assert by_query("", default=default).start == default


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("ticket=", InvalidFilter),
        ("run_id=+", InvalidFilter),
        ("type=a..b", InvalidFilter),
        ("&".join(["ticket=a"] * 33), InvalidFilter),
        ("&".join(["type=a"] * 20 + ["event_type=a"] * 13), InvalidFilter),
        ("cursor=", InvalidCursor),
        ("cursor=x", InvalidCursor),
        ("cursor=-1", InvalidCursor),
        ("cursor=1&cursor=2", InvalidCursor),
        ("cursor=1&cursor=1", InvalidCursor),
        ("tail=", InvalidTail),
        ("tail=-1", InvalidTail),
        ("tail=1001", InvalidTail),
        ("tail=1.0", InvalidTail),
        ("tail=9999999", InvalidTail),
        ("tail=1&tail=1", InvalidTail),
        ("tail=1&cursor=1", InvalidTail),
        ("tail=0&cursor=latest", InvalidTail),
        ("limit=", InvalidLimit),
        ("limit=0", InvalidLimit),
        ("limit=1001", InvalidLimit),
        ("limit=%2B5", InvalidLimit),
        ("limit=5&limit=5", InvalidLimit),
        ("limit=\u0665", InvalidLimit),
    ],
)
def test_a_parameter_that_is_off_is_refused(query: str, error: type[BadRequest]) -> None:
    """By an error of its own, whose message names it."""
    with pytest.raises(error) as caught:
        by_query(query)
    assert type(caught.value) is error
    assert caught.value.message.split(":")[0] in ("ticket", "run_id", "type", "cursor", "tail", "limit")


# Last-Event-ID


@pytest.mark.parametrize(
    "query",
    [
        [("last_event_id", "e.7.c")],
        [("last_event_id", "e.7.c"), ("cursor", "1")],
        [("tail", "5"), ("last_event_id", "e.7.c")],
    ],
)
def test_the_last_event_id_wins(query: list[tuple[str, str]]) -> None:
    """A browser comes back with its old URL and the newer position; polyfills have a parameter."""
    others = [(name, value) for name, value in query if name != "last_event_id"]
    assert by_query(query).start == by_query(others, last_event_id="e.7.c").start == Start(cursor=CURSOR)


def test_the_header_wins_over_the_parameter() -> None:
    """The browser's own word is the newer one."""
    assert by_query("last_event_id=1", last_event_id="e.7.c").start == Start(cursor=CURSOR)


@pytest.mark.parametrize("value", ["x", "e.7", "-1", "e.7.c.d", "caf\xe9"])
def test_a_last_event_id_that_cannot_be_read_is_a_reset(value: str) -> None:
    """Not a refusal, after which a browser would never come back."""
    assert by_query("cursor=5", last_event_id=value).start == REPLACED
    assert resumed(connection([("last_event_id", value)])) == REPLACED


def test_an_empty_last_event_id_says_nothing() -> None:
    """As a browser has it before the first event."""
    assert by_query("cursor=5", last_event_id="").start == Start(sequence=5)
    assert by_query("cursor=5&last_event_id=").start == Start(sequence=5)
    assert resumed(connection()) is None


def test_pages_and_sockets_know_no_last_event_id() -> None:
    """It is for Server-Sent Events."""
    assert asked_by_query(connection("cursor=5&last_event_id=9", last_event_id="7"), default=LATEST).start == Start(
        sequence=5
    )


# wait


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("", 0.0),
        ("wait=0", 0.0),
        ("wait=60", 60.0),
        ("wait=2.5", 2.5),
        ("wait=.5", 0.5),
        ("wait=5.", 5.0),
        ("wait=60.0", 60.0),
        ("wait=000001", 1.0),
    ],
)
def test_a_wait_is_in_seconds(query: str, seconds: float) -> None:
    """0 to 60, fractions allowed; none by default."""
    assert asked_wait(connection(query)) == seconds


@pytest.mark.parametrize("value", ["", "-1", "60.1", "61", "x", "nan", "inf", "1e1", ".", " 1", "\u0665", "1" * 400])
def test_another_wait_is_refused(value: str) -> None:
    """The message says what it takes."""
    with pytest.raises(InvalidWait, match="expected seconds from 0 to 60"):
        asked_wait(connection([("wait", value)]))
    with pytest.raises(InvalidWait, match="got 2 values"):
        asked_wait(connection("wait=1&wait=1"))


# Messages


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        ({}, Asked(Filter(), LATEST, 100)),
        ({"ticket": "T-1", "run_id": None}, Asked(Filter.of(ticket="T-1"), LATEST, 100)),
        (
            {"ticket": ["T-1", "T-2"], "event_type": "forum"},
            Asked(Filter.of(ticket=["T-1", "T-2"], event_type="forum"), LATEST, 100),
        ),
        ({"ticket": []}, Asked(Filter(), LATEST, 100)),
        ({"type": "subscribe", "colour": "red"}, Asked(Filter(), LATEST, 100)),
        ({"cursor": "e.7.c"}, Asked(Filter(), Start(cursor=CURSOR), 100)),
        ({"cursor": 7}, Asked(Filter(), Start(sequence=7), 100)),
        ({"cursor": 0, "limit": 5}, Asked(Filter(), EARLIEST, 5)),
        ({"cursor": None, "tail": 5}, Asked(Filter(), Start(tail=5), 100)),
        ({"tail": "5", "limit": "7"}, Asked(Filter(), Start(tail=5), 7)),
    ],
)
def test_a_message_is_read(message: dict[str, Any], asked: Asked) -> None:
    """Each filter a string or a list, cursor and numbers as numbers or text; null means left out; `type` is the message's own."""
    assert asked_by_message(message) == asked


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"ticket": 5}, InvalidFilter),
        ({"ticket": [5]}, InvalidFilter),
        ({"ticket": ["a", None]}, InvalidFilter),
        ({"ticket": {"a": "b"}}, InvalidFilter),
        ({"ticket": ""}, InvalidFilter),
        ({"event_type": True}, InvalidFilter),
        ({"cursor": True}, InvalidCursor),
        ({"cursor": 1.5}, InvalidCursor),
        ({"cursor": -1}, InvalidCursor),
        ({"cursor": ["1"]}, InvalidCursor),
        ({"cursor": ""}, InvalidCursor),
        ({"tail": True}, InvalidTail),
        ({"tail": 1.0}, InvalidTail),
        ({"tail": 1001}, InvalidTail),
        ({"tail": 1, "cursor": 1}, InvalidTail),
        ({"limit": 0}, InvalidLimit),
        ({"limit": [1]}, InvalidLimit),
        ({"limit": False}, InvalidLimit),
    ],
)
def test_a_message_that_is_off_is_refused(message: dict[str, Any], error: type[BadRequest]) -> None:
    """By the same errors as a query."""
    with pytest.raises(error) as caught:
        asked_by_message(message)
    assert type(caught.value) is error


# The host's own code


@pytest.mark.parametrize(
    ("given", "start", "limit"),
    [
        ({}, EARLIEST, 100),
        ({"cursor": "latest"}, LATEST, 100),
        ({"cursor": 7}, Start(sequence=7), 100),
        ({"cursor": "e.7.c", "limit": 5}, Start(cursor=CURSOR), 5),
        ({"tail": 5}, Start(tail=5), 100),
    ],
)
def test_the_host_asks_by_the_same_rules(given: dict[str, Any], start: Start, limit: int) -> None:
    """With a filter of its own."""
    keep = Filter.of(ticket="a")
    asked = asked_by_host(keep, **{"cursor": None, "tail": None, "limit": None, **given}, default=EARLIEST)
    assert asked == Asked(keep, start, limit)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"cursor": "x"}, InvalidCursor),
        ({"cursor": -1}, InvalidCursor),
        ({"cursor": True}, InvalidCursor),
        ({"cursor": 1.5}, InvalidCursor),
        ({"tail": -1}, InvalidTail),
        ({"tail": True}, InvalidTail),
        ({"tail": 1, "cursor": 1}, InvalidTail),
        ({"limit": 0}, InvalidLimit),
        ({"limit": 1001}, InvalidLimit),
        ({"limit": "many"}, InvalidLimit),
    ],
)
def test_the_host_is_refused_by_the_same_errors(given: dict[str, Any], error: type[BadRequest]) -> None:
    """Before anything is opened."""
    with pytest.raises(error):
        asked_by_host(Filter(), **{"cursor": None, "tail": None, "limit": None, **given}, default=EARLIEST)


def test_another_start_may_be_put_in() -> None:
    """A browser's position wins over what the host's route asks for; where there is none it stays."""
    asked = Asked(Filter(), EARLIEST, 5)
    assert asked.starting(LATEST) == Asked(Filter(), LATEST, 5)
    assert asked.starting(None) is asked
