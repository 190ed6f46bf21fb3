"""The load generator of the benchmarks counts what it gets, whatever a server does."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator

import pytest

from benchmarks.load import Load
from tests.benchmarks.misbehaving import Server, running

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not (os.environ.get("CC") or any(map(shutil.which, ("cc", "gcc", "clang")))),
    reason="the load generator needs Linux and a C compiler",
)

WAIT = 10_000
"""Milliseconds: only a failure takes so long."""


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve what is wrong on purpose."""
    with running() as server:
        yield server


@pytest.fixture
def load(server: Server) -> Iterator[Load]:
    """Run a generator for that server."""
    with Load(server.port) as load:
        yield load


@pytest.mark.parametrize(
    ("path", "last", "deliveries", "gaps", "duplicates"),
    [
        ("/good", 8, 4, 0, 0),
        ("/gap", 5, 4, 1, 0),
        ("/duplicate", 3, 4, 0, 1),
        ("/backwards", 3, 2, 0, 1),
    ],
)
def test_events_that_are_missing_or_come_twice_are_counted(
    load: Load, path: str, last: int, deliveries: int, gaps: int, duplicates: int
) -> None:
    """Each client is judged by itself, from its first number on."""
    assert load(f"open all 3 sse {path}")["open"] == 3
    assert load(f"wait all {last} {WAIT}")["done"] == 3
    stats = until(load, "all", "deliveries", 3 * deliveries)
    assert (stats["gaps"], stats["duplicates"]) == (3 * gaps, 3 * duplicates)


def test_messages_of_a_websocket_are_judged_too(load: Load) -> None:
    """A gap and a duplicate in frames of a WebSocket."""
    assert load("open all 1 ws /messages")["open"] == 1
    assert load(f"wait all 3 {WAIT}")["done"] == 1
    stats = until(load, "all", "deliveries", 3)
    assert (stats["gaps"], stats["duplicates"]) == (1, 1)


def test_an_event_in_two_segments_is_one_event(load: Load, server: Server) -> None:
    """What has come of it is kept, and not judged before the rest is there."""
    load("open all 1 sse /split")
    begun = until(load, "all", "deliveries", 1)
    server.go_on.set()
    assert load(f"wait all 3 {WAIT}")["done"] == 1
    stats = load("stats all")
    assert (stats["deliveries"], stats["gaps"], stats["duplicates"]) == (3, 0, 0)
    assert stats["reads"] > begun["reads"]


def test_a_refusal_is_counted_by_its_status(load: Load) -> None:
    """It is no failure of the network, and nobody comes back."""
    opened = load("open all 2 sse /forbidden retry=1")
    assert (opened["open"], opened["refused"], opened["failures"], opened["retries"]) == (0, {"403": 2}, 0, 0)


def test_retry_after_is_obeyed_where_that_is_asked_for(load: Load, server: Server) -> None:
    """The client comes back, and is counted once as refused and once as open."""
    opened = load("open all 1 sse /busy retry=1")
    assert (opened["open"], opened["refused"], opened["retries"]) == (1, {"503": 1}, 1)
    assert len(server.requests) == 2


def test_close_codes_are_counted(load: Load) -> None:
    """A WebSocket that is closed with a code has ended cleanly."""
    load("open all 2 ws /close")
    assert load(f"closed all {WAIT}")["done"] == 2
    stats = load("stats all")
    assert (stats["codes"], stats["clean"], stats["cut"], stats["deliveries"]) == ({"1012": 2}, 2, 0, 2)


@pytest.mark.parametrize(("path", "clean", "cut"), [("/end", 1, 0), ("/cut", 0, 1)])
def test_a_stream_that_ends_is_told_from_one_that_is_cut(load: Load, path: str, clean: int, cut: int) -> None:
    """A body that comes to its end has its last chunk."""
    load(f"open all 1 sse {path}")
    assert load(f"closed all {WAIT}")["done"] == 1
    stats = load("stats all")
    assert (stats["clean"], stats["cut"], stats["deliveries"]) == (clean, cut, 2)


def test_who_comes_back_names_the_last_cursor(load: Load, server: Server) -> None:
    """Over SSE in the header, over a WebSocket in the address."""
    load("open sse 1 sse /end")
    load("open ws 1 ws /close")
    for group in ("sse", "ws"):
        load(f"closed {group} {WAIT}")
    load("reopen sse")
    load("reopen ws")
    assert "Last-Event-ID: c2\r\n" in server.requests[2]
    assert server.requests[3].startswith("GET /close?cursor=c1 ")


def test_who_has_vanished_acknowledges_nothing(load: Load, server: Server) -> None:
    """What the server sends from then on does not arrive."""
    load("open all 1 sse /split")
    until(load, "all", "deliveries", 1)
    load("vanish all")
    server.go_on.set()
    assert load("wait all 3 500")["done"] == 0
    assert load("stats all")["deliveries"] == 1


def test_a_command_that_is_off_is_an_error(load: Load) -> None:
    """The generator goes on after it."""
    with pytest.raises(ValueError, match="no such group"):
        load("stats nobody")
    assert load("open all 1 sse /good")["open"] == 1


def until(load: Load, group: str, name: str, value: int) -> dict[str, int]:
    """Ask until so many have been counted: the last answer says what else was."""
    while (stats := load(f"stats {group}"))[name] < value:
        pass  # the test's own time is limited; each question is a round trip to the generator
    assert stats[name] == value
    return stats
