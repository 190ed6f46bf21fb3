"""Section 2 and 3, clients that stop reading: they lose nothing, or are told, and cost others nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Literal

import pytest

from asgi_forum import Limits
from tests.wire.conftest import OpenBoard
from tests.wire.exchange import DEADLINE, Exchange, ask
from tests.wire.host import Board
from tests.wire.readers import Frame, Reader, SseReader, WebSocketReader

Slow = Literal["sse", "websocket"]
SLOW: tuple[Slow, ...] = ("sse", "websocket")

COUNT = 2500
SIZE = 1000
"""Events of this size fill all buffers between here and the forum several times over."""


def open_slow(board: Board, transport: Slow, query: str = "") -> Reader:
    """Open a stream that takes in next to nothing while it isn't read, and read up to `forum.live`."""
    make: Callable[..., SseReader | WebSocketReader] = SseReader if transport == "sse" else WebSocketReader
    reader = board.keep(make(f"{board.url}/stream?{query}", receive_buffer=4096))
    reader.until("forum.live")
    return reader


def numbers(reader: Reader) -> list[int]:
    """The sequences of the events that a reader got."""
    return [event["sequence"] for event in reader.events]


def last_reset(reader: Reader, reason: str) -> Frame:
    """The last reset that a reader got: each has this reason, and nothing but a reset leaves a gap in the sequences."""
    at, told = 0, False
    for frame in reader.frames:
        for event in frame.get("events", ()):
            assert event["sequence"] > at if told else event["sequence"] == at + 1
            at, told = event["sequence"], False
        if frame["type"] == "forum.reset":
            assert frame["reason"] == reason
            told = True
    return reader.of("forum.reset")[-1]


