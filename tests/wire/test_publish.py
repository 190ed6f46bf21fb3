"""Section 9: `POST events`."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.wire.conftest import OpenBoard
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


def test_one_event_is_answered_with_its_receipt(board: Board) -> None:
    """201, and the id, sequence and cursor that the event got."""
    (receipt,) = receipts(board.post(draft()))
    assert receipt.keys() == {"event_id", "sequence", "cursor", "duplicate"}
    (event,) = board.page()["events"]
    assert receipt == {
        "event_id": event["envelope"]["event_id"],
        "sequence": 1,
        "cursor": event["cursor"],
        "duplicate": False,
    }


def test_a_list_is_answered_in_order(board: Board) -> None:
    """Receipts stand in the order of the request, with consecutive sequences."""
    answer = receipts(board.post([draft(event_id=name) for name in "cab"]))
    assert [(receipt["event_id"], receipt["sequence"]) for receipt in answer] == [("c", 1), ("a", 2), ("b", 3)]
    assert [event["envelope"]["event_id"] for event in board.page()["events"]] == ["c", "a", "b"]


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_up_to_1000_events_pass(board: Board, count: int) -> None:
    """A list of 1 to 1000 events is one request."""
    assert [receipt["sequence"] for receipt in receipts(board.post([draft()] * count))] == list(range(1, count + 1))


@pytest.mark.parametrize("count", [0, 1001])
def test_an_empty_list_and_more_than_1000_are_refused(board: Board, count: int) -> None:
    """422, with details, and nothing is published."""
    assert isinstance(refused(board.post([draft()] * count), 422, "invalid_event")["details"], list)
    assert board.sequences() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"not json",
        b"null",
        b"1",
        b'"x"',
        b"true",
        b"[1]",
        b"[null]",
        b"[[]]",
        b"\xff\xfe{}",
        b"{}{}",
        b"\x00",
    ],
)
def test_what_is_no_event_is_refused(board: Board, body: bytes) -> None:
    """422 with details, for what isn't JSON as for JSON that is no event."""
    details = refused(board.post_bytes(body), 422, "invalid_event")["details"]
    assert details
    for fault in details:
        assert fault.keys() == {"loc", "msg"}
        assert isinstance(fault["loc"], list)
        assert fault["msg"]


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        ({"ticket": ""}, "ticket"),
        ({"event_type": "X"}, "event_type"),
        ({"run_id": 7}, "run_id"),
        ({"payload": []}, "payload"),
        ({"occurred_at": "now"}, "occurred_at"),
        ({"nothing": 1}, "nothing"),
    ],
)
def test_details_name_the_event_and_the_field(board: Board, bad: dict[str, Any], name: str) -> None:
    """`loc` starts with the index where a list was sent, and with the field where it was one event; all or nothing."""
    (alone,) = refused(board.post_bytes(json.dumps(draft(**bad)).encode()), 422, "invalid_event")["details"]
    assert alone["loc"][0] == name
    body = json.dumps([draft(), draft(), draft(**bad), draft()]).encode()
    (listed,) = refused(board.post_bytes(body), 422, "invalid_event")["details"]
    assert listed["loc"][:2] == [2, name]
    assert board.sequences() == []


def test_every_fault_is_listed(board: Board) -> None:
    """All faults of all events come at once."""
    error = refused(board.post([draft(ticket="", event_type="X"), draft(), draft(run_id=1)]), 422, "invalid_event")
    assert sorted(fault["loc"] for fault in error["details"]) == [[0, "event_type"], [0, "ticket"], [2, "run_id"]]


def test_a_known_event_id_is_not_published_again(board: Board) -> None:
    """A repetition answers 200 with the first one's sequence and cursor."""
    (first,) = receipts(board.post(draft(event_id="x", payload={"n": 1})))
    board.post(draft())
    assert receipts(board.post(draft(event_id="x", payload={"n": 1})), 200) == [{**first, "duplicate": True}]
    assert board.sequences() == [1, 2]


