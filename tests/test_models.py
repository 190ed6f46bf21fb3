"""Events: what is taken, how it is normalised, what is refused, and that it is encoded once."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from asgi_forum.entries import Entry, StoredEvent, canonical, encode_events
from asgi_forum.errors import InvalidEvent, PayloadTooLarge
from asgi_forum.models import Envelope, Keys, Receipt, make_event, parse_events
from asgi_forum.stamps import rfc3339
from tests.events import TYPE, draft, entry, stored

TEXTS = ["thread_id", "run_id", "agent_name", "actor_name", "correlation_id", "causation_id", "event_id"]
"""The optional fields that hold a text."""

NOON = datetime(2026, 2, 10, 12, 0, tzinfo=UTC)

BLANK = ["", " ", "\t\n "]


def faults(**fields: Any) -> list[dict[str, Any]]:
    """The details of an event that does not pass."""
    with pytest.raises(InvalidEvent) as caught:
        make_event(**{"event_type": TYPE, "ticket": "T-1", **fields})
    return caught.value.details


def nested(depth: int) -> dict[str, Any]:
    """An object of so many objects in each other."""
    found: dict[str, Any] = {}
    for _ in range(depth - 1):
        found = {"a": found}
    return found


# ForumEvent: section 9's fields


@pytest.mark.parametrize("name", ["event_type", "ticket", "actor_type", *TEXTS])
def test_strings_are_trimmed(name: str) -> None:
    """Blanks around a value are none of it."""
    value = {"event_type": "a.b", "actor_type": "human"}.get(name, "Some Value")
    assert getattr(draft(**{name: f" \t{value}\n "}), name) == value


@pytest.mark.parametrize("name", [*TEXTS, "actor_type", "event_version", "occurred_at", "payload"])
@pytest.mark.parametrize("blank", [*BLANK, None])
def test_a_blank_optional_field_is_left_out(name: str, blank: str | None) -> None:
    """What is blank, or null, counts as not given."""
    assert draft(**{name: blank}) == draft()
    assert name not in Entry.of(draft(**{name: blank})).given


@pytest.mark.parametrize("name", ["ticket", *TEXTS])
@pytest.mark.parametrize("value", ["x", "x" * 256, " " + "x" * 256 + " ", "ü\u202e\U0001f600", "a b", '"\\/'])
def test_a_text_may_be_anything_of_256_characters(name: str, value: str) -> None:
    """1 to 256 characters, trimmed, none of them a control character."""
    assert getattr(draft(**{name: value}), name) == value.strip()


@pytest.mark.parametrize("name", ["ticket", *TEXTS])
@pytest.mark.parametrize(
    "value", ["x" * 257, "a\x00b", "a\nb", "a\x7fb", "a\x85b", "a\x9fb", 5, True, ["x"], {"a": 1}, b"x"]
)
def test_another_text_is_refused(name: str, value: object) -> None:
    """Too long, control characters, and what is no text at all; the fault names its field."""
    (fault,) = faults(**{name: value})
    assert fault["loc"] == [name]


@pytest.mark.parametrize("name", ["event_type", "ticket"])
@pytest.mark.parametrize("value", [*BLANK, None])
def test_type_and_ticket_are_required(name: str, value: str | None) -> None:
    """Neither may be blank."""
    assert [fault["loc"] for fault in faults(**{name: value})] == [[name]]


@pytest.mark.parametrize("value", ["a", "forum.thread.opened", "a-b.c_d.0", "x" * 256])
def test_an_event_type_is_of_dotted_words(value: str) -> None:
    """Those of the protocol and any others of that form."""
    assert draft(event_type=value).event_type == value


@pytest.mark.parametrize("value", ["A", "a.", ".a", "a..b", "a b", "a.é", "a/b", "x" * 257, 5])
def test_another_event_type_is_refused(value: object) -> None:
    """Upper case, empty words, and other characters."""
    (fault,) = faults(event_type=value)
    assert fault["loc"] == ["event_type"]


@pytest.mark.parametrize("value", ["agent", "operator", "human", "system"])
def test_an_actor_is_of_four_types(value: str) -> None:
    """Those of section 1."""
    assert draft(actor_type=value).actor_type == value


@pytest.mark.parametrize("value", ["robot", "Agent", 5, ["agent"]])
def test_another_actor_type_is_refused(value: object) -> None:
    """The message lists what is taken."""
    (fault,) = faults(actor_type=value)
    assert fault["msg"].startswith("expected one of agent, operator, human, system; got ")


@pytest.mark.parametrize("value", [0, -1, 2**31, 1.5, "1", True, 10**40])
def test_a_version_is_a_whole_number_from_1_on(value: object) -> None:
    """1 to 2^31 - 1, as a number."""
    assert draft(event_version=2**31 - 1).event_version == 2**31 - 1
    (fault,) = faults(event_version=value)
    assert fault["loc"] == ["event_version"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("2026-02-10T12:00:00Z", "2026-02-10T12:00:00.000Z"),
        (" 2026-02-10t12:00:00z ", "2026-02-10T12:00:00.000Z"),
        ("2026-02-10 12:00:00Z", "2026-02-10T12:00:00.000Z"),
        ("2026-02-10T13:30:00+01:30", "2026-02-10T12:00:00.000Z"),
        ("2026-02-10T00:00:00-12:00", "2026-02-10T12:00:00.000Z"),
        ("2026-02-10T12:00:00.1Z", "2026-02-10T12:00:00.100Z"),
        ("2026-02-10T12:00:00.123456Z", "2026-02-10T12:00:00.123456Z"),
        ("2026-02-10T12:00:00.123456789Z", "2026-02-10T12:00:00.123456Z"),
        (NOON, "2026-02-10T12:00:00.000Z"),
        (NOON.astimezone(timezone(timedelta(hours=-5))), "2026-02-10T12:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_turned_to_utc(value: object, written: str) -> None:
    """An aware datetime or an RFC 3339 string; it is written with `Z`, and with microseconds only where it has them."""
    occurred_at = draft(occurred_at=value).occurred_at
    assert occurred_at is not None
    assert occurred_at.utcoffset() == timedelta()
    assert rfc3339(occurred_at) == written


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-10",
        "2026-02-10T12:00:00",
        "2026-02-10T12:00Z",
        "2026-02-10T12:00:00+0100",
        "2026-02-30T12:00:00Z",
        "2026-02-10T25:00:00Z",
        "yesterday",
        "1770724800",
        "\u0662026-02-10T12:00:00Z",
        1770724800,
        1.5,
        True,
        datetime(2026, 2, 10),
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_another_time_is_refused(value: object) -> None:
    """No offset, no such day, a year that UTC puts out of range, numbers and dates."""
    (fault,) = faults(occurred_at=value)
    assert fault["loc"] == ["occurred_at"]


@pytest.mark.parametrize("value", [[], [1], "{}", 5, {1: 2}])
def test_a_payload_is_an_object(value: object) -> None:
    """Lists and texts are refused, and so is a key that is no text; the message shows nothing of it."""
    details = faults(payload=value)
    assert {fault["loc"][0] for fault in details} == {"payload"}
    assert not any("got" in fault["msg"] for fault in details)


def test_an_unknown_field_is_refused() -> None:
    """A field that is misspelt would be lost otherwise."""
    (fault,) = faults(runid="x")
    assert fault["loc"] == ["runid"]


def test_an_event_is_frozen() -> None:
    """What was checked can't be changed."""
    with pytest.raises(ValidationError):
        draft().ticket = "T-2"  # type: ignore[misc]  # what is tested


