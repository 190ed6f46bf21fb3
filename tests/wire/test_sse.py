"""Section 4: `GET stream`, byte for byte."""

from __future__ import annotations

import json

import pytest

from asgi_forum import Limits
from tests.wire.conftest import OpenBoard
from tests.wire.exchange import DEADLINE, Exchange
from tests.wire.host import Board
from tests.wire.readers import SseReader


def stream(board: Board, query: str = "", headers: tuple[tuple[str, str], ...] = ()) -> SseReader:
    """Open an SSE stream of which the test looks at messages rather than frames."""
    return board.keep(SseReader(f"{board.url}/stream?{query}", headers=headers))


def test_the_headers_keep_caches_and_proxies_out(board: Board) -> None:
    """The type is an event stream's; nothing on the way may store, change or gather it."""
    answer = stream(board).exchange
    assert answer.headers["content-type"].split(";")[0] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("query", ["", "?cursor=earliest&ticket=T-1"])
def test_head_answers_the_same_headers_and_no_body(board: Board, query: str) -> None:
    """HEAD says what GET would, ends at once and opens no stream."""
    board.fill(3)
    got = stream(board, query.removeprefix("?")).exchange
    asked = Exchange(f"{board.url}/stream{query}", method="HEAD")
    assert asked.status == 200
    for name in ("content-type", "cache-control", "x-accel-buffering"):
        assert asked.headers[name] == got.headers[name]
    assert asked.rest(0.05) == b""
    asked.close()
    assert board.get("/health").json()["streams"]["sse"] == 1


def test_head_is_refused_as_get_is(board: Board) -> None:
    """A HEAD with a parameter that is off has the status of the GET, and no body."""
    asked = Exchange(f"{board.url}/stream?cursor=x", method="HEAD")
    assert asked.status == 400
    assert asked.rest(0.05) == b""
    asked.close()


def test_a_retry_line_comes_first_and_differs_from_client_to_client(board: Board) -> None:
    """The first bytes are `retry:` and a number of milliseconds, so that thousands don't come back at once."""
    delays: list[int] = []
    for _ in range(12):
        reader = stream(board, "cursor=earliest")
        first = reader.message(DEADLINE)
        assert first.retry is not None
        delays.append(int(first.retry))
        reader.until("forum.live")
        assert [message.retry for message in reader.messages[1:]] == [None] * (len(reader.messages) - 1)
        reader.close()
    assert len(set(delays)) > 6
    assert min(delays) >= 100
    assert max(delays) <= 60_000


def test_the_very_first_bytes_are_the_retry_line(board: Board) -> None:
    """No comment and no message comes before it, also where there is history."""
    board.fill(3)
    answer = Exchange(f"{board.url}/stream?cursor=earliest")
    assert answer.read().startswith(b"retry:")
    answer.close()


def test_an_event_is_a_message_for_onmessage(board: Board) -> None:
    """An event has no `event:` field; its id is its cursor, its data the event's JSON in one line."""
    board.publish({"payload": {"text": "two\nlines\r\u2028"}})
    reader = stream(board, "cursor=earliest")
    (event,) = reader.take(1)
    message = reader.messages[-1]
    assert message.event is None
    assert message.id == event["cursor"]
    assert len(message.data) == 1
    assert json.loads(message.data[0]) == board.page()["events"][0]


def test_other_frames_are_messages_with_a_type(open_board: OpenBoard) -> None:
    """Any other frame names its type, carries itself as data, and its position as id."""
    board = open_board(heartbeat=0.1)
    reader = stream(board, "cursor=7")
    for kind in ("forum.reset", "forum.live", "heartbeat"):
        frame = reader.until(kind)
        message = reader.messages[-1]
        assert message.event == frame["type"] == kind
        assert message.id == frame["next_cursor"]
        assert json.loads(message.text) == frame


def test_the_last_message_has_no_id_line(board: Board) -> None:
    """An empty id would make a browser forget where it was; the body then ends as HTTP wants it."""
    reader = stream(board)
    reader.until("forum.live")
    board.host.run(board.forum.drain())
    reader.to_the_end()
    last = reader.messages[-1]
    assert last.event == "forum.error"
    assert last.id is None
    assert reader.exchange.rest(0.05) == b""


