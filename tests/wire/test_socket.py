"""Section 7: many subscriptions on one connection."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from asgi_forum import Limits
from tests.wire.conftest import OpenBoard
from tests.wire.exchange import DEADLINE
from tests.wire.host import Board
from tests.wire.readers import Frame, open_websocket, receive_json


class Line:
    """One connection, and every frame that came on it."""

    def __init__(self, connection: ClientConnection) -> None:
        """Begin with no subscription."""
        self.connection = connection
        self.frames: list[Frame] = []

    def say(self, **command: Any) -> None:
        """Send a command."""
        self.connection.send(json.dumps(command))

    def next(self) -> Frame:
        """Return the next frame, whichever subscription it belongs to."""
        frame = receive_json(self.connection, DEADLINE)
        self.frames.append(frame)
        return frame

    def until(self, *kinds: str, **fields: Any) -> Frame:
        """Return the first frame from now on of one of these types that has these fields."""
        while True:
            frame = self.next()
            if frame["type"] in kinds and fields.items() <= frame.items():
                return frame

    def ask(self, **command: Any) -> Frame:
        """Send a command, and return its answer."""
        self.say(**command)
        return self.until("subscribed", "unsubscribed", "pong", "forum.error")

    def subscribe(self, name: str, **params: Any) -> Frame:
        """Subscribe, which must be accepted."""
        answer = self.ask(type="subscribe", id=name, **params)
        assert answer["type"] == "subscribed", answer
        assert answer["id"] == name
        return answer

    def live(self, name: str, **params: Any) -> None:
        """Subscribe and read up to the subscription's `forum.live`."""
        self.subscribe(name, **params)
        self.until("forum.live", id=name)

    def sequences(self, name: str) -> list[int]:
        """The sequences of the events that came for a subscription."""
        return [
            event["sequence"] for frame in self.frames if frame.get("id") == name for event in frame.get("events", ())
        ]

    def fence(self) -> None:
        """Read all that the server had sent before it answers a ping."""
        self.say(type="ping")
        self.until("pong")


@pytest.fixture
def line(board: Board) -> Iterator[Line]:
    """A connection to `socket` of the test's board."""
    with open_websocket(f"{board.url}/socket") as connection:
        yield Line(connection)


Connect = Callable[[Board], Line]


@pytest.fixture
def connect_line() -> Iterator[Connect]:
    """Connect to `socket` of a board of the test's own making."""
    opened: list[ClientConnection] = []

    def connect_to(board: Board) -> Line:
        opened.append(open_websocket(f"{board.url}/socket"))
        return Line(opened[-1])

    yield connect_to
    for connection in opened:
        connection.close()


def test_a_connection_begins_with_no_subscription(board: Board, line: Line) -> None:
    """Events are published and nothing comes, but for the answer to a ping."""
    board.fill(3)
    pong = line.ask(type="ping")
    assert line.frames == [pong]
    assert pong.keys() == {"type", "sent_at"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", pong["sent_at"])


def test_a_subscription_is_answered_and_its_frames_are_named(board: Board, line: Line) -> None:
    """`subscribed` with the position comes first; every frame of the subscription has its id."""
    board.fill(2)
    answer = line.subscribe("a", cursor="earliest")
    assert line.frames == [answer]
    assert answer.keys() == {"type", "id", "next_cursor"}
    line.until("forum.live")
    assert [frame["type"] for frame in line.frames] == ["subscribed", "forum.events", "forum.live"]
    assert {frame["id"] for frame in line.frames} == {"a"}
    assert board.sequences(cursor=answer["next_cursor"]) == [1, 2]


@pytest.mark.parametrize(
    ("params", "expected"), [({}, [4]), ({"cursor": 2}, [3, 4]), ({"tail": 1}, [3, 4]), ({"cursor": "0"}, [1, 2, 3, 4])]
)
def test_the_position_of_an_answer_can_be_resumed_from(
    board: Board, line: Line, params: dict[str, Any], expected: list[int]
) -> None:
    """Who loses the connection right after `subscribed` misses nothing with its next_cursor."""
    board.fill(3)
    answer = line.subscribe("a", **params)
    board.fill(1)
    assert board.sequences(cursor=answer["next_cursor"]) == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"ticket": "t-1"}, [1, 3]),
        ({"ticket": ["T-1", "T-2"]}, [1, 2, 3]),
        ({"run_id": "r-1"}, [1]),
        ({"thread_id": ["x", "TH-1"]}, [2]),
        ({"event_type": "forum.thread"}, [3]),
        ({"event_type": ["forum.thread", "forum.post"]}, [1, 2, 3]),
        ({"colour": "red"}, [1, 2, 3]),
        ({"limit": 1}, [1, 2, 3]),
    ],
)
def test_filters_are_strings_or_lists(board: Board, line: Line, params: dict[str, Any], expected: list[int]) -> None:
    """The filters of section 2, one value or several."""
    board.publish({"run_id": "r-1"}, {"ticket": "T-2", "thread_id": "th-1"}, {"event_type": "forum.thread.opened"})
    line.live("a", cursor="earliest", **params)
    assert line.sequences("a") == expected