def test_every_fault_is_told() -> None:
    """One error lists all that is off, each with what it got."""
    assert [
        (fault["loc"], fault["msg"].rpartition("; got ")[2])
        for fault in faults(ticket=5, run_id="a\nb", event_version=0)
    ] == [
        (["ticket"], "5"),
        (["run_id"], r"'a\nb'"),
        (["event_version"], "0"),
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"event_type": "A"},
            "event_type: expected dot-separated lower-case words, such as 'forum.post.added'; got 'A'",
        ),
        ({"ticket": "a\nb"}, r"ticket: expected no control characters; got 'a\nb'"),
        ({"run_id": "a\nb"}, r"run_id: expected no control characters; got 'a\nb'"),
        (
            {"occurred_at": "now"},
            "occurred_at: expected an RFC 3339 time with an offset, such as 2026-02-10T12:56:00.123Z; got 'now'",
        ),
        (
            {"occurred_at": datetime(2026, 2, 10)},
            "occurred_at: expected a time with an offset; got datetime.datetime(2026, 2, 10, 0, 0)",
        ),
    ],
)
def test_a_fault_reads_as_one_line(fields: dict[str, Any], message: str) -> None:
    """The error's message names the field, what it takes and what it got."""
    with pytest.raises(InvalidEvent) as caught:
        make_event(**{"event_type": TYPE, "ticket": "T-1", **fields})
    assert caught.value.message == message