def test_each_message_has_an_id_or_leaves_the_clients_alone(open_board: OpenBoard) -> None:
    """No message of a stream has an empty id, one with a NUL or one with a blank."""
    board = open_board(heartbeat=0.1)
    board.fill(5)
    reader = stream(board, "cursor=earliest")
    reader.until("heartbeat")
    for message in reader.messages:
        if message.data:
            assert message.id
            assert set(message.id).isdisjoint("\0 \r\n")


def test_events_that_come_together_are_messages_of_their_own(board: Board) -> None:
    """Several messages may share a chunk: each still has its own id and data."""
    board.fill(250)
    reader = stream(board, "cursor=earliest&limit=100")
    reader.take(250)
    ids = [message.id for message in reader.messages if message.data]
    assert len(set(ids)) == len(ids) == 250


def test_a_client_that_leaves_is_noticed(board: Board) -> None:
    """A cut connection is no open stream any more, soon and without an event being sent."""
    readers = [stream(board) for _ in range(5)]
    for reader in readers:
        reader.until("forum.live")
    assert board.get("/health").json()["streams"]["sse"] == 5
    for reader in readers:
        reader.close()
    board.wait_for_streams(sse=0)


BROWSER = (("Accept", "text/event-stream"),)


def test_a_browser_over_a_limit_is_told_to_come_back(open_board: OpenBoard) -> None:
    """Where `Accept` names event streams a 429 is a 200: a retry of at least Retry-After, one `forum.error`, the end."""
    board = open_board(limits=Limits(streams=1))
    stream(board).until("forum.live")
    plain = board.get("/stream")
    assert plain.status_code == 429
    for accept in ("text/event-stream", "text/html, text/event-stream;q=0.9", "TEXT/EVENT-STREAM"):
        reader = stream(board, headers=(("Accept", accept),))
        refused_softly(reader, "too_many_connections", float(plain.headers["retry-after"]))


def refused_softly(reader: SseReader, code: str, at_least: float) -> None:
    """The stream has one retry line, one `forum.error` of this code, and ends."""
    reader.to_the_end()
    assert [frame["type"] for frame in reader.frames] == ["forum.error"]
    assert reader.frames[0]["code"] == code
    retries = [int(message.retry) for message in reader.messages if message.retry is not None]
    assert len(retries) == 1
    assert retries[0] >= at_least * 1000
    assert reader.messages[0].retry is not None
    assert all(message.id is None for message in reader.messages)


def test_the_delays_of_those_who_were_refused_are_spread(open_board: OpenBoard) -> None:
    """Clients that were refused at one moment don't come back at one moment."""
    board = open_board(limits=Limits(streams=1))
    stream(board).until("forum.live")
    delays: set[str | None] = set()
    for _ in range(8):
        reader = stream(board, headers=BROWSER)
        reader.to_the_end()
        delays.add(reader.messages[0].retry)
    assert len(delays) > 4


def test_a_browser_that_comes_to_a_stopping_server_is_told_to_come_back(board: Board) -> None:
    """So it is while the server drains: 503 for programs, a 200 that ends for a browser."""
    board.fill(1)
    board.host.run(board.forum.drain())
    plain = board.get("/stream")
    assert plain.status_code == 503
    assert plain.json()["error"]["code"] == "shutting_down"
    refused_softly(stream(board, headers=BROWSER), "shutting_down", float(plain.headers["retry-after"]))


@pytest.mark.parametrize("query", ["cursor=x", "tail=x", "limit=0", "ticket="])
def test_a_browser_with_a_bad_address_is_refused_for_good(board: Board, query: str) -> None:
    """A 400 stays a 400: it will not pass."""
    answer = Exchange(f"{board.url}/stream?{query}", headers=BROWSER)
    assert answer.status == 400
    answer.close()


def test_a_slot_is_free_again_when_its_client_has_left(open_board: OpenBoard) -> None:
    """A limit counts open streams, not those that were."""
    board = open_board(limits=Limits(streams=2))
    for _ in range(3):
        readers = [stream(board) for _ in range(2)]
        for reader in readers:
            reader.until("forum.live")
        assert board.get("/stream").status_code == 429
        for reader in readers:
            reader.close()
        board.wait_for_streams(sse=0)
