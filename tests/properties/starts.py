"""Where a session may have begun: what the judge has to know of a request."""

from __future__ import annotations

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
        return {_tail(log, keep, asked["tail"], end, first) for end in ends for first in firsts}
    cursor: str = asked["cursor"]
    if cursor == "latest":
        return ends
    if cursor in ("earliest", "0"):
        return firsts
    if cursor.isdigit():
        return {int(cursor)}
    position = Cursor.parse(cursor)
    return {position.sequence + (begun or {}).get(position.epoch, 0)}


def _tail(log: Sequence[Logged], keep: Keep, count: int, end: int, first: int) -> int:
    matching = [event.sequence for event in log[first:end] if keep.matches(event)]
    if count == 0:
        return end
    return matching[-count] - 1 if len(matching) >= count else first