def test_an_id_is_made_once() -> None:
    """An event that got an id keeps it, so repeating it is safe; one that has an id is left as it is."""
    made = draft().with_id()
    assert made.event_id
    assert made.with_id() is made
    assert draft().with_id().event_id != made.event_id
    assert Entry.of(made).event_id == made.event_id


def test_ids_sort_by_the_time_they_were_made() -> None:
    """They are UUIDs of version 7, so a log's ids are nearly in its order."""
    ids = [entry().event_id for _ in range(50)]
    assert all(len(each) == 36 and each[14] == "7" and each[19] in "89ab" for each in ids)
    assert [each[:13] for each in ids] == sorted(each[:13] for each in ids)
    assert len(set(ids)) == 50


# Documents of a publish request


def test_an_event_or_a_list_is_read() -> None:
    """A single event is a list of one."""
    document = {"event_type": TYPE, "ticket": "T-1"}
    assert parse_events(document) == parse_events([document]) == parse_events([draft()]) == [draft()]


@pytest.mark.parametrize("document", [None, 5, "x", True, [[]], [None], [5]])
def test_what_is_no_event_is_refused(document: object) -> None:
    """Any JSON but an object, or a list of objects."""
    with pytest.raises(InvalidEvent):
        parse_events(document)


@pytest.mark.parametrize("count", [0, 1001])
def test_a_request_has_1_to_1000_events(count: int) -> None:
    """An empty list and a longer one are refused as a whole, when they are read and when they are encoded."""
    with pytest.raises(InvalidEvent, match=f"expected 1 to 1000 events; got {count}"):
        parse_events([draft()] * count)
    with pytest.raises(InvalidEvent, match=f"expected 1 to 1000 events; got {count}"):
        encode_events([draft()] * count, 1000)


def test_an_answer_is_not_larger_than_what_was_wrong() -> None:
    """Faults are listed up to a hundred, names of fields are cut, and an event of very many fields is not looked at."""
    with pytest.raises(InvalidEvent) as caught:
        parse_events([dict[str, object]()] * 1000)
    assert len(caught.value.details) == 100
    with pytest.raises(InvalidEvent) as caught:
        parse_events({"event_type": TYPE, "ticket": "T-1", "x" * 10_000: 1})
    assert len(str(caught.value.details)) < 300
    with pytest.raises(InvalidEvent) as caught:
        parse_events([draft(), {str(number): number for number in range(10_000)}])
    assert [fault["loc"] for fault in caught.value.details] == [[1]]


def test_faults_of_a_list_name_the_event() -> None:
    """`loc` begins with the index where a list was sent, and only there."""
    bad = {"event_type": TYPE}
    with pytest.raises(InvalidEvent) as caught:
        parse_events([draft(), bad, draft(), bad])
    assert [fault["loc"] for fault in caught.value.details] == [[1, "ticket"], [3, "ticket"]]
    with pytest.raises(InvalidEvent) as caught:
        parse_events(bad)
    assert [fault["loc"] for fault in caught.value.details] == [["ticket"]]


# Entries


def test_an_entry_is_the_events_json_without_braces() -> None:
    """Envelope and payload, complete with their defaults, in one line."""
    made = Entry.of(draft(event_id="a", payload={"b": [1, 2.5, None, "ü\n"]}), now=rfc3339(NOON))
    assert b"\n" not in made.body
    assert json.loads(b"{" + made.body + b"}") == {
        "envelope": {
            "event_id": "a",
            "event_type": TYPE,
            "event_version": 1,
            "occurred_at": "2026-02-10T12:00:00.000Z",
            "ticket": "T-1",
            "actor_type": "system",
        },
        "payload": {"b": [1, 2.5, None, "ü\n"]},
    }


