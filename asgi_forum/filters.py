"""Filters: which events a reader wants, and which of them it may see (section 2 of the protocol)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from asgi_forum.errors import ConfigurationError, InvalidFilter, quote
from asgi_forum.models import Keys

__all__ = ["EVERYTHING", "Filter", "Values"]

MAX_VALUES = 32
"""The most values of one field of a filter."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WORDS = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")

Values = str | Iterable[str] | None
"""One value, several, or None for no wish; to ask for an empty list is no wish either (`narrow` alone takes it for "nothing")."""


def _values(name: str, values: Values) -> frozenset[str]:
    """Check what a client gave for one field, and fold it; an empty set keeps everything."""
    if values is not None and not isinstance(values, str | Iterable):
        raise InvalidFilter(f"{name}: got {quote(values)}, expected a string or a list of strings")
    given = (values,) if isinstance(values, str) else tuple(values or ())
    if len(given) > MAX_VALUES:
        raise InvalidFilter(f"{name}: got {len(given)} values, expected at most {MAX_VALUES}")
    for value in given:
        if not isinstance(value, str) or not 1 <= len(value.strip()) <= 256 or _CONTROL.search(value.strip()):
            raise InvalidFilter(
                f"{name}: got {quote(value)}, expected 1 to 256 characters, not blank, none of them a control character"
            )
    return frozenset(value.strip().casefold() for value in given)


def _types(values: Values) -> frozenset[str]:
    found = _values("type", values)
    for value in found:
        if not _WORDS.fullmatch(value):
            raise InvalidFilter(f"type: got {quote(value)}, expected dot-separated words, such as 'forum.thread'")
    # `forum.thread` keeps all that `forum.thread.opened` keeps: without it the same wish has one form, and one channel.
    return frozenset(value for value in found if not any(other != value and below(value, other) for other in found))


def below(event_type: str, kept: str) -> bool:
    """Whether an event type equals `kept` or lies below it: `forum.thread.opened` is below `forum.thread`."""
    return event_type == kept or (event_type.startswith(kept) and event_type[len(kept)] == ".")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What authorization leaves of a field each, compared exactly; None allows every value, an empty set none."""

    tickets: frozenset[str] | None = None
    run_ids: frozenset[str] | None = None
    thread_ids: frozenset[str] | None = None
    types: frozenset[str] | None = None

    def covers(self, keys: Keys) -> bool:
        """Whether an event may be seen."""
        ticket, run_id, thread_id, event_type = keys.exact
        return (
            (self.tickets is None or ticket in self.tickets)
            and (self.run_ids is None or run_id in self.run_ids)
            and (self.thread_ids is None or thread_id in self.thread_ids)
            and (self.types is None or any(below(event_type, kept) for kept in self.types))
        )


EVERYTHING = Allowed()


@dataclass(frozen=True, slots=True)
class Filter:
    """
    What one reader gets: values as the client gave them (folded; an empty set keeps everything), and what it is `allowed`.

    Equal filters are equal values, so readers with the same filter share one channel.
    """

    tickets: frozenset[str] = frozenset()
    run_ids: frozenset[str] = frozenset()
    thread_ids: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    allowed: Allowed = EVERYTHING

    @classmethod
    def of(
        cls, *, ticket: Values = None, run_id: Values = None, thread_id: Values = None, event_type: Values = None
    ) -> Self:
        """Make a filter of what a client asked for, one value or several of each; InvalidFilter names what is off."""
        return cls(
            _values("ticket", ticket), _values("run_id", run_id), _values("thread_id", thread_id), _types(event_type)
        )

    def matches(self, keys: Keys) -> bool:
        """Whether an event passes."""
        ticket, run_id, thread_id, event_type = keys.folded
        return (
            (not self.tickets or ticket in self.tickets)
            and (not self.run_ids or run_id in self.run_ids)
            and (not self.thread_ids or thread_id in self.thread_ids)
            and (not self.types or any(below(event_type, kept) for kept in self.types))
            and (self.allowed is EVERYTHING or self.allowed.covers(keys))
        )

    def narrow(
        self, *, ticket: Values = None, run_id: Values = None, thread_id: Values = None, event_type: Values = None
    ) -> Self:
        """
        Return this filter, allowed only these values, compared exactly. None leaves a field as it was; an empty list allows nothing.

        Narrowing again leaves what both allow: a filter never becomes wider.
        """
        allowed = Allowed(
            _meet(self.allowed.tickets, ticket),
            _meet(self.allowed.run_ids, run_id),
            _meet(self.allowed.thread_ids, thread_id),
            _meet_types(self.allowed.types, event_type),
        )
        return replace(self, allowed=allowed)


def _meet(before: frozenset[str] | None, values: Values) -> frozenset[str] | None:
    if values is None:
        return before
    now = frozenset((values,) if isinstance(values, str) else values)
    for value in now:
        if not isinstance(value, str):
            raise ConfigurationError(
                f"narrow: got {value!r}, expected strings (an event without a value can't be named)"
            )
    return now if before is None else before & now


def _meet_types(before: frozenset[str] | None, values: Values) -> frozenset[str] | None:
    now = _meet(None, values)
    if before is None or now is None:
        return before if now is None else now
    return frozenset(a if below(a, b) else b for a in before for b in now if below(a, b) or below(b, a))
