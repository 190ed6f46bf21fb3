"""The judge of what one reader got while its log was lost, forked or replaced: the guarantee was kept, or it was not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

__all__ = ["Broken", "judge"]

_Document = dict[str, Any]


class Broken(AssertionError):
    """The guarantee was broken."""


def judge(
    name: str,
    frames: Sequence[_Document],
    log: Sequence[_Document],
    *,
    keeps: Callable[[_Document], bool] = lambda _: True,
    filtered: bool = False,
    resets: Collection[str] = (),
    passed_over: Collection[int] = (),
) -> None:
    """
    Raise Broken unless a reader that began at `earliest` got a complete history, or was told by a reset where it did not.

    From each reset on, sequences rise, none is left out that `passed_over` does not name, and no position lies behind an event
    that did not come. What came after the last reset is the log as it is in the end: `log`, all that is retained of it.
    """
    at = begun = 0
    since: list[_Document] = []
    for index, frame in enumerate(frames):
        where = f"{name}: frame {index}, {frame}, from {at}"
        if frame["type"] == "forum.reset":
            if frame["reason"] not in resets:
                raise Broken(f"{where}: nothing has happened that leads to this reset")
            at = begun = _sequence(frame["next_cursor"])
            since = []
            continue
        for event in frame.get("events", ()):
            _step(where, at, event["sequence"], filtered, passed_over)
            if event["cursor"].rpartition(".")[0].rpartition(".")[2] != str(event["sequence"]):
                raise Broken(f"{where}: the cursor is another event's")
            at = event["sequence"]
            since.append(event)
        if "next_cursor" in frame:
            position = _sequence(frame["next_cursor"])
            if position != at:
                _step(where, at, position + 1, filtered, passed_over)
            if position > at and any(at < event["sequence"] <= position for event in log if keeps(event)):
                # It may be of a log that is gone; then a reset follows, which is looked for here.
                if not any(later["type"] == "forum.reset" for later in frames[index:]):
                    raise Broken(f"{where}: the position lies behind an event that did not come")
            at = position
    expected = [event for event in log if event["sequence"] > begun and keeps(event)]
    if since != expected:
        raise Broken(f"{name}: got {_told(since)} from {begun} on, but the log has {_told(expected)}")


def _step(where: str, at: int, to: int, filtered: bool, passed_over: Collection[int]) -> None:
    """Judge a step from one sequence to another."""
    if to <= at:
        raise Broken(f"{where}: it leads back")
    missing = [number for number in range(at + 1, to) if number not in passed_over]
    if missing and not filtered:
        raise Broken(f"{where}: {missing} did not come")


def _told(events: Sequence[_Document]) -> list[str]:
    return [f"{event['sequence']}:{event['envelope']['event_id']:.6}" for event in events]


def _sequence(cursor: str) -> int:
    return int(cursor.split(".")[1])