def test_an_entry_knows_what_was_given() -> None:
    """A repeat is compared by the fields that its publisher named, as JSON values, but for the id."""
    given = Entry.of(draft(event_id="a", run_id=" r ", occurred_at="2026-02-10T13:00:00+01:00", payload={"n": 1})).given
    assert given == {
        "event_type": TYPE,
        "ticket": "T-1",
        "run_id": "r",
        "occurred_at": "2026-02-10T12:00:00.000Z",
        "payload": {"n": 1},
    }


FULL: dict[str, Any] = {
    "event_id": "a",
    "thread_id": "h",
    "run_id": "r",
    "agent_name": "n",
    "actor_type": "agent",
    "actor_name": "m",
    "correlation_id": "c",
    "causation_id": "d",
    "event_version": 2,
    "occurred_at": "2026-02-10T12:00:00Z",
    "payload": {"a": 1, "b": [True, {"c": 1, "d": None}]},
}


@pytest.mark.parametrize(
    "repeat",
    [
        FULL,
        {"event_id": "a"},
        *(
            {name: value for name, value in FULL.items() if name != left_out}
            for left_out in FULL
            if left_out != "event_id"
        ),
        {**FULL, "payload": {"b": [True, {"d": None, "c": 1}], "a": 1}},
        {**FULL, "occurred_at": "2026-02-10T13:00:00.000000+01:00"},
        {**FULL, "run_id": " r "},
        {**FULL, "run_id": " "},
        {**FULL, "payload": None},
    ],
)
def test_the_same_content_is_no_conflict(repeat: dict[str, Any]) -> None:
    """Fields that are not given are not compared, nor is how the same value was written."""
    assert entry(**repeat).conflicts(stored(1, **FULL)) == []


@pytest.mark.parametrize(
    ("repeat", "conflicts"),
    [
        *(({**FULL, name: "other"}, [name]) for name in TEXTS if name != "event_id"),
        ({**FULL, "ticket": "T-2", "event_type": "a.b"}, ["event_type", "ticket"]),
        ({**FULL, "ticket": "t-1"}, ["ticket"]),
        ({**FULL, "actor_type": "human"}, ["actor_type"]),
        ({**FULL, "event_version": 1}, ["event_version"]),
        ({**FULL, "occurred_at": "2026-02-10T12:00:00.001Z"}, ["occurred_at"]),
        ({**FULL, "payload": {}}, ["payload"]),
        ({**FULL, "payload": {**FULL["payload"], "a": True}}, ["payload"]),
        ({**FULL, "payload": {**FULL["payload"], "a": 1.0}}, ["payload"]),
        ({**FULL, "payload": {**FULL["payload"], "a": "1"}}, ["payload"]),
        ({**FULL, "payload": {**FULL["payload"], "z": None}}, ["payload"]),
        ({**FULL, "payload": {"a": 1, "b": [{"c": 1, "d": None}, True]}}, ["payload"]),
    ],
)
def test_other_content_is_named(repeat: dict[str, Any], conflicts: list[str]) -> None:
    """The fields that differ, in order of name; `true` is not 1, and 1 is not 1.0."""
    assert entry(**repeat).conflicts(stored(1, **FULL)) == conflicts


def test_a_field_that_the_stored_event_lacks_is_other_content() -> None:
    """Giving a run where there is none is a conflict; giving a default where it applied is not."""
    assert entry(event_id="a", run_id="r").conflicts(stored(1, event_id="a")) == ["run_id"]
    assert (
        entry(event_id="a", actor_type="system", event_version=1, payload={}).conflicts(stored(1, event_id="a")) == []
    )


@pytest.mark.parametrize("payload", [{"a": {1: 2, "b": 3}}, {"a": {None: 1, True: 2, 1.5: 3}}, {"a": (1, 2)}])
def test_a_payload_of_pythons_own_is_compared_as_its_json(payload: dict[str, Any]) -> None:
    """Keys that are numbers, and tuples, become what JSON has for them; a repeat is the same content then."""
    assert entry(event_id="a", payload=payload).conflicts(stored(1, event_id="a", payload=payload)) == []


