"""From what a client sent to what it asks for: the parameters of section 2, in a query or in a message of `/socket`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection

from asgi_forum.cursor import LATEST, REPLACED, Start, parse_start
from asgi_forum.errors import BadRequest, InvalidCursor, InvalidFilter, InvalidLimit, InvalidTail, InvalidWait, quote
from asgi_forum.filters import Filter

__all__ = ["Asked", "asked_by_host", "asked_by_message", "asked_by_query", "asked_wait", "resumed"]

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
MAX_TAIL = 1000
MAX_WAIT = 60.0

_NUMBER = re.compile(r"[0-9]{1,6}")
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{0,18})?|\.[0-9]{1,18}")

Parameters = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which events, from where on, and how many in one frame."""

    filter: Filter
    start: Start
    limit: int

    def starting(self, start: Start | None) -> Asked:
        """Return the same from another position; None leaves it."""
        return self if start is None else replace(self, start=start)


def asked_by_query(connection: HTTPConnection, *, default: Start, resume: bool = False) -> Asked:
    """
    Read a query. With `resume`, the header `Last-Event-ID` (or the parameter, for polyfills) wins over `cursor` and `tail`.

    Raises InvalidFilter, InvalidCursor, InvalidTail, InvalidLimit.
    """
    parameters = _query(connection)
    start = resumed(connection) if resume else None
    return _asked(parameters, start, default)


def asked_by_host(
    keep: Filter, *, cursor: str | int | None, tail: int | None, limit: int | None, default: Start
) -> Asked:
    """Check what the host's own code asks for, by the same rules. Raises InvalidCursor, InvalidTail, InvalidLimit."""
    values = {"cursor": cursor, "tail": tail, "limit": limit}
    asked = _asked({name: [str(value)] for name, value in values.items() if value is not None}, None, default)
    return Asked(keep, asked.start, asked.limit)


def asked_by_message(message: Mapping[str, Any], *, default: Start = LATEST) -> Asked:
    """Read a `subscribe` message: each filter a string or a list, `cursor`, `tail` and `limit` also numbers; null means left out."""
    parameters: dict[str, list[str]] = {}
    for name in ("ticket", "run_id", "thread_id", "type", "event_type"):
        if name == "type" or message.get(name) is None:  # `type` is the message's own
            continue
        value: object = message[name]
        values = cast("list[object]", value) if isinstance(value, list) else [value]
        strings = [each for each in values if isinstance(each, str)]
        if len(strings) < len(values):
            raise InvalidFilter(f"{name}: got {quote(values)}, expected a string or a list of strings")
        parameters[name] = strings
    for name, error in (("tail", InvalidTail), ("limit", InvalidLimit)):
        value = message.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | str):
                raise error(f"{name}: got {quote(value)}, expected an integer")
            parameters[name] = [str(value)]
    cursor = message.get("cursor")
    if cursor is not None:
        if isinstance(cursor, bool) or not isinstance(cursor, int | str):
            raise InvalidCursor(cursor)
        parameters["cursor"] = [str(cursor)]
    return _asked(parameters, None, default)


def resumed(connection: HTTPConnection) -> Start | None:
    """
    Read where an EventSource stopped, if it says so.

    What can't be read is no error, for a browser gives up for ever on a 400: it leads to a reset.
    """
    sent = connection.headers.get("last-event-id") or QueryParams(connection.scope["query_string"]).get("last_event_id")
    if not sent:
        return None
    try:
        return parse_start(sent)
    except InvalidCursor:
        return REPLACED


def asked_wait(connection: HTTPConnection) -> float:
    """Read `wait`, in seconds; InvalidWait where it is off."""
    text = _single(_query(connection), "wait", InvalidWait)
    if text is None:
        return 0.0
    if not _SECONDS.fullmatch(text) or float(text) > MAX_WAIT:
        raise InvalidWait(f"wait: got {quote(text)}, expected seconds from 0 to {MAX_WAIT:g}")
    return float(text)


def _query(connection: HTTPConnection) -> dict[str, list[str]]:
    parameters: dict[str, list[str]] = {}
    for name, value in QueryParams(connection.scope["query_string"]).multi_items():
        parameters.setdefault(name, []).append(value)
    return parameters


def _asked(parameters: Parameters, start: Start | None, default: Start) -> Asked:
    keep = Filter.of(
        ticket=parameters.get("ticket"),
        run_id=parameters.get("run_id"),
        thread_id=parameters.get("thread_id"),
        event_type=[*parameters.get("type", ()), *parameters.get("event_type", ())],
    )
    limit = _number(_single(parameters, "limit", InvalidLimit), "limit", 1, MAX_LIMIT, InvalidLimit)
    return Asked(keep, start or _start(parameters, default), DEFAULT_LIMIT if limit is None else limit)


def _start(parameters: Parameters, default: Start) -> Start:
    cursor = _single(parameters, "cursor", BadRequest)
    tail = _number(_single(parameters, "tail", InvalidTail), "tail", 0, MAX_TAIL, InvalidTail)
    if tail is not None:
        if cursor is not None:
            raise InvalidTail("tail: got it together with cursor, expected one of them")
        return Start(tail=tail)
    return default if cursor is None else parse_start(cursor)


def _single(parameters: Parameters, name: str, error: type[BadRequest]) -> str | None:
    values = parameters.get(name, ())
    if len(values) > 1:
        if name == "cursor":
            raise InvalidCursor(list(values))
        raise error(f"{name}: got {len(values)} values, expected one")
    return values[0] if values else None


def _number(text: str | None, name: str, least: int, most: int, error: type[BadRequest]) -> int | None:
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise error(f"{name}: got {quote(text)}, expected an integer from {least} to {most}")
    return int(text)
