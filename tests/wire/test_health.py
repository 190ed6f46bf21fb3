"""Section 10: `GET health`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.exchange import Exchange
from tests.wire.host import Board
from tests.wire.readers import open_websocket


def test_a_healthy_forum(board: Board) -> None:
    """200 and `ok`, with the source, the open streams and the position of the end."""
    board.fill(3)
    answer = board.get("/health")
    assert answer.status_code == 200
    health = answer.json()
    assert health["status"] == "ok"
    assert health["source"]["kind"] == "memory"
    assert health["source"]["available"] is True
    assert health["streams"]["sse"] == health["streams"]["websocket"] == 0
    assert health["cursor"] == board.page()["next_cursor"]
    assert answer.headers["cache-control"].startswith("no-store")


@pytest.mark.parametrize("query", ["?ready", "?ready=", "?ready=1"])
def test_a_healthy_forum_is_ready(board: Board, query: str) -> None:
    """With `?ready` it is the same answer."""
    assert board.host.http.get(f"{board.url}/health{query}").json()["status"] == "ok"


def test_open_streams_are_counted(board: Board) -> None:
    """By kind, and down again when they end."""
    readers: list[Any] = [board.live("sse"), board.live("sse"), board.live("websocket")]
    socket = open_websocket(f"{board.url}/socket")
    assert board.get("/health").json()["streams"]["sse"] == 2
    assert board.get("/health").json()["streams"]["websocket"] == 2
    for reader in readers:
        reader.close()
    board.wait_for_streams(sse=0, websocket=1)
    socket.close()
    board.wait_for_streams(sse=0, websocket=0)


def test_head_has_no_body(board: Board) -> None:
    """A load balancer may ask by HEAD."""
    answer = Exchange(f"{board.url}/health", method="HEAD")
    assert answer.status == 200
    assert answer.rest(0.05) == b""
    answer.close()
