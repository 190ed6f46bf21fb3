"""The judge finds what it is there for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.redis.judge import Broken, judge

Document = dict[str, Any]


def event(sequence: int, event_id: str | None = None, epoch: str = "e", ticket: str = "T-1") -> Document:
    """An event as a client gets it."""
    envelope = {"event_id": event_id or f"{epoch}{sequence}", "ticket": ticket}
    return {"sequence": sequence, "cursor": f"{epoch}.{sequence}.x", "envelope": envelope}


def events(*sequences: int, **fields: Any) -> Document:
    """A frame of events."""
    found = [event(each, **fields) for each in sequences]
    return {"type": "forum.events", "events": found, "next_cursor": found[-1]["cursor"]}


def reset(sequence: int, epoch: str = "f", reason: str = "replaced") -> Document:
    """A reset to a position."""
    return {"type": "forum.reset", "reason": reason, "next_cursor": f"{epoch}.{sequence}.-"}


def beat(sequence: int, epoch: str = "e") -> Document:
    """A heartbeat at a position."""
    return {"type": "heartbeat", "next_cursor": f"{epoch}.{sequence}.x"}


LOG = [event(number) for number in range(1, 5)]
OTHER = [event(number, epoch="f") for number in range(1, 4)]


def test_a_complete_history_is_good() -> None:
    """In one frame or several, with heartbeats in between."""
    judge("r", [events(1, 2), beat(2), events(3), events(4), beat(4)], LOG)


def test_a_complete_history_after_a_reset_is_good() -> None:
    """Whatever came before is of another log."""
    judge("r", [events(1, 2, 3), reset(0), events(1, 2, 3, epoch="f")], OTHER, resets=["replaced"])


def test_a_filtered_history_is_good() -> None:
    """It has what it asked for, and positions behind what it did not ask for."""
    log = [event(1), event(2, ticket="T-2"), event(3)]
    frames = [events(2, ticket="T-2"), beat(3)]
    judge("r", frames, log, keeps=lambda each: each["envelope"]["ticket"] == "T-2", filtered=True)


def test_a_number_that_is_passed_over_is_good() -> None:
    """Where no event has it."""
    judge("r", [events(1), events(3), beat(4)], [event(1), event(3)], passed_over=[2, 4])


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([events(1, 2, 4)], id="a hole in a frame"),
        pytest.param([events(1), events(3, 4)], id="a hole between frames"),
        pytest.param([events(1, 2, 3), beat(4)], id="a position behind an event"),
        pytest.param([events(1, 2, 3)], id="the end is missing"),
        pytest.param([events(1, 2), events(2, 3, 4)], id="a repeat"),
        pytest.param([events(1, 2, 3, 4), beat(3)], id="a position that leads back"),
        pytest.param([events(1, 2, 3), events(4, event_id="other")], id="another event under a number"),
        pytest.param([events(1, 2), events(3, 4, epoch="f")], id="another log without a reset"),
        pytest.param([events(1, 2), reset(2, epoch="e"), events(3, 4)], id="a reset for nothing"),
    ],
)
def test_what_breaks_the_guarantee_is_found(frames: list[Document]) -> None:
    """Each of these is one fault in a history of four events."""
    with pytest.raises(Broken):
        judge("r", frames, LOG)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([events(1, 2, 3), reset(0), events(2, 3, epoch="f")], id="a hole behind the reset"),
        pytest.param([events(1, 3), reset(0), events(1, 2, 3, epoch="f")], id="a hole before the reset"),
        pytest.param([events(1, 2, 3), events(1, 2, 3, epoch="f")], id="no reset"),
        pytest.param([events(1, 2, 3), reset(0, reason="trimmed"), events(1, 2, 3, epoch="f")], id="another reason"),
    ],
)
def test_what_breaks_the_guarantee_around_a_reset_is_found(frames: list[Document]) -> None:
    """Each of these is one fault in the history of a log that was replaced."""
    with pytest.raises(Broken):
        judge("r", frames, OTHER, resets=["replaced"])