@pytest.mark.parametrize(
    "payload",
    [
        {"a": float("nan")},
        {"a": float("-inf")},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": {1, 2}},
        {"a": NOON},
        {"a": b"x"},
        {"a": object()},
        {"a": {(1, 2): 3}},
        {"a": 10**5000},
        nested(100_000),
    ],
    ids=[
        "nan",
        "infinity",
        "surrogate",
        "surrogate-key",
        "set",
        "datetime",
        "bytes",
        "object",
        "tuple-key",
        "digits",
        "nested",
    ],
)
def test_a_payload_that_is_not_json_is_refused(payload: dict[str, Any]) -> None:
    """What RFC 8259 has no form for is an InvalidEvent that names the event, not a crash when it is read."""
    with pytest.raises(InvalidEvent) as caught:
        encode_events([draft(), draft().model_copy(update={"payload": payload})], 2**20)
    assert caught.value.details[0]["loc"] == [1, "payload"]
    assert caught.value.details[0]["msg"].startswith(("not JSON: ", "nested too deeply"))


@pytest.mark.parametrize("depth", [1, 2, 100, 150, 190, 199, 200, 201, 250, 500, 900])
def test_an_event_that_was_taken_can_be_read(depth: int) -> None:
    """However deep its payload: it is refused when it enters, or it comes out again."""
    try:
        event = stored(1, payload=nested(depth))
    except InvalidEvent:
        return
    assert event.payload == nested(depth)


def test_events_of_one_publish_happen_at_one_time() -> None:
    """What has no time of its own gets that of the request."""
    made = encode_events([draft(), draft(occurred_at=NOON), draft()], 1000)
    times = [json.loads(b"{" + each.body + b"}")["envelope"]["occurred_at"] for each in made]
    assert times[0] == times[2] != times[1] == "2026-02-10T12:00:00.000Z"


def test_an_events_size_is_bounded_in_bytes() -> None:
    """Envelope and payload with their braces, in UTF-8; the error names the event."""
    event = draft(event_id="a", occurred_at=NOON, payload={"text": "ü" * 50})
    size = len(b"{" + entry(event_id="a", occurred_at=NOON, payload={"text": "ü" * 50}).body + b"}")
    assert len(encode_events([event], size)) == 1
    with pytest.raises(PayloadTooLarge, match=f"event 1: got {size} bytes, expected at most {size - 1}") as caught:
        encode_events([draft(event_id="b"), event], size - 1)
    assert caught.value.index == 1


# Stored events

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12).filter(str.strip)


@given(
    payload=st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    texts=st.fixed_dictionaries({"ticket": TEXT}, optional=dict.fromkeys(TEXTS, TEXT)),
    occurred_at=st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.timezones()),
)
def test_an_event_comes_out_as_it_went_in(
    payload: dict[str, Any], texts: dict[str, str], occurred_at: datetime
) -> None:
    """Through its JSON and back: the same envelope, the same payload, the same keys, the same event."""
    before = stored(1, payload=payload, occurred_at=occurred_at, **texts)
    after = StoredEvent.from_json(before.json)
    assert after == before
    assert hash(after) == hash(before)
    assert (after.sequence, after.cursor, after.keys) == (before.sequence, before.cursor, before.keys)
    assert after.envelope == before.envelope
    assert after.payload == before.payload == payload
    assert b"\n" not in before.json
    assert before.envelope.occurred_at == occurred_at
    assert {name: getattr(before.envelope, name) for name in texts} == {
        name: value.strip() for name, value in texts.items()
    }


@pytest.mark.parametrize("kind", [str, bytes, dict])
def test_an_event_is_read_from_text_bytes_or_a_document(kind: type) -> None:
    """A client has one or another of them; fields that this version does not know are passed over."""
    document: dict[str, Any] = {**json.loads(stored(1).json), "colour": "red"}
    document["envelope"]["mood"] = "good"
    text = json.dumps(document)
    data: dict[type, Any] = {str: text, bytes: text.encode(), dict: document}
    event = StoredEvent.from_json(data[kind])
    assert (
        event.envelope == stored(1, event_id=event.envelope.event_id, occurred_at=event.envelope.occurred_at).envelope
    )
    assert event.sequence == 1


