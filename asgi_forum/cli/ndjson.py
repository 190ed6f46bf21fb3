"""Events, one a line of JSON, cut into batches for publishing. Never waits: bytes in, batches out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from asgi_forum.client.requests import encode_event
from asgi_forum.errors import EventIdConflict, ForumError, InvalidEvent, PayloadTooLarge, quote
from asgi_forum.models import MAX_EVENTS, ForumEvent, parse_events

__all__ = ["MAX_BATCH_BYTES", "MAX_LINE", "Batches", "Line", "LineError", "line_of", "lines_of", "read_line", "worded"]

MAX_LINE = 16 * 2**20
"""The longest line, in bytes: no forum takes more in one request, unless its settings say otherwise."""

MAX_BATCH_BYTES = 2**20
"""The most bytes of events in one batch (a longer event goes alone): many proxies refuse larger requests."""

_OF_A_REQUEST = re.compile("^event [0-9]+: |; nothing was published$")


@dataclass(frozen=True, slots=True)
class Line:
    """One event, checked, with an `event_id`; `made_id`: it had none. `size` is in bytes, encoded."""

    number: int
    event: ForumEvent
    size: int
    made_id: bool


class LineError(ForumError):
    """A line that is no event or that the forum refused, or several lines of which that can't be told."""

    def __init__(self, place: int | str, message: str) -> None:
        super().__init__(f"{place if isinstance(place, str) else f'line {place}'}: {message}")


def lines_of(batch: Sequence[Line]) -> str:
    """Name the lines of a batch."""
    first, last = batch[0].number, batch[-1].number
    return f"line {first}" if first == last else f"lines {first} to {last}"


def read_line(number: int, raw: bytes) -> Line:
    """Read the event of a line. LineError names the line and its first fault."""
    try:
        document: Any = from_json(raw)
    except ValueError as error:
        raise LineError(number, f"not JSON: {error}") from None
    if isinstance(document, list):  # which a request may hold, but not a line
        raise LineError(number, f"expected one event, as a JSON object; got {quote(raw)}")
    try:
        (event,) = parse_events(document)
        identified = event.with_id()
        size = len(encode_event(identified))
    except InvalidEvent as error:
        raise LineError(number, _without_index(error)) from None
    return Line(number, identified, size, made_id=event.event_id is None)


def _without_index(error: InvalidEvent) -> str:
    """Word the first fault without the place of the event in a request: the line's number is told instead."""
    fault = error.details[0]
    where = ".".join(str(part) for part in fault["loc"] if not isinstance(part, int))
    more = f" (and {len(error.details) - 1} more)" if len(error.details) > 1 else ""
    return f"{where}: {fault['msg']}{more}" if where else f"{fault['msg']}{more}"


def worded(error: ForumError) -> str:
    """Word a refusal of an event without what it says of its request: which one it was there, and what became of the others."""
    return _without_index(error) if isinstance(error, InvalidEvent) else _OF_A_REQUEST.sub("", str(error))


def line_of(error: ForumError, batch: Sequence[Line]) -> LineError | None:
    """Find the line of a batch that the forum's refusal is about; None where it names none."""
    if isinstance(error, InvalidEvent):
        loc = error.details[0].get("loc") or [None]
        index = loc[0]
    elif isinstance(error, EventIdConflict | PayloadTooLarge):
        index = error.index
    else:
        return None
    if index is None and len(batch) == 1:
        index = 0
    if not isinstance(index, int) or not 0 <= index < len(batch):
        return None
    return LineError(batch[index].number, worded(error))


class Batches:
    """
    Collects lines into batches of at most 1000 events and MAX_BATCH_BYTES.

    Holds at most one batch and one line that has begun. Blank lines are counted and skipped.
    """

    def __init__(self) -> None:
        self.number: int = 0
        self._part = bytearray()
        self._lines: list[Line] = []
        self._size = 0

    @property
    def pending(self) -> bool:
        """Whether there are events that wait for more to come."""
        return bool(self._lines)

    def feed(self, data: bytes) -> Iterator[list[Line]]:
        """Take the next bytes; yield each batch that they fill. Raises LineError, and is of no use after that."""
        first, *rest = data.split(b"\n")
        self._part += first
        for following in rest:
            yield from self._end_line()
            self._part = bytearray(following)
        if len(self._part) > MAX_LINE:
            raise LineError(self.number + 1, f"longer than {MAX_LINE} bytes")

    def finish(self) -> Iterator[list[Line]]:
        """Take what is there as the last line, which may lack its end; yield what is left."""
        yield from self._end_line()
        yield from self.flush()

    def flush(self) -> Iterator[list[Line]]:
        """Yield the events that are there, if any, as one batch; a line that has begun stays."""
        if self._lines:
            lines, self._lines, self._size = self._lines, [], 0
            yield lines

    def _end_line(self) -> Iterator[list[Line]]:
        self.number += 1
        raw = bytes(self._part).strip()
        self._part = bytearray()
        if self.number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not raw:
            return
        line = read_line(self.number, raw)
        if self._size + line.size > MAX_BATCH_BYTES:
            yield from self.flush()
        self._lines.append(line)
        self._size += line.size + 1
        if len(self._lines) >= MAX_EVENTS or self._size > MAX_BATCH_BYTES:
            yield from self.flush()
