"""Section 5: `GET stream` with a WebSocket upgrade."""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import InvalidStatus

from asgi_forum import Limits
from tests.wire.conftest import OpenBoard
from tests.wire.exchange import DEADLINE
from tests.wire.host import Board
from tests.wire.readers import WebSocketReader, open_websocket, receive_json, receive_to_the_end

KIB64 = 64 * 1024


def stream(board: Board, query: str = "") -> WebSocketReader:
    """Open a stream over WebSocket."""
    return board.keep(WebSocketReader(f"{board.url}/stream?{query}"))


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        '{"type": "subscribe", "id": "a"}',
        '{"type": "ping"}',
        '{"type": "unsubscribe", "id": "a"}',
        b"",
        b"\xff\x00",
        "[",
    ],
)
def test_what_the_client_sends_is_ignored(board: Board, message: str | bytes) -> None:
    """Texts and bytes of any kind are read and have no effect: the next frame is the next event."""
    reader = stream(board)
    reader.until("forum.live")
    for _ in range(30):
        reader.connection.send(message)
    board.fill(1)
    assert reader.next()["events"][0]["sequence"] == 1


@pytest.mark.parametrize("address", ["stream", "socket"])
@pytest.mark.parametrize("message", ["x" * KIB64, b"x" * KIB64, "ß" * (KIB64 // 2)])
def test_a_message_of_64_kib_is_not_too_large(board: Board, address: str, message: str | bytes) -> None:
    """The limit itself passes; sizes count bytes."""
    with open_websocket(f"{board.url}/{address}") as connection:
        connection.send(message)
        if address == "socket":
            answer = receive_json(connection)
            assert (answer["type"], answer["code"]) == ("forum.error", "invalid_message")
            return
        board.fill(1)
        while receive_json(connection)["type"] != "forum.events":
            pass


@pytest.mark.parametrize("address", ["stream", "socket"])
@pytest.mark.parametrize("message", ["x" * (KIB64 + 1), b"x" * (KIB64 + 1), "ß" * (KIB64 // 2 + 1), "x" * 2**20])
def test_a_message_over_64_kib_ends_the_connection(board: Board, address: str, message: str | bytes) -> None:
    """One byte more closes with 1009."""
    with open_websocket(f"{board.url}/{address}") as connection:
        connection.send(message)
        assert receive_to_the_end(connection)[1] == 1009


@pytest.mark.parametrize("address", ["stream", "socket"])
def test_a_client_that_leaves_gets_a_clean_close(board: Board, address: str) -> None:
    """The client's close is answered with 1000, and the stream is open no more."""
    connection = open_websocket(f"{board.url}/{address}")
    connection.close()
    assert connection.close_code == 1000
    board.wait_for_streams(websocket=0)


@pytest.mark.parametrize("address", ["stream", "socket"])
def test_a_stopping_server_closes_with_1012(board: Board, address: str) -> None:
    """`forum.error` comes last, then the close code for 'come back'."""
    connection = open_websocket(f"{board.url}/{address}")
    board.host.run(board.forum.drain())
    frames, code = receive_to_the_end(connection)
    assert code == 1012
    assert frames[-1]["type"] == "forum.error"
    assert frames[-1]["code"] == "shutting_down"
    assert "id" not in frames[-1]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("cursor=x", "invalid_cursor"),
        ("tail=x", "invalid_tail"),
        ("limit=0", "invalid_limit"),
        ("ticket=", "invalid_filter"),
    ],
)
def test_a_bad_address_is_refused_before_the_upgrade(board: Board, query: str, code: str) -> None:
    """The upgrade is answered by plain HTTP, with the JSON that a GET gets."""
    with pytest.raises(InvalidStatus) as refusal:
        open_websocket(f"{board.url}/stream?{query}")
    response = refusal.value.response
    assert response.status_code == 400
    assert json.loads(response.body or b"{}") == board.host.http.get(f"{board.url}/stream?{query}").json()
    assert json.loads(response.body or b"{}")["error"]["code"] == code


@pytest.mark.parametrize("address", ["stream", "socket"])
def test_a_connection_over_the_limit_is_refused_before_the_upgrade(open_board: OpenBoard, address: str) -> None:
    """429 with Retry-After, whichever kind of connection holds the slots."""
    board = open_board(limits=Limits(streams=2))
    board.live("sse")
    with open_websocket(f"{board.url}/socket"):
        with pytest.raises(InvalidStatus) as refusal:
            open_websocket(f"{board.url}/{address}")
    response = refusal.value.response
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    assert json.loads(response.body or b"{}")["error"]["code"] == "too_many_connections"


@pytest.mark.parametrize("address", ["stream", "socket"])
def test_a_stopping_server_refuses_upgrades(board: Board, address: str) -> None:
    """503 with Retry-After."""
    board.fill(1)
    board.host.run(board.forum.drain())
    with pytest.raises(InvalidStatus) as refusal:
        open_websocket(f"{board.url}/{address}")
    response = refusal.value.response
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert json.loads(response.body or b"{}")["error"]["code"] == "shutting_down"


@pytest.mark.parametrize("address", ["events", "health", "nothing", ""])
def test_an_upgrade_elsewhere_is_not_found(board: Board, address: str) -> None:
    """Only `stream` and `socket` take WebSockets."""
    with pytest.raises(InvalidStatus) as refusal:
        open_websocket(f"{board.url}/{address}")
    assert refusal.value.response.status_code == 404


def test_pings_are_answered_while_history_is_sent(board: Board) -> None:
    """The server reads what comes from the client also while it sends."""
    board.fill(5000)
    reader = stream(board, "cursor=earliest&limit=1")
    pongs = [reader.connection.ping(str(number)) for number in range(5)]
    reader.until("forum.live", 20)
    for pong in pongs:
        assert pong.wait(DEADLINE)
    assert len(reader.events) == 5000