def test_subscriptions_do_not_mix(board: Board, line: Line) -> None:
    """Each gets its own events, in order, whatever the others get."""
    for name in "abc":
        line.live(name, ticket=name)
    line.live("all")
    board.publish(*({"ticket": "abc"[number % 3]} for number in range(30)))
    while len(line.sequences("all")) < 30 or any(len(line.sequences(name)) < 10 for name in "abc"):
        line.next()
    line.fence()
    assert line.sequences("all") == list(range(1, 31))
    for offset, name in enumerate("abc"):
        assert line.sequences(name) == list(range(1 + offset, 31, 3))


def test_nothing_comes_after_unsubscribed(board: Board, line: Line) -> None:
    """From the answer on there is no frame with that id, not even of events that were published before."""
    line.live("a")
    line.live("b")
    for number in range(20):
        line.live(f"x{number}")
        board.fill(20)
        assert line.ask(type="unsubscribe", id=f"x{number}") == {"type": "unsubscribed", "id": f"x{number}"}
        answered = len(line.frames)
        board.fill(1)
        while line.sequences("b")[-1:] != [21 * (number + 1)]:
            line.next()
        line.fence()
        assert f"x{number}" not in {frame.get("id") for frame in line.frames[answered:]}
    assert line.sequences("b") == list(range(1, 421))


def test_unsubscribing_stops_a_long_history(board: Board, line: Line) -> None:
    """Also while a subscription catches up, its end comes at once."""
    board.fill(20_000)
    line.subscribe("a", cursor="earliest", limit=1)
    line.ask(type="unsubscribe", id="a")
    line.fence()
    assert line.frames[-1]["type"] == "pong"
    assert line.frames[-2] == {"type": "unsubscribed", "id": "a"}
    assert len(line.sequences("a")) < 20_000


def test_an_id_is_free_again_after_unsubscribing(board: Board, line: Line) -> None:
    """The same id may be used for another subscription."""
    board.fill(3)
    for cursor in (1, 2, 1):
        line.live("a", cursor=cursor)
        line.ask(type="unsubscribe", id="a")
    assert line.sequences("a") == [2, 3, 3, 2, 3]


def test_catching_up_one_does_not_hold_up_another(board: Board, line: Line) -> None:
    """A live event comes before the end of another subscription's long history."""
    board.fill(5000)
    line.live("live", ticket="T-2")
    line.subscribe("history", cursor="earliest", limit=1)
    board.publish({"ticket": "T-2"})
    line.until("forum.events", id="live")
    assert not [frame for frame in line.frames if frame["type"] == "forum.live" and frame["id"] == "history"]
    line.until("forum.live", id="history")
    assert line.sequences("history") == list(range(1, 5002))


def test_a_reset_belongs_to_its_subscription(board: Board, line: Line) -> None:
    """A position that is not in the log resets that one subscription, and it goes on."""
    board.fill(2)
    line.live("other")
    line.subscribe("a", cursor=9)
    reset = line.until("forum.reset")
    assert (reset["id"], reset["reason"]) == ("a", "ahead")
    line.until("forum.live", id="a")
    assert line.sequences("a") == [1, 2]
    assert line.sequences("other") == []


