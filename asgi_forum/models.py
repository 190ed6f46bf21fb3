"""The values: an event as it is published, and what is said of it (sections 1 and 9 of the protocol). Everything here is frozen."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Self, cast, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from asgi_forum.errors import InvalidEvent, quote
from asgi_forum.stamps import new_event_id

__all__ = [
    "ActorType",
    "Envelope",
    "ForumEvent",
    "Keys",
    "Receipt",
    "make_event",
    "parse_events",
]

ActorType = Literal["agent", "operator", "human", "system"]

MAX_EVENTS = 1000
"""The most events of one publish request."""

MAX_DETAILS = 100
MAX_FIELDS = 100
"""The most faults that are listed, and fields that are looked at: an answer must not be larger than what was wrong."""

_NO_CONTROL = r"^[^\x00-\x1f\x7f-\x9f]*$"
_WORDS = r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$"
# pydantic also reads numbers and bare dates as times; RFC 3339 (section 5.6) has neither.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _read_time(value: object) -> object:
    """Take an aware datetime or an RFC 3339 string, and turn it to UTC."""
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        if not _RFC3339.fullmatch(text):
            raise ValueError("expected an RFC 3339 time with an offset, such as 2026-02-10T12:56:00.123Z")
        text = re.sub(r"(\.\d{6})\d+", r"\1", text.upper())
        value = datetime.fromisoformat(text)
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ValueError("expected a time with an offset")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a time whose year in UTC is 1 to 9999") from None


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _strip(value: object) -> object:
    return (value.strip() or None) if isinstance(value, str) else value


_Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=256, pattern=_NO_CONTROL)]
_Optional = Annotated[_Text | None, AfterValidator(lambda value: value or None)]


class ForumEvent(BaseModel):
    """
    An event to publish: the fields of section 9. All but `event_type` and `ticket` may be left out; blank means left out.

    Strings are trimmed, `occurred_at` (an aware datetime, or an RFC 3339 string) is turned to UTC. Unknown fields are refused.
    Raises pydantic's ValidationError; `Forum.publish` raises InvalidEvent for the same faults.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    event_type: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256, pattern=_WORDS)]
    ticket: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256, pattern=_NO_CONTROL)]
    thread_id: _Optional = None
    run_id: _Optional = None
    agent_name: _Optional = None
    actor_type: Annotated[ActorType | None, BeforeValidator(_strip)] = None
    actor_name: _Optional = None
    correlation_id: _Optional = None
    causation_id: _Optional = None
    event_id: _Optional = None
    event_version: Annotated[Annotated[int, Field(ge=1, le=2**31 - 1)] | None, BeforeValidator(_blank_is_none)] = None
    occurred_at: Annotated[datetime | None, BeforeValidator(_read_time)] = None
    payload: Annotated[dict[str, Any] | None, BeforeValidator(_blank_is_none)] = None

    def with_id(self) -> Self:
        """Return this event with an `event_id`: its own, or a new one. Repeating it is then safe."""
        return self if self.event_id else self.model_copy(update={"event_id": new_event_id()})


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who, what and when (section 1). `occurred_at` is an aware datetime in UTC."""

    event_id: str
    event_type: str
    ticket: str
    occurred_at: datetime
    event_version: int = 1
    actor_type: ActorType = "system"
    thread_id: str | None = None
    run_id: str | None = None
    agent_name: str | None = None
    actor_name: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """
    What filters look at: as it was published (`exact`), and without regard to case (`folded`).

    Events that have the same share them, mostly: they are told apart by identity, so that many are looked at by a glance at each.
    """

    exact: tuple[str, str | None, str | None, str]
    folded: tuple[str, str | None, str | None, str]

    @staticmethod
    @lru_cache(maxsize=4096)
    def of(ticket: str, run_id: str | None, thread_id: str | None, event_type: str) -> Keys:
        """Make the keys of an event, whose type is lower-case already; events that have the same share them."""
        exact = (ticket, run_id, thread_id, event_type)
        folded = (ticket.casefold(), run_id and run_id.casefold(), thread_id and thread_id.casefold(), event_type)
        return Keys(exact, exact if folded == exact else folded)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A source's answer for one published event; `duplicate` where its `event_id` was there already."""

    event_id: str
    sequence: int
    cursor: str
    duplicate: bool = False


def details_of(error: ValidationError, *loc: int | str) -> list[dict[str, Any]]:
    """Return pydantic's faults as `details`: where, and what is wrong with what it got (payloads are not shown)."""
    details: list[dict[str, Any]] = []
    for fault in error.errors(include_url=False, include_context=False):
        where = [*loc, *(part if isinstance(part, int) else f"{part:.100}" for part in fault["loc"])]
        got = "" if fault["type"] == "missing" or "payload" in where else f"; got {quote(fault['input'])}"
        details.append(
            {
                "loc": where,
                "msg": _MESSAGES.get((fault["loc"][:1], fault["type"]), fault["msg"]).removeprefix("Value error, ")
                + got,
            }
        )
    return details


_FIELDS = frozenset(each.name for each in fields(Envelope))

_MESSAGES: dict[tuple[tuple[int | str, ...], str], str] = {
    (("event_type",), "string_pattern_mismatch"): "expected dot-separated lower-case words, such as 'forum.post.added'",
    (("ticket",), "string_pattern_mismatch"): "expected no control characters",
    (("actor_type",), "literal_error"): f"expected one of {', '.join(get_args(ActorType))}",
    **{((name,), "string_pattern_mismatch"): "expected no control characters" for name in _FIELDS - {"event_type"}},
}


def parse_events(document: object) -> list[ForumEvent]:
    """
    Read the document of a publish request: an event, or a list of 1 to 1000.

    Raises InvalidEvent with every fault of every event; `loc` begins with the event's index where a list was given.
    """
    prefixed: list[tuple[tuple[int, ...], object]]
    if isinstance(document, list | tuple):
        document = cast("Sequence[object]", document)
        if not 1 <= len(document) <= MAX_EVENTS:
            raise InvalidEvent([{"loc": [], "msg": f"expected 1 to {MAX_EVENTS} events; got {len(document)}"}])
        prefixed = [((index,), each) for index, each in enumerate(document)]
    else:
        prefixed = [((), document)]
    events: list[ForumEvent] = []
    details: list[dict[str, Any]] = []
    for loc, each in prefixed:
        if len(details) >= MAX_DETAILS:
            break
        count = len(cast("Mapping[object, object]", each)) if isinstance(each, Mapping) else 0
        if count > MAX_FIELDS:
            details.append(
                {"loc": [*loc], "msg": f"expected at most {len(ForumEvent.model_fields)} fields; got {count}"}
            )
            continue
        try:
            events.append(ForumEvent.model_validate(each))
        except ValidationError as error:
            details.extend(details_of(error, *loc))
    if details:
        raise InvalidEvent(details[:MAX_DETAILS])
    return events


_VALIDATE = cast("Callable[[object], ForumEvent]", ForumEvent.__pydantic_validator__.validate_python)
"""`ForumEvent.model_validate` without its many options, which take a third of its time."""


def make_event(**given: Any) -> ForumEvent:
    """Make one event of what the host's code says; raises InvalidEvent."""
    try:
        return _VALIDATE(given)
    except ValidationError as error:
        raise InvalidEvent(details_of(error)) from error
