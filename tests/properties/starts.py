"""Where a session may have begun: what the judge has to know of a request."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence

from asgi_forum.cursor import Cursor
from tests.properties.checker import Keep, Logged
from tests.properties.plans import Params

__all__ = ["starts_of"]


def starts_of(
    log: Sequence[Logged], keep: Keep, asked: Params, ends: range, firsts: range, begun: Mapping[str, int] | None = None
) -> Collection[int]:
    """
    Return the positions at which a session may have begun.

    `latest` and `tail` are fixed at one moment between the request and the first position that the client saw; `ends` are the ends
    that the log had in that time, `firsts` the positions just before its earliest retained event. `begun` says by epoch where each
    log begins, where there was more than one.
    """
    if "tail" in asked:
        return _tails(log, keep, asked["tail"], ends, firsts)
    cursor: str = asked["cursor"]
    if cursor == "latest":
        return ends
    if cursor in ("earliest", "0"):
        return firsts
    if cursor.isdigit():
        return {int(cursor)}
    position = Cursor.parse(cursor)
    return {position.sequence + (begun or {}).get(position.epoch, 0)}


def _tails(log: Sequence[Logged], keep: Keep, count: int, ends: range, firsts: range) -> Collection[int]:
    if count == 0:
        return ends
    matching = [event.sequence for event in log[: ends.stop] if keep.matches(event)]
    found: set[int] = set()
    for end in ends:
        upto = bisect_right(matching, end)
        for first in firsts:
            enough = upto - bisect_right(matching, first) >= count
            found.add(matching[upto - count] - 1 if enough else first)
    return found