@pytest.mark.parametrize("cursor", [1, "1", "5000"])
def test_the_position_of_an_answer_does_not_pass_over_a_reset(
    open_board: OpenBoard, connect_line: Connect, cursor: str
) -> None:
    """Whoever loses the connection after `subscribed`, and before the reset, learns of it when coming back from there."""
    board = open_board(retain=10, limits=Limits(tail_bytes=1))
    board.fill(1500)
    answer = connect_line(board).subscribe("a", cursor=cursor)
    if "next_cursor" in answer:
        assert board.open("websocket", cursor=answer["next_cursor"]).next()["type"] == "forum.reset"


def test_every_subscription_has_its_heartbeat(open_board: OpenBoard, connect_line: Connect) -> None:
    """A heartbeat names its subscription, as every frame does."""
    line = connect_line(open_board(heartbeat=0.1))
    line.live("a")
    line.live("b", ticket="x")
    for name in "abab":
        assert line.until("heartbeat", id=name).keys() == {"type", "id", "next_cursor", "sent_at"}


WRONG: list[tuple[Any, str]] = [
    ("not json", "invalid_message"),
    ("", "invalid_message"),
    ("[]", "invalid_message"),
    ("null", "invalid_message"),
    ('"subscribe"', "invalid_message"),
    ("{", "invalid_message"),
    ("[" * 30_000, "invalid_message"),
    ('{"type": "subscribe", "id": "\\ud800"}', "invalid_message"),
    (b"\xff\x00", "invalid_message"),
    ({}, "invalid_message"),
    ({"type": "nothing"}, "invalid_message"),
    ({"type": 1}, "invalid_message"),
    ({"type": ["subscribe"], "id": "a"}, "invalid_message"),
    ({"type": "subscribe"}, "invalid_message"),
    ({"type": "subscribe", "id": ""}, "invalid_message"),
    ({"type": "subscribe", "id": "x" * 65}, "invalid_message"),
    ({"type": "subscribe", "id": 7}, "invalid_message"),
    ({"type": "subscribe", "id": None}, "invalid_message"),
    ({"type": "subscribe", "id": {"a": 1}}, "invalid_message"),
    ({"type": "unsubscribe"}, "invalid_message"),
    ({"type": "unsubscribe", "id": 7}, "invalid_message"),
    ({"type": "unsubscribe", "id": "unknown"}, "unknown_id"),
    ({"type": "subscribe", "id": "used"}, "id_in_use"),
    ({"type": "subscribe", "id": "a", "cursor": "x"}, "invalid_cursor"),
    ({"type": "subscribe", "id": "a", "cursor": -1}, "invalid_cursor"),
    ({"type": "subscribe", "id": "a", "cursor": 1.5}, "invalid_cursor"),
    ({"type": "subscribe", "id": "a", "cursor": True}, "invalid_cursor"),
    ({"type": "subscribe", "id": "a", "cursor": ["0"]}, "invalid_cursor"),
    ({"type": "subscribe", "id": "a", "tail": -1}, "invalid_tail"),
    ({"type": "subscribe", "id": "a", "tail": 1001}, "invalid_tail"),
    ({"type": "subscribe", "id": "a", "tail": 1.5}, "invalid_tail"),
    ({"type": "subscribe", "id": "a", "tail": True}, "invalid_tail"),
    ({"type": "subscribe", "id": "a", "tail": [1]}, "invalid_tail"),
    ({"type": "subscribe", "id": "a", "tail": 1, "cursor": "0"}, "invalid_tail"),
    ({"type": "subscribe", "id": "a", "limit": 0}, "invalid_limit"),
    ({"type": "subscribe", "id": "a", "limit": 1001}, "invalid_limit"),
    ({"type": "subscribe", "id": "a", "limit": True}, "invalid_limit"),
    ({"type": "subscribe", "id": "a", "limit": {}}, "invalid_limit"),
    ({"type": "subscribe", "id": "a", "ticket": ""}, "invalid_filter"),
    ({"type": "subscribe", "id": "a", "ticket": 7}, "invalid_filter"),
    ({"type": "subscribe", "id": "a", "ticket": [7]}, "invalid_filter"),
    ({"type": "subscribe", "id": "a", "ticket": {"a": "b"}}, "invalid_filter"),
    ({"type": "subscribe", "id": "a", "run_id": ["r", " "]}, "invalid_filter"),
    ({"type": "subscribe", "id": "a", "thread_id": True}, "invalid_filter"),
    ({"type": "subscribe", "id": "a", "event_type": ["x"] * 33}, "invalid_filter"),
]