def test_a_list_with_some_known_ids(board: Board) -> None:
    """Only the new events are published, with consecutive sequences; the status is 201 while there is one."""
    board.post([draft(event_id="a"), draft(event_id="b")])
    answer = receipts(board.post([draft(event_id=name) for name in "xaybz"]))
    assert [(receipt["sequence"], receipt["duplicate"]) for receipt in answer] == [
        (3, False),
        (1, True),
        (4, False),
        (2, True),
        (5, False),
    ]
    answer = receipts(board.post([draft(event_id=name) for name in "zyx"]), 200)
    assert [receipt["sequence"] for receipt in answer] == [5, 4, 3]
    assert board.sequences() == [1, 2, 3, 4, 5]


def test_an_id_that_comes_twice_in_one_request(board: Board) -> None:
    """The second is a duplicate of the first."""
    answer = receipts(board.post([draft(event_id="a"), draft(), draft(event_id=" a ")]))
    assert [(receipt["sequence"], receipt["duplicate"]) for receipt in answer] == [(1, False), (2, False), (1, True)]
    assert board.sequences() == [1, 2]


FULL = {
    "event_id": "x",
    "event_type": "forum.state.changed",
    "event_version": 2,
    "occurred_at": "2026-02-10T12:56:00.123Z",
    "thread_id": "thr",
    "run_id": "run",
    "ticket": "T-1",
    "agent_name": "agent",
    "actor_type": "agent",
    "actor_name": "actor",
    "correlation_id": "c",
    "causation_id": "d",
    "payload": {"a": 1, "b": {"c": [1, 2], "d": None}},
}


@pytest.mark.parametrize(
    "change",
    [
        {"event_type": "forum.state.other"},
        {"event_version": 3},
        {"occurred_at": "2026-02-10T12:56:00.124Z"},
        {"thread_id": "other"},
        {"run_id": "RUN"},
        {"ticket": "T-2"},
        {"agent_name": "other"},
        {"actor_type": "human"},
        {"actor_name": "other"},
        {"correlation_id": "other"},
        {"causation_id": "other"},
        {"payload": {"a": 2, "b": {"c": [1, 2], "d": None}}},
        {"payload": {"a": 1, "b": {"c": [2, 1], "d": None}}},
        {"payload": {"a": 1, "b": {"c": [1, 2], "d": None}, "e": 1}},
        {"payload": {"a": True, "b": {"c": [1, 2], "d": None}}},
        {"payload": {"a": 1, "b": {"c": [1, 2]}}},
    ],
    ids=str,
)
def test_a_known_id_with_other_content_is_a_conflict(board: Board, change: dict[str, Any]) -> None:
    """409, and nothing of the request is published; so it is within one request."""
    receipts(board.post(FULL))
    error = refused(board.post([draft(), {**FULL, **change}, draft()]), 409, "event_id_conflict")
    assert "x" in error["message"]
    first, second = {**FULL, "event_id": "y"}, {**FULL, "event_id": "y", **change}
    refused(board.post([draft(), first, second]), 409, "event_id_conflict")
    assert board.sequences() == [1]
    receipts(board.post(first))


@pytest.mark.parametrize(
    "left_out", [*(name for name in FULL if name not in ("event_id", "event_type", "ticket")), None]
)
def test_only_fields_that_were_given_are_compared(board: Board, left_out: str | None) -> None:
    """A repetition may leave out what the first one had: it is a duplicate."""
    receipts(board.post(FULL))
    if left_out is None:
        repeated: dict[str, Any] = {name: FULL[name] for name in ("event_id", "event_type", "ticket")}
    else:
        repeated = {name: value for name, value in FULL.items() if name != left_out}
    assert receipts(board.post(repeated), 200)[0]["duplicate"] is True


@pytest.mark.parametrize(
    "change",
    [
        {"occurred_at": "2026-02-10T13:56:00.123+01:00"},
        {"occurred_at": "2026-02-10T12:56:00.123000Z"},
        {"run_id": " run "},
        {"event_id": " x "},
        {"payload": {"b": {"d": None, "c": [1, 2]}, "a": 1}},
        {"agent_name": " "},
        {"causation_id": None},
    ],
    ids=str,
)
def test_the_same_content_in_other_words_is_a_duplicate(board: Board, change: dict[str, Any]) -> None:
    """Content is compared after normalisation: trimmed, in UTC, keys in any order, blank as left out."""
    receipts(board.post(FULL))
    assert receipts(board.post({**FULL, **change}), 200)[0]["duplicate"] is True


