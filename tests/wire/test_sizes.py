"""Sections 1 and 9, sizes: one event, one request."""

from __future__ import annotations

import json
from typing import Any

import httpx2

from asgi_forum import Limits
from tests.wire.conftest import OpenBoard
from tests.wire.exchange import Exchange
from tests.wire.host import Board

MIB = 2**20


def draft(**fields: Any) -> dict[str, Any]:
    """The smallest event that passes, and what the test is about."""
    return {"event_type": "forum.post.added", "ticket": "T-1", **fields}


def receipts(answer: httpx2.Response, status: int = 201) -> list[dict[str, Any]]:
    """The receipts of an accepted request."""
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"events"}
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The error of a request that was refused."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    return error


def sized(size: int) -> dict[str, Any]:
    """An event of just this many bytes of compact JSON as it is sent."""
    event = draft(event_id=f"{size:032d}", payload={"text": ""})
    return {**event, "payload": {"text": "x" * (size - len(json.dumps(event, separators=(",", ":"))))}}


def test_an_event_has_at_most_1_mib(board: Board) -> None:
    """An event just under a MiB passes and comes back; a payload of a MiB is a 413, also in a list, and nothing is published."""
    receipts(board.post(sized(MIB - 1024)))
    for body in (sized(MIB + 100), [draft(), sized(MIB + 100)]):
        refused(board.post(body), 413, "payload_too_large")
    (event,) = board.page()["events"]
    assert len(event["payload"]["text"]) > MIB - 2000


def test_a_size_counts_bytes_not_characters(board: Board) -> None:
    """A payload of few characters and many bytes is over the size too."""
    refused(board.post(draft(payload={"text": "\U0001f600" * (MIB // 4)})), 413, "payload_too_large")
    receipts(board.post(draft(payload={"text": "\U0001f600" * (MIB // 4 - 500)})))


def test_the_limit_of_an_event_is_sharp(open_board: OpenBoard) -> None:
    """There is one size up to which events pass and from which on they don't."""
    board = open_board(limits=Limits(event_bytes=1000), allow_publish=True)
    accepted = [board.post(sized(size)).status_code for size in range(700, 1010)]
    border = accepted.index(413)
    assert 0 < border
    assert accepted == [201] * border + [413] * (len(accepted) - border)
    for event in board.page(limit=1000)["events"]:
        content = {"envelope": event["envelope"], "payload": event["payload"]}
        assert len(json.dumps(content, separators=(",", ":"))) <= 1000


def test_a_request_has_at_most_16_mib(board: Board) -> None:
    """A request of just under 16 MiB passes whole; one byte over is a 413, and nothing of it is published."""
    events = [draft(payload={"text": "x" * (MIB - 1000)}) for _ in range(16)]
    body = json.dumps(events).encode()
    assert len(body) < 16 * MIB
    refused(board.post_bytes(body + b" " * (16 * MIB + 1 - len(body))), 413, "payload_too_large")
    assert board.sequences(limit=1) == []
    assert len(receipts(board.post_bytes(body + b" " * (16 * MIB - len(body))))) == 16


def test_a_request_without_a_length_is_bounded_too(open_board: OpenBoard) -> None:
    """A chunked body over the size is refused while it comes."""
    board = open_board(limits=Limits(request_bytes=100_000), allow_publish=True)
    chunk = b"%x\r\n%b\r\n" % (10_000, b" " * 10_000)
    headers = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]
    answer = Exchange(f"{board.url}/events", method="POST", headers=headers, body=[chunk] * 11 + [b"0\r\n\r\n"])
    assert answer.status == 413
    answer.close()
    body = json.dumps(draft()).encode()
    chunks = [b"%x\r\n%b\r\n" % (1, bytes([byte])) for byte in body] + [b"0\r\n\r\n"]
    answer = Exchange(f"{board.url}/events", method="POST", headers=headers, body=chunks)
    assert answer.status == 201
    answer.close()


def test_a_request_that_says_it_is_too_large_is_not_read(open_board: OpenBoard) -> None:
    """The answer comes before the body does."""
    board = open_board(allow_publish=True)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(17 * MIB))]
    answer = Exchange(f"{board.url}/events", method="POST", headers=headers)
    assert answer.status == 413
    answer.close()