@pytest.mark.parametrize(("message", "code"), WRONG, ids=[str(message)[:60] for message, _ in WRONG])
def test_a_wrong_message_is_answered_and_the_connection_stays(
    board: Board, line: Line, message: Any, code: str
) -> None:
    """`forum.error` names the code, says what was wrong, and bears the id where there was one; nothing else changes."""
    line.live("used", ticket="used")
    line.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))
    answer = line.next()
    assert (answer["type"], answer["code"]) == ("forum.error", code), answer
    assert answer["message"]
    command: dict[str, Any] = {} if isinstance(message, str | bytes) else message
    named = command.get("id")
    if isinstance(named, str) and 1 <= len(named) <= 64 and isinstance(command["type"], str):
        assert answer["id"] == named
    line.fence()
    board.publish({"ticket": "used"})
    line.until("forum.events", id="used")
    if named != "used":
        line.live("a", cursor="earliest")
        assert line.sequences("a") == [1]


@pytest.mark.parametrize("name", ["x", "x" * 64, " ", "a\nb", '"', "\U0001f600" * 64, "forum.live"])
def test_an_id_is_any_string_of_1_to_64_characters(board: Board, line: Line, name: str) -> None:
    """It comes back letter for letter."""
    line.live(name)
    board.fill(1)
    assert line.until("forum.events")["id"] == name
    assert line.ask(type="unsubscribe", id=name) == {"type": "unsubscribed", "id": name}


def test_too_many_subscriptions(open_board: OpenBoard, connect_line: Connect) -> None:
    """One more than the setting is refused; after unsubscribing there is room again; another connection has its own."""
    board = open_board(limits=Limits(subscriptions=3))
    line = connect_line(board)
    for name in "abc":
        line.live(name)
    refusal = line.ask(type="subscribe", id="d")
    assert (refusal["type"], refusal["code"], refusal["id"]) == ("forum.error", "too_many_subscriptions", "d")
    line.ask(type="unsubscribe", id="b")
    line.live("d")
    connect_line(board).live("e")


def test_when_the_server_stops_one_error_comes_last(board: Board, line: Line) -> None:
    """One `forum.error` without an id, whatever the number of subscriptions."""
    for name in "abc":
        line.live(name)
    board.host.run(board.forum.drain())
    last = line.until("forum.error")
    assert last.keys() == {"type", "code", "message"}
    assert last["code"] == "shutting_down"
    assert [frame for frame in line.frames if frame["type"] == "forum.error"] == [last]


def test_commands_may_be_sent_without_waiting_for_answers(board: Board, line: Line) -> None:
    """They are carried out in order: of three subscriptions with one id, each ended by the next command, each is answered."""
    board.fill(500)
    for number in range(3):
        line.say(type="subscribe", id="a", cursor=number, limit=1)
        line.say(type="unsubscribe", id="a")
    line.say(type="subscribe", id="b", cursor=499)
    line.say(type="unsubscribe", id="a")
    line.say(type="ping")
    line.until("forum.live", id="b")
    while "pong" not in {frame["type"] for frame in line.frames}:
        line.next()
    answers = [frame for frame in line.frames if frame["type"] in ("subscribed", "unsubscribed", "forum.error", "pong")]
    assert [frame["type"] for frame in answers if frame.get("id") == "a"][-1] == "forum.error"
    assert [frame["type"] for frame in answers].count("unsubscribed") == 3
    subscribed = False
    for frame in line.frames:
        if frame.get("id") == "a":
            assert subscribed or frame["type"] in ("subscribed", "unsubscribed", "forum.error")
            subscribed = frame["type"] not in ("unsubscribed", "forum.error")
    assert line.sequences("b") == [500]


def test_each_command_is_answered_though_nobody_reads_meanwhile(board: Board, line: Line) -> None:
    """Thousands of commands at once neither break the connection nor lose an answer."""
    for number in range(2000):
        line.say(type="unsubscribe", id=f"x{number}")
    answers = [line.next() for _ in range(2000)]
    assert [frame["id"] for frame in answers] == [f"x{number}" for number in range(2000)]
    assert {frame["code"] for frame in answers} == {"unknown_id"}
