"""The page of the protocol has every code, with the status and the close code that it has."""

from __future__ import annotations

import re

from asgi_forum.entries import MAX_DEPTH
from asgi_forum.errors import ForumError, InvalidMessage, Unavailable, error_types
from asgi_forum.models import MAX_DETAILS, MAX_EVENTS
from tests.docs.pages import ROOT, rows

PAGE = ROOT / "docs" / "protocol.md"
NEVER_SENT = {"bad_request", "unavailable", "forum.reset"}
"""The codes of bases, and of what exists in Python only."""

ERRORS = {
    code: kind
    for code, kind in error_types().items()
    if kind.__module__.startswith("asgi_forum.errors") and code not in NEVER_SENT
}
ONLY_LATER = {"authorization_expired", "too_slow"}
"""The codes that end a stream, and refuse none."""


def codes(cell: str) -> list[str]:
    """Return the codes of a cell."""
    return re.findall(r"`(\w+)`", cell)


def test_every_refusal_has_its_status() -> None:
    """The table of refusals has every code that refuses a request, with its status."""
    shown = {code: int(status) for status, cell, *_ in rows(PAGE, "Refusals") for code in codes(cell)}
    commands = {code for code, kind in ERRORS.items() if _is_of_a_socket(kind)}
    assert shown == {code: ERRORS[code].status for code in ERRORS.keys() - commands - ONLY_LATER}


def test_every_ending_has_its_close_code() -> None:
    """The table of endings has the close code of each."""
    endings = [(codes(code)[0], int(number)) for code, number, *_ in rows(PAGE, "Frames") if number.isdecimal()]
    assert endings
    assert endings == [(code, ERRORS[code].close_code) for code, _ in endings]
    assert {code for code, _ in endings} >= ONLY_LATER


def test_every_answer_of_a_socket_is_there() -> None:
    """The table of a socket's answers has the codes of its commands."""
    shown = {code for cell, *_ in rows(PAGE, "Many subscriptions: WebSocket /socket") for code in codes(cell)}
    assert {code for code, kind in ERRORS.items() if _is_of_a_socket(kind)} <= shown


def test_what_will_pass_says_when() -> None:
    """Where a refusal will pass, the table says how long to wait."""
    waits = {
        code: int(found[1])
        for _, cell, when, *_ in rows(PAGE, "Refusals")
        if (found := re.search(r"`Retry-After: (\d+)`", when))
        for code in codes(cell)
    }
    passing = {code: kind for code, kind in ERRORS.items() if issubclass(kind, Unavailable) and code not in ONLY_LATER}
    assert waits == {code: kind.retry_after for code, kind in passing.items()}


def test_the_bounds_of_an_event_are_those_that_hold() -> None:
    """How deep a payload may be, how many events a request may have, and how many faults are listed."""
    text = PAGE.read_text()
    assert f"at most {MAX_DEPTH} levels deep" in text
    assert f"a list of 1 to {MAX_EVENTS}" in text
    assert f"{MAX_DETAILS} at most" in text


def _is_of_a_socket(kind: type[ForumError]) -> bool:
    return issubclass(kind, InvalidMessage)
