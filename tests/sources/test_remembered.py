"""Ids that outlive their events: for how long, and what is judged by them."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_forum.sources.remembered import Remembered
from tests.events import entry, stored
from tests.test_models import FULL


def remembered(seconds: float = 10.0, **fields: Any) -> Remembered:
    """A memory that holds one event, `a`, since the time 0."""
    memory = Remembered(seconds, now=0.0)
    memory.add("a", stored(7, event_id="a", **fields), now=0.0)
    return memory


def test_a_trace_tells_where_the_event_was() -> None:
    """A repeat is answered with the first one's sequence and cursor."""
    event = stored(7, event_id="a")
    memory = Remembered(10.0, now=0.0)
    memory.add("a", event, now=0.0)
    trace = memory.get("a")
    assert trace is not None
    assert (trace.sequence, trace.cursor) == (7, event.cursor)
    assert memory.get("b") is None
    assert len(memory) == 1


@pytest.mark.parametrize(
    ("times", "known"),
    [
        ([], True),
        ([9.9], True),
        ([10.0], True),
        ([10.0, 19.9], True),
        ([10.0, 20.0], False),
        ([19.9], True),
        ([20.0], False),
        ([1000.0], False),
        ([5.0, 14.9, 24.8], True),
        ([5.0, 14.9, 25.0], False),
    ],
)
def test_two_generations_take_turns(times: list[float], known: bool) -> None:
    """A turn comes when something is added and the time has passed; what was there for two turns is gone."""
    memory = remembered(10.0)
    for number, now in enumerate(times):
        memory.add(f"other-{number}", stored(8 + number), now=now)
    assert (memory.get("a") is not None) is known


@pytest.mark.parametrize("gap", [1.0, 9.0, 10.0, 15.0, 21.0, 100.0])
def test_no_id_goes_before_its_time(gap: float) -> None:
    """However often something is added: what was added within the last ten seconds is there, and nothing stays for ever."""
    memory = Remembered(10.0, now=0.0)
    for number in range(30):
        memory.add(str(number), stored(number + 1), now=number * gap)
        young = [other for other in range(number + 1) if (number - other) * gap < 10.0]
        old = [other for other in range(number + 1) if (number - other) * gap >= 40.0]
        assert all(memory.get(str(other)) for other in young)
        assert not any(memory.get(str(other)) for other in old)


def test_what_is_remembered_is_bounded_by_time() -> None:
    """Its size is what left the log within two generations."""
    memory = Remembered(10.0, now=0.0)
    for number in range(1000):
        memory.add(str(number), stored(number + 1), now=float(number))
    assert len(memory) <= 20


@pytest.mark.parametrize(
    ("repeat", "conflicts"),
    [
        (FULL, []),
        ({"event_id": "a"}, []),
        ({**FULL, "payload": None}, []),
        ({**FULL, "run_id": None}, []),
        ({**FULL, "payload": {"b": [True, {"d": None, "c": 1}], "a": 1}}, []),
        ({**FULL, "payload": {"a": 1}}, ["payload"]),
        ({**FULL, "payload": {**FULL["payload"], "a": True}}, ["payload"]),
        ({**FULL, "payload": {}}, ["payload"]),
        ({**FULL, "run_id": "other", "payload": {}, "ticket": "T-2"}, ["payload", "run_id", "ticket"]),
        ({**FULL, "occurred_at": "2026-02-10T12:00:01Z"}, ["occurred_at"]),
        ({**FULL, "event_version": 1}, ["event_version"]),
    ],
)
def test_a_trace_judges_as_the_event_would(repeat: dict[str, Any], conflicts: list[str]) -> None:
    """The same fields conflict, whether the event is retained or only its trace is."""
    trace = remembered(**{name: value for name, value in FULL.items() if name != "event_id"}).get("a")
    assert trace is not None
    assert list(trace.conflicts(entry(**repeat))) == conflicts == entry(**repeat).conflicts(stored(7, **FULL))


def test_a_payload_that_was_left_out_conflicts_with_one_that_is_given() -> None:
    """An event without payload has the empty one, and a repeat may say so."""
    trace = remembered().get("a")
    assert trace is not None
    assert list(trace.conflicts(entry(event_id="a", payload={}))) == []
    assert list(trace.conflicts(entry(event_id="a", payload={"n": 1}))) == ["payload"]
