"""Section 1: what an event is, and what becomes of the fields that were published."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.wire.host import Board
from tests.wire.readers import TRANSPORTS, Transport

IDENTIFIERS = [
    "ticket",
    "thread_id",
    "run_id",
    "agent_name",
    "actor_name",
    "correlation_id",
    "causation_id",
    "event_id",
]
OPTIONAL = [*IDENTIFIERS[1:], "actor_type", "occurred_at"]
TYPES = [
    "forum.thread.opened",
    "forum.post.added",
    "forum.assigned",
    "forum.state.changed",
    "forum.priority.changed",
    "forum.thread.closed",
    "forum.control.signal",
]
RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def draft(**fields: Any) -> dict[str, Any]:
    """The smallest event that passes, and what the test is about."""
    return {"event_type": "forum.post.added", "ticket": "T-1", **fields}


def stored(board: Board, **fields: Any) -> dict[str, Any]:
    """Publish an event over HTTP, which must be accepted, and read it back."""
    answer = board.post(draft(**fields))
    assert answer.status_code == 201, answer.text
    sequence: int = answer.json()["events"][0]["sequence"]
    (event,) = board.page(cursor=sequence - 1, limit=1)["events"]
    return event  # type: ignore[no-any-return]  # JSON


def refused(board: Board, body: Any) -> dict[str, Any]:
    """Publish what must be a 422 that leaves the log as it was, and return the error."""
    before = board.page(cursor="latest")["next_cursor"]
    answer = board.post_bytes(body) if isinstance(body, bytes) else board.post(body)
    assert answer.status_code == 422, answer.text
    assert board.page(cursor="latest")["next_cursor"] == before
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == "invalid_event"
    return error


def test_a_bare_event_gets_its_defaults_and_nothing_else(board: Board) -> None:
    """An event of type and ticket alone has just the fields that are always there."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    event = stored(board)
    assert event.keys() == {"sequence", "cursor", "envelope", "payload"}
    envelope = event["envelope"]
    occurred_at, event_id = envelope.pop("occurred_at"), envelope.pop("event_id")
    assert envelope == {"event_type": "forum.post.added", "event_version": 1, "ticket": "T-1", "actor_type": "system"}
    assert event["payload"] == {}
    assert RFC3339_UTC.fullmatch(occurred_at)
    assert before < datetime.fromisoformat(occurred_at) < datetime.now(UTC) + timedelta(seconds=1)
    assert 1 <= len(event_id) <= 256


def test_every_field_comes_back_as_it_was_published(shared_board: Board) -> None:
    """An event with all fields keeps them all."""
    fields: dict[str, Any] = {
        "event_id": "all-fields",
        "event_type": "forum.state.changed",
        "event_version": 3,
        "occurred_at": "2026-02-10T12:56:00.123Z",
        "thread_id": "thr-9",
        "run_id": "run-7",
        "ticket": "METAWSM-011",
        "agent_name": "planner",
        "actor_type": "agent",
        "actor_name": "planner-1",
        "correlation_id": "c-1",
        "causation_id": "c-0",
    }
    event = stored(shared_board, **fields, payload={"body": "hi"})
    assert event["envelope"] == fields
    assert event["payload"] == {"body": "hi"}


def test_sequences_start_at_1_and_have_no_gaps(board: Board) -> None:
    """Single events, lists, refused requests and duplicates leave sequences 1, 2, 3 and on."""
    board.post(draft())
    board.post([draft(), draft(event_id="x")])
    board.post(draft(event_id="x"))
    board.post([draft(), draft(ticket="")])
    board.post(draft())
    assert board.sequences() == [1, 2, 3, 4]


def test_cursors_are_opaque_words(shared_board: Board) -> None:
    """A cursor is printable ASCII without blanks, at most 128 characters, and each event has another one."""
    cursors = [receipt.cursor for receipt in shared_board.fill(20)]
    assert len(set(cursors)) == 20
    for cursor in cursors:
        assert re.fullmatch(r"[!-~]{1,128}", cursor)


@pytest.mark.parametrize("event_type", [*TYPES, "deploy", "app.build.finished"])
def test_known_and_other_event_types_are_taken(shared_board: Board, event_type: str) -> None:
    """The seven known types and any dot-separated lower-case words pass."""
    assert stored(shared_board, event_type=event_type)["envelope"]["event_type"] == event_type


