"""Section 2, the guarantee: every matching event, in order, once, across the seam between history and live."""

from __future__ import annotations

import random
import threading
from collections.abc import Generator
from contextlib import contextmanager

import httpx2
import pytest

from asgi_forum import Limits
from tests.wire.conftest import OpenBoard
from tests.wire.host import TYPE, Board
from tests.wire.readers import TRANSPORTS, Reader, Transport

TICKETS = ["T-0", "T-1", "T-2"]


@contextmanager
def publishing(
    board: Board, *, publishers: int = 1, batches: int = 400, batch: int = 3
) -> Generator[list[threading.Thread]]:
    """Publish over HTTP as fast as it goes, from threads of their own, until the number of batches is reached."""
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        try:
            with httpx2.Client(trust_env=False, timeout=30) as client:
                for _ in range(batches):
                    drafts = [{"event_type": TYPE, "ticket": draw.choice(TICKETS)} for _ in range(batch)]
                    assert client.post(f"{board.url}/events", json=drafts).status_code == 201
        except BaseException as error:  # told to the test below, where it fails
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(publishers)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join(60)
    assert failures == []


def log_of(board: Board, **params: str) -> list[int]:
    """The sequences of the whole log, page by page."""
    found: list[int] = []
    page = board.page(limit=1000, **params)
    while True:
        found.extend(event["sequence"] for event in page["events"])
        if not page["has_more"]:
            return found
        page = board.page(limit=1000, cursor=page["next_cursor"], **params)


def numbers(reader: Reader) -> list[int]:
    """The sequences of the events that a reader got."""
    return [event["sequence"] for event in reader.events]


@pytest.mark.parametrize("tail_bytes", [2000, 16 * 2**20])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_is_lost_or_repeated_across_the_seam(
    open_board: OpenBoard, transport: Transport, tail_bytes: int
) -> None:
    """Streams that begin while events are published, at any position, have all of them once, in order."""
    board = open_board(allow_publish=True, limits=Limits(tail_bytes=tail_bytes))
    board.fill(300)
    readers: list[tuple[Reader, int, str | None]] = []
    with publishing(board) as threads:
        while threads[0].is_alive() and len(readers) < 12:
            for start, ticket in ((0, None), (150, None), (299, "T-1"), (0, "T-2")):
                reader = board.open(
                    transport, cursor=start, ticket=ticket, limit=random.Random(len(readers)).choice([1, 7, 100])
                )
                reader.take(50)
                readers.append((reader, start, ticket))
    board.publish(*({"ticket": ticket} for ticket in TICKETS))
    for reader, start, ticket in readers:
        expected = [n for n in log_of(board, **({"ticket": ticket} if ticket else {})) if n > start]
        reader.take_to(expected[-1], 20)
        assert numbers(reader) == expected
        assert reader.of("forum.reset") == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_is_lost_or_repeated_across_reconnects(open_board: OpenBoard, transport: Transport) -> None:
    """A client that is cut again and again, and comes back from whatever position it saw last, has all of it once."""
    board = open_board(allow_publish=True, heartbeat=0.02, limits=Limits(tail_bytes=5000))
    draw = random.Random(7)
    found: list[int] = []
    cursor = "earliest"
    with publishing(board, batches=300) as threads:
        while threads[0].is_alive():
            reader = board.open(transport, cursor=cursor, ticket="T-1", limit=draw.choice([1, 10]))
            for _ in range(draw.randrange(1, 30)):
                cursor = reader.next().get("next_cursor", cursor)
            reader.close()
            found.extend(numbers(reader))
    (last,) = board.publish({"ticket": "T-1"})
    reader = board.open(transport, cursor=cursor, ticket="T-1")
    found.extend(event["sequence"] for event in reader.take_to(last.sequence))
    assert found == log_of(board, ticket="T-1")


def test_many_publishers_and_readers_of_every_kind(open_board: OpenBoard) -> None:
    """All transports see one order, that of the sequences, with several publishers at once."""
    board = open_board(allow_publish=True, limits=Limits(tail_bytes=20_000))
    readers = [board.live(transport, limit=limit) for transport in TRANSPORTS for limit in (1, 100)]
    with publishing(board, publishers=3, batches=100):
        pass
    board.fill(1)
    for reader in readers:
        reader.take_to(901, 20)
        assert numbers(reader) == list(range(1, 902))


def test_long_polling_has_the_guarantee_too(open_board: OpenBoard) -> None:
    """Pages that wait, one after the other, give every matching event once."""
    board = open_board(allow_publish=True)
    cursor, found = str(board.page(cursor="latest")["next_cursor"]), list[int]()
    with publishing(board, batches=200) as threads:
        while threads[0].is_alive():
            page = board.page(cursor=cursor, ticket="T-2", wait=0.05, limit=5)
            cursor = page["next_cursor"]
            found.extend(event["sequence"] for event in page["events"])
    while True:
        page = board.page(cursor=cursor, ticket="T-2")
        cursor = page["next_cursor"]
        found.extend(event["sequence"] for event in page["events"])
        if not page["has_more"]:
            break
    assert found == log_of(board, ticket="T-2")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_events_that_were_trimmed_meanwhile_are_announced(open_board: OpenBoard, transport: Transport) -> None:
    """With a short log a reader may miss events, but each gap in its sequences has a reset before it."""
    board = open_board(allow_publish=True, heartbeat=0.05, retain=20, limits=Limits(tail_bytes=2000))
    cursor = str(board.page(cursor="latest")["next_cursor"])
    at: int | None = 0
    with publishing(board, batches=300, batch=10) as threads:
        while threads[0].is_alive():
            reader = board.open(transport, cursor=cursor)
            for _ in range(20):
                frame = reader.next()
                cursor = frame["next_cursor"]
                for event in frame.get("events", ()):
                    assert at is None or event["sequence"] == at + 1
                    at = event["sequence"]
                if frame["type"] == "forum.reset":
                    assert frame["reason"] == "trimmed"
                    at = None
            reader.close()