@pytest.mark.parametrize("transport", SLOW)
@pytest.mark.parametrize("tail_bytes", [20_000, 16 * 2**20])
def test_a_client_that_was_away_gets_everything(open_narrow_board: OpenBoard, transport: Slow, tail_bytes: int) -> None:
    """By default a slow client resumes: every event comes, from memory or from the source, without a reset."""
    board = open_narrow_board(limits=Limits(tail_bytes=tail_bytes))
    reader = open_slow(board, transport)
    board.fill(COUNT, batch=40, size=SIZE)
    reader.take_to(COUNT // 2, 20)
    board.fill(COUNT, batch=40, size=SIZE)
    reader.take_to(2 * COUNT, 20)
    board.fill(1)
    reader.take_to(2 * COUNT + 1)
    assert numbers(reader) == list(range(1, 2 * COUNT + 2))
    assert reader.of("forum.reset") == []
    assert len(reader.of("forum.live")) == 1


@pytest.mark.parametrize("transport", SLOW)
def test_a_client_that_was_away_too_long_is_told(open_narrow_board: OpenBoard, transport: Slow) -> None:
    """What is retained no more is announced by a reset; then comes what is, and the stream is live again."""
    board = open_narrow_board(retain=100, limits=Limits(tail_bytes=20_000))
    reader = open_slow(board, transport)
    board.fill(COUNT, batch=40, size=SIZE)
    reader.take_to(COUNT, 20)
    reset = last_reset(reader, "trimmed")
    first = board.page(limit=1)["events"][0]["sequence"]
    assert board.sequences(cursor=reset["next_cursor"], limit=1) == [first]
    after = numbers(reader)[-(COUNT - first + 1) :]
    assert after == list(range(first, COUNT + 1))
    assert numbers(reader)[-len(after) - 1] < first - 1
    reader.until("forum.live", 20)
    board.fill(1)
    reader.take_to(COUNT + 1)
    assert last_reset(reader, "trimmed") is reset


@pytest.mark.parametrize("transport", SLOW)
def test_the_policy_may_be_to_skip(open_narrow_board: OpenBoard, transport: Slow) -> None:
    """A client too far behind is told `skipped`, gets the newest matching event next, and goes on."""
    board = open_narrow_board(on_lag="skip", limits=Limits(max_lag=50))
    reader = open_slow(board, transport, "ticket=mine")
    board.fill(COUNT, batch=40, size=SIZE, ticket="mine")
    board.fill(7, ticket="other")
    reader.take_to(COUNT, 20)
    reset = last_reset(reader, "skipped")
    assert board.sequences(cursor=reset["next_cursor"], ticket="mine") == [COUNT]
    before = numbers(reader)[:-1]
    assert len(before) < COUNT - 50
    reader.until("forum.live")
    board.fill(2, ticket="mine")
    reader.take_to(COUNT + 9)
    assert numbers(reader)[len(before) :] == [COUNT, COUNT + 8, COUNT + 9]


@pytest.mark.parametrize("transport", SLOW)
def test_the_policy_may_be_to_skip_whoever_leaves_the_tail(open_narrow_board: OpenBoard, transport: Slow) -> None:
    """Without a number, the policy applies where events have left the memory of the process."""
    board = open_narrow_board(on_lag="skip", limits=Limits(tail_bytes=100_000))
    reader = open_slow(board, transport)
    board.fill(COUNT, batch=40, size=SIZE)
    reader.take_to(COUNT, 20)
    reset = last_reset(reader, "skipped")
    assert board.sequences(cursor=reset["next_cursor"]) == [COUNT]


@pytest.mark.parametrize("transport", SLOW)
def test_the_policy_may_be_to_disconnect(open_narrow_board: OpenBoard, transport: Slow) -> None:
    """The stream of a client too far behind ends, with 1013 on a WebSocket; what it got has no gap, so that it can resume."""
    board = open_narrow_board(on_lag="disconnect", limits=Limits(max_lag=50))
    reader = open_slow(board, transport)
    board.fill(COUNT, batch=40, size=SIZE)
    end = reader.to_the_end(20)
    assert end.code == (1013 if transport == "websocket" else None)
    assert reader.frames[-1]["type"] == "forum.error"
    assert reader.frames[-1]["code"]
    before = numbers(reader)
    assert before == list(range(1, len(before) + 1))
    assert len(before) < COUNT - 50
    again = board.open(transport, cursor=reader.events[-1]["cursor"])
    assert again.take(1)[0]["sequence"] == len(before) + 1


@pytest.mark.parametrize("policy", ["skip", "disconnect"])
def test_a_policy_for_slow_clients_spares_those_who_catch_up(open_board: OpenBoard, policy: str) -> None:
    """History is not lag: a reader far behind from the start gets all of it."""
    board = open_board(on_lag=policy, limits=Limits(max_lag=5, tail_bytes=20_000))
    board.fill(1000)
    reader = board.live("websocket", cursor="earliest")
    assert numbers(reader) == list(range(1, 1001))
    assert reader.of("forum.reset") == []


@pytest.mark.parametrize("transport", SLOW)
def test_a_slow_client_does_not_hold_up_others(open_narrow_board: OpenBoard, transport: Slow) -> None:
    """While one client reads nothing, others of the same filter get everything at once."""
    board = open_narrow_board(limits=Limits(tail_bytes=20_000))
    stuck = [open_slow(board, transport) for _ in range(4)]
    quick = [board.live(kind) for kind in SLOW]
    board.fill(COUNT, batch=40, size=SIZE)
    for reader in quick:
        reader.take_to(COUNT, 20)
        assert numbers(reader) == list(range(1, COUNT + 1))
    board.fill(1)
    for reader in stuck:
        reader.take_to(COUNT + 1, 30)
        assert numbers(reader) == list(range(1, COUNT + 2))


@pytest.mark.parametrize("transport", SLOW)
def test_a_client_that_accepts_nothing_is_given_up(open_narrow_board: OpenBoard, transport: Slow) -> None:
    """After the time that the app allows its stream is ended, and its slot is free."""
    board = open_narrow_board(limits=Limits(send_timeout=0.5))
    open_slow(board, transport)
    began = time.monotonic()
    board.fill(COUNT, batch=40, size=SIZE)
    board.wait_for_streams(sse=0, websocket=0)
    assert 0.3 < time.monotonic() - began < DEADLINE


@pytest.mark.parametrize("transport", SLOW)
def test_a_slow_client_is_not_given_up_while_it_reads(open_narrow_board: OpenBoard, transport: Slow) -> None:
    """Whoever takes a little now and then is slow, not gone."""
    board = open_narrow_board(heartbeat=0.1, limits=Limits(send_timeout=2.0))
    clock = board.live("sse", ticket="nothing")
    reader = open_slow(board, transport, "limit=10")
    board.fill(COUNT, batch=40, size=SIZE)
    for _ in range(40):
        reader.take(20)
        clock.until("heartbeat")
    reader.take_to(COUNT, 20)
    assert numbers(reader) == list(range(1, COUNT + 1))


@pytest.mark.parametrize("transport", SLOW)
def test_stopping_does_not_wait_for_a_stuck_client(open_narrow_board: OpenBoard, transport: Slow) -> None:
    """A client that reads nothing can't be told goodbye: draining ends within its bound all the same."""
    board = open_narrow_board(limits=Limits(stop_after=0.5))
    open_slow(board, transport)
    board.fill(COUNT, batch=40, size=SIZE)
    began = time.monotonic()
    board.host.run(board.forum.aclose())
    assert time.monotonic() - began < 4


def under_way(board: Board) -> int:
    """Bytes of requests and pages that are under way."""
    found: int = board.host.call(board.forum.stats)["transfer_bytes"]
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline


@pytest.mark.parametrize("query", ["", "&wait=5"])
def test_a_page_that_nobody_takes_is_given_up(open_narrow_board: OpenBoard, query: str) -> None:
    """Its bytes count while it is under way, and its place if it waited; the client sees that it has no end."""
    board = open_narrow_board(limits=Limits(send_timeout=0.4, page_bytes=2**23, transfer_bytes=2**24), heartbeat=1.0)
    board.fill(900, size=8000)
    with closing(ask(f"{board.url}/events?limit=1000{query}", receive_buffer=4096)) as connection:
        wait_until(lambda: under_way(board) > 7_000_000)
        if query:
            assert board.host.call(board.forum.stats)["streams"] == {"page": 1}
        wait_until(lambda: under_way(board) == 0)
        stats = board.host.call(board.forum.stats)
        assert stats["endings"] == {"too_slow": 1}
        assert stats["limits"] == {"send_timeout": 1}
        wait_until(lambda: board.host.call(board.forum.stats)["streams"] == {})
        got = 0
        while piece := connection.recv(65536):
            got += len(piece)
    assert got < 7_000_000


def test_a_slow_client_gets_the_whole_page(open_narrow_board: OpenBoard) -> None:
    """It may take longer than the deadline, which is for each piece."""
    board = open_narrow_board(limits=Limits(send_timeout=0.4, page_bytes=2**23), heartbeat=1.0)
    board.fill(900, size=8000)
    with closing(Exchange(f"{board.url}/events?limit=1000", receive_buffer=4096)) as page:
        began, body = time.monotonic(), b""
        while piece := page.read():
            body += piece
            time.sleep(0.003)
    assert time.monotonic() - began > 0.8
    assert len(json.loads(body)["events"]) == 900


def test_pages_and_requests_share_a_bound(open_narrow_board: OpenBoard) -> None:
    """What is over it is refused for now, and told when to come back; it is free when a client has left."""
    limits = Limits(page_bytes=2**23, transfer_bytes=8_000_000)
    board = open_narrow_board(limits=limits, allow_publish=True)
    board.fill(900, size=8000)
    with closing(ask(f"{board.url}/events?limit=1000", receive_buffer=4096)):
        wait_until(lambda: under_way(board) > 7_000_000)
        for answer in (
            board.get(limit=200),
            board.post([{"event_type": "a.b", "ticket": "T", "payload": {"x": "y" * 10**6}}]),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_connections")
            assert int(answer.headers["retry-after"]) >= 1
        assert board.get(limit=1).status_code == 200
        assert board.host.call(board.forum.stats)["limits"] == {"transfer_bytes": 2}
    wait_until(lambda: under_way(board) == 0)
    assert board.get(limit=200).status_code == 200


def test_a_request_that_does_not_come_to_its_end_is_refused(open_board: OpenBoard) -> None:
    """Nothing of it is published, and nothing of it stays."""
    board = open_board(limits=Limits(send_timeout=0.3), allow_publish=True)
    headers = [("Content-Type", "application/json"), ("Content-Length", "1000")]
    with closing(
        Exchange(f"{board.url}/events", method="POST", headers=headers, body=[b'[{"event_type": "a.b",'])
    ) as request:
        assert request.status == 408
        assert json.loads(request.read_all())["error"]["code"] == "request_timeout"
    assert under_way(board) == 0
    assert board.page()["events"] == []
    assert board.host.call(board.forum.stats)["limits"] == {"send_timeout": 1}