@pytest.mark.parametrize(
    "event_type", ["", " ", "Forum.Post", ".forum", "forum.", "forum..post", "forum post", "fo\nrum", "ä.b", 7, None]
)
def test_other_event_types_are_refused(shared_board: Board, event_type: object) -> None:
    """What is not dot-separated lower-case words is a 422 that names the field."""
    assert refused(shared_board, draft(event_type=event_type))["details"][0]["loc"] == ["event_type"]


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_identifiers_are_stored_trimmed(shared_board: Board, name: str) -> None:
    """Blanks around an identifier are not part of it."""
    assert stored(shared_board, **{name: f"  {name} x\t "})["envelope"][name] == f"{name} x"


@pytest.mark.parametrize("name", IDENTIFIERS)
@pytest.mark.parametrize("character", ["x", "ß", "\U0001f600"])
def test_identifiers_have_at_most_256_characters(shared_board: Board, name: str, character: str) -> None:
    """256 characters (not bytes, and blanks around not counted) pass, 257 are refused."""
    assert stored(shared_board, **{name: f"  {character * 256} "})["envelope"][name] == character * 256
    assert refused(shared_board, draft(**{name: character * 257}))["details"][0]["loc"] == [name]


@pytest.mark.parametrize("name", IDENTIFIERS)
@pytest.mark.parametrize("character", ["\x00", "\t", "\n", "\r", "\x1b", "\x7f", "\x85"])
def test_identifiers_have_no_control_characters(shared_board: Board, name: str, character: str) -> None:
    """A control character inside an identifier is refused."""
    assert refused(shared_board, draft(**{name: f"a{character}b"}))["details"][0]["loc"] == [name]


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("blank", ["", " ", " \t ", None])
def test_a_blank_optional_field_counts_as_left_out(shared_board: Board, name: str, blank: str | None) -> None:
    """A blank value, or null, gives what leaving the field out gives."""
    envelope = stored(shared_board, **{name: blank})["envelope"]
    assert envelope["event_id"]
    assert envelope["actor_type"] == "system"
    assert RFC3339_UTC.fullmatch(envelope["occurred_at"])
    assert envelope.keys() == {"event_id", "event_type", "event_version", "occurred_at", "ticket", "actor_type"}


@pytest.mark.parametrize("name", ["ticket", "event_type"])
def test_a_required_field_can_not_be_left_out(shared_board: Board, name: str) -> None:
    """Without a ticket or a type, or with a blank one, an event is refused."""
    missing = draft()
    del missing[name]
    for body in (missing, draft(**{name: ""}), draft(**{name: " "}), draft(**{name: None})):
        assert refused(shared_board, body)["details"][0]["loc"] == [name]


@pytest.mark.parametrize("actor_type", ["agent", "operator", "human", "system"])
def test_actor_types(shared_board: Board, actor_type: str) -> None:
    """The four actor types pass."""
    assert stored(shared_board, actor_type=actor_type)["envelope"]["actor_type"] == actor_type


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-02-10T12:56:00Z", "2026-02-10T12:56:00"),
        ("2026-02-10T13:56:00.123+01:00", "2026-02-10T12:56:00.123"),
        ("2026-02-10T01:26:00.123456-11:30", "2026-02-10T12:56:00.123456"),
        ("2026-02-10T12:56:00-00:00", "2026-02-10T12:56:00"),
        ("2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00"),
    ],
)
def test_occurred_at_is_converted_to_utc(shared_board: Board, given: str, kept: str) -> None:
    """A time with any offset is kept as the same moment in UTC, written with `Z`."""
    text = stored(shared_board, occurred_at=given)["envelope"]["occurred_at"]
    assert RFC3339_UTC.fullmatch(text)
    assert datetime.fromisoformat(text) == datetime.fromisoformat(f"{kept}+00:00")