def without(*path: str) -> dict[str, Any]:
    """The document of an event without one of its fields."""
    document: dict[str, Any] = json.loads(stored(1).json)
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return document


def changed(**envelope: Any) -> dict[str, Any]:
    """The document of an event with another value in its envelope."""
    document: dict[str, Any] = json.loads(stored(1).json)
    return {**document, "envelope": {**document["envelope"], **envelope}}


@pytest.mark.parametrize(
    "data",
    [
        "",
        "x",
        b"\xff",
        "[]",
        "5",
        "{}",
        {},
        {**without("envelope"), "envelope": []},
        {**without("envelope"), "envelope": None},
        *(without(name) for name in ("sequence", "cursor", "envelope", "payload")),
        *(without("envelope", name) for name in ("event_id", "event_type", "ticket", "occurred_at")),
        changed(occurred_at="yesterday"),
        changed(occurred_at=5),
        changed(ticket=5),
        changed(run_id=5),
    ],
)
def test_what_is_no_events_json_is_refused(data: Any) -> None:
    """A client that reads something else gets an InvalidEvent, never another error."""
    with pytest.raises(InvalidEvent, match="not an event's JSON"):
        StoredEvent.from_json(data)


def test_an_event_is_decoded_once_and_only_when_asked() -> None:
    """Envelope and payload are the same objects for all who ask."""
    event = stored(1, payload={"n": 1})
    assert event.envelope is event.envelope
    assert event.payload is event.payload


def test_events_differ_by_their_json() -> None:
    """Two events are equal where their JSON is, and nothing else is equal to one."""
    assert stored(1, event_id="a", occurred_at=NOON) == stored(1, event_id="a", occurred_at=NOON)
    assert stored(1, event_id="a") != stored(2, event_id="a")
    assert stored(1) != object()


@pytest.mark.parametrize(
    "value", [Receipt("a", 1, "c"), Keys.of("T", None, None, "a"), entry(), stored(1), stored(1).envelope]
)
def test_values_are_frozen(value: Any) -> None:
    """Nobody who gets one can change it for others."""
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, "other")


def test_an_envelope_has_the_defaults_of_the_protocol() -> None:
    """Version 1, by the system; the other fields have no value."""
    envelope = Envelope("a", TYPE, "T-1", NOON)
    assert (envelope.event_version, envelope.actor_type) == (1, "system")
    assert {getattr(envelope, name) for name in TEXTS if name != "event_id"} == {None}


class Odd(int, Enum):
    """A number whose name for JSON is another."""

    ONE = (1, "one")

    def __new__(cls, number: int, value: str) -> Self:
        """Be the number, and have the other value."""
        made = int.__new__(cls, number)
        made._value_ = value
        return made


def test_a_number_that_is_more_than_that_is_a_number() -> None:
    """As the standard library writes it, in whatever company."""
    for payload in ({"n": Odd.ONE}, {"n": Odd.ONE, "more": [1.5]}):
        assert json.loads(b"{%b}" % Entry.of(draft(payload=payload)).body)["payload"]["n"] == 1


# Keys


def test_keys_hold_both_forms() -> None:
    """As it was published, and without regard to case, in the way of Unicode."""
    keys = Keys.of("Straße-1", "RUN", None, "a.b")
    assert keys.exact == ("Straße-1", "RUN", None, "a.b")
    assert keys.folded == ("strasse-1", "run", None, "a.b")


def test_keys_without_case_are_kept_once() -> None:
    """Where nothing changes there is one tuple, not two."""
    keys = Keys.of("t-1", "r", "h", "a.b")
    assert keys.exact is keys.folded


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1, 2], [2, 1], False),
        (True, 1, False),
        (1, 1.0, False),
        ("1", 1, False),
        ("ü", "ü", True),
    ],
)
def test_equal_json_has_one_text(one: object, two: object, same: bool) -> None:
    """Whatever the order of an object's keys."""
    assert (canonical(one) == canonical(two)) is same