def test_a_field_that_the_first_one_lacked_is_other_content(board: Board) -> None:
    """Giving a run where the stored event has none is a conflict; giving its default is not."""
    receipts(board.post(draft(event_id="x")))
    refused(board.post(draft(event_id="x", run_id="run-7")), 409, "event_id_conflict")
    refused(board.post(draft(event_id="x", payload={"a": 1})), 409, "event_id_conflict")
    receipts(board.post(draft(event_id="x", event_version=1, actor_type="system", payload={})), 200)


@pytest.mark.parametrize("payload", [{}, {"a": 1}])
def test_an_id_is_remembered_longer_than_its_event_is_retained(open_board: OpenBoard, payload: dict[str, Any]) -> None:
    """Repeating a publish is safe though the event itself was trimmed; other content is a conflict still."""
    board = open_board(retain=10, allow_publish=True)
    receipts(board.post(draft(event_id="x", payload=payload)))
    board.fill(2000)
    assert board.page(limit=1)["events"][0]["sequence"] > 1
    (again,) = receipts(board.post(draft(event_id="x", payload=payload)), 200)
    assert (again["sequence"], again["duplicate"]) == (1, True)
    assert board.get(cursor=again["cursor"]).status_code == 410
    refused(board.post(draft(event_id="x", payload={"a": 2})), 409, "event_id_conflict")
    refused(board.post(draft(event_id="x", ticket="T-2")), 409, "event_id_conflict")


def test_a_key_of_another_case_is_another_id(board: Board) -> None:
    """Ids are compared exactly: only filters ignore case."""
    assert [receipt["sequence"] for receipt in receipts(board.post([draft(event_id="a"), draft(event_id="A")]))] == [
        1,
        2,
    ]


def test_concurrent_publishers_get_whole_blocks(board: Board) -> None:
    """Requests that come at once get consecutive sequences each, and all together no gap."""

    def publish(number: int) -> list[int]:
        with httpx2.Client(trust_env=False, timeout=30) as client:
            found: list[int] = []
            for _ in range(10):
                answer = client.post(f"{board.url}/events", json=[draft(run_id=f"r-{number}")] * 7)
                block = [receipt["sequence"] for receipt in receipts(answer)]
                assert block == list(range(block[0], block[0] + 7))
                found.extend(block)
            return found

    with ThreadPoolExecutor(6) as pool:
        blocks = list(pool.map(publish, range(6)))
    assert sorted(itertools.chain(*blocks)) == list(range(1, 421))
    for number, block in enumerate(blocks):
        assert board.sequences(run_id=f"r-{number}", limit=1000) == block


def test_concurrent_repetitions_are_published_once(board: Board) -> None:
    """Of requests with the same id just one is new; all name the same sequence."""

    def publish(_: int) -> list[dict[str, Any]]:
        answer = httpx2.post(f"{board.url}/events", json=[draft(event_id=f"e-{n}") for n in range(5)], trust_env=False)
        assert answer.status_code in (200, 201)
        found: list[dict[str, Any]] = answer.json()["events"]
        return found

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(publish, range(12)))
    assert board.sequences() == [1, 2, 3, 4, 5]
    for answer in answers:
        assert [receipt["sequence"] for receipt in answer] == [1, 2, 3, 4, 5]
    assert sum(not receipt["duplicate"] for answer in answers for receipt in answer) == 5


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_taken(board: Board, content_type: str) -> None:
    """The type counts without its parameters and without regard to case."""
    receipts(board.post_bytes(json.dumps(draft()).encode(), content_type))


OTHER_TYPES = [
    None,
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/json",
    "json",
    "application/jsonx",
]


@pytest.mark.parametrize("content_type", OTHER_TYPES)
def test_another_content_type_is_refused(board: Board, content_type: str | None) -> None:
    """A form of another site could send these without asking: 415, and so for none at all."""
    refused(board.post_bytes(json.dumps(draft()).encode(), content_type), 415, "unsupported_media_type")
    assert board.sequences() == []


def test_publishing_is_off_by_default(open_board: OpenBoard) -> None:
    """403, whatever the body; reading works."""
    board = open_board()
    for answer in (board.post(draft()), board.post([]), board.post_bytes(b"x", "text/plain")):
        refused(answer, 403, "publish_disabled")
    assert board.sequences() == []