@pytest.mark.parametrize(
    "given",
    [
        "yesterday",
        "2026-02-10",
        "2026-02-10T12:56:00",
        "2026-02-30T12:56:00Z",
        "2026-02-10T25:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-02-10T12:56:00+99:00",
        1770728160,
        True,
        {},
    ],
)
def test_what_is_no_time_is_refused(shared_board: Board, given: object) -> None:
    """A time that is no RFC 3339, lies on no calendar, has no offset, or leaves the calendar in UTC is refused."""
    assert refused(shared_board, draft(occurred_at=given))["details"][0]["loc"] == ["occurred_at"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ticket", 7),
        ("run_id", ["run"]),
        ("event_id", 7),
        ("event_version", 0),
        ("event_version", -1),
        ("event_version", 1.5),
        ("event_version", "2"),
        ("event_version", True),
        ("event_version", 10**30),
        ("actor_type", "robot"),
        ("actor_type", "Agent"),
        ("payload", []),
        ("payload", "text"),
        ("payload", 1),
        ("sequence", 1),
        ("unknown", "x"),
        ("", 1),
    ],
)
def test_a_field_that_is_off_is_refused(shared_board: Board, name: str, value: object) -> None:
    """A wrong type, a value out of range and a field that an event does not have are refused by name."""
    error = refused(shared_board, draft(**{name: value}))
    assert error["details"][0]["loc"][0] == name
    assert error["details"][0]["msg"]


PAYLOADS: list[dict[str, Any]] = [
    {"body": "hi", "n": 1, "x": 1.5, "yes": True, "no": False, "none": None, "list": [1, [2, {"a": []}]], "": {"": ""}},
    {"text": "two\nlines\r\n\ttab \u2028 \u2029 \x85 \x0b \x00 \x7f \U0001f600 \u00e9 e\u0301 \ufeff"},
    {"text": 'data: x\n\nevent: forum.error\nid: 0\n\n"quoted" \\ </script>'},
    {"small": 5e-324, "big": 1.7976931348623157e308, "int": 2**53 + 1, "negative": -(2**63), "zero": -0.0},
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_comes_back_unchanged_over_everything(board: Board, payload: dict[str, Any]) -> None:
    """Pages and all streams carry any JSON object as it was published."""
    live = [board.live(transport) for transport in TRANSPORTS]
    event = stored(board, payload=payload)
    assert event["payload"] == payload
    for reader in live:
        assert reader.take(1) == [event]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_transport_carries_the_same_event(board: Board, transport: Transport) -> None:
    """History and live streams give an event as pages do, letter for letter."""
    live = board.live(transport)
    event = stored(board, run_id="run-7", payload={"ä": 1})
    assert live.take(1) == board.open(transport, cursor="earliest").take(1) == [event]


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**70), 10**30])
def test_a_large_integer_is_kept_exactly(board: Board, number: int) -> None:
    """JSON has no largest integer: what was published comes back, digit for digit."""
    assert stored(board, payload={"n": number})["payload"] == {"n": number}


def raw(payload: str) -> bytes:
    """An event with a payload that is spelled out."""
    return b'{"event_type": "forum.post.added", "ticket": "T-1", "payload": %b}' % payload.encode()


@pytest.mark.parametrize(
    "payload",
    [
        '{"n": NaN}',
        '{"n": Infinity}',
        '{"n": -Infinity}',
        '{"n": 1e999}',
        '{"n": -1e999}',
        '{"n": [1, {"m": 1e400}]}',
        '{"n": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"n": 01}',
        '{"n": "\n"}',
        '{"n": 1,}',
        "{'n': 1}",
        '{"n": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"n":' * 5000 + "1" + "}" * 5000,
        '{"n": ' + "9" * 100_000 + "}",
    ],
    ids=lambda text: text[:24],
)
def test_a_payload_that_is_no_interoperable_json_is_refused(board: Board, payload: str) -> None:
    """What other JSON readers could not read back is a 422, and the next event passes."""
    refused(board, raw(payload))
    assert stored(board)["sequence"] == 1


@pytest.mark.parametrize("name", ["ticket", "run_id", "event_id"])
@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00x", "\\ud83d\\ud83d"])
def test_a_lone_surrogate_is_no_identifier(board: Board, name: str, escape: str) -> None:
    """Half of a surrogate pair in an identifier is refused; a whole pair is a character."""
    body = json.dumps(draft(**{name: "@"}))
    refused(board, body.replace("@", escape).encode())
    assert board.post_bytes(body.replace("@", "\\ud83d\\ude00").encode()).status_code == 201
    assert board.page()["events"][0]["envelope"][name] == "\U0001f600"


def test_moderate_nesting_passes(board: Board) -> None:
    """A payload of 60 levels is no attack."""
    payload: dict[str, Any] = {}
    for _ in range(60):
        payload = {"n": [payload]}
    assert stored(board, payload=payload)["payload"] == payload
