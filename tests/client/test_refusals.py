"""Refusals: an HTTP answer becomes the error that the forum meant."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from asgi_forum import errors
from asgi_forum.client.refusals import UnexpectedAnswer, ends_for_good, refusal, retry_after, will_pass

WHERE = "http://h/forum"


def answer(status: int, code: str, headers: dict[str, str] | None = None, **extra: Any) -> errors.ForumError:
    """Make the error of a refusal as section 8 has it."""
    body = json.dumps({"error": {"code": code, "message": f"about {code}", **extra}}).encode()
    return refusal(status, headers or {}, body, WHERE)


@pytest.mark.parametrize(("code", "kind"), sorted(errors.error_types().items()), ids=lambda each: str(each)[:40])
def test_every_code_becomes_its_error(code: str, kind: type[errors.ForumError]) -> None:
    """With the server's message, and with every attribute that the kind has."""
    error = answer(kind.status, code)
    assert type(error) is kind
    assert str(error) == f"about {code}"
    assert isinstance(error.extra(), dict)
    assert isinstance(error.headers(), dict)


def test_an_invalid_event_tells_every_fault() -> None:
    """`details` comes through as it was sent."""
    details = [{"loc": [3, "ticket"], "msg": "missing"}]
    error = answer(422, "invalid_event", details=details)
    assert isinstance(error, errors.InvalidEvent)
    assert error.details == details


def test_a_conflict_tells_its_event() -> None:
    """The id, and the place in the request."""
    error = answer(409, "event_id_conflict", event_id="e9", index=4)
    assert isinstance(error, errors.EventIdConflict)
    assert (error.event_id, error.index) == ("e9", 4)


def test_an_unavailable_source_tells_the_outcome() -> None:
    """And the ids to repeat the request with, and when."""
    error = answer(503, "source_unavailable", {"retry-after": "7"}, outcome="unknown", event_ids=["a", "b"])
    assert isinstance(error, errors.SourceUnavailable)
    assert (error.outcome, error.event_ids, error.retry_after) == ("unknown", ("a", "b"), 7)


def test_an_expired_cursor_tells_where_to_go_on() -> None:
    """The reason, and the earliest cursor."""
    error = answer(410, "cursor_expired", reason="trimmed", earliest_cursor="e.5.-")
    assert isinstance(error, errors.CursorExpired)
    assert (error.reason, error.earliest_cursor) == ("trimmed", "e.5.-")


def test_a_wrong_method_tells_the_right_ones() -> None:
    """They stand in the `Allow` header."""
    error = answer(405, "method_not_allowed", {"allow": "GET, HEAD"})
    assert isinstance(error, errors.MethodNotAllowed)
    assert error.allow == ("GET", "HEAD")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (418, errors.ForumError),
        (204, UnexpectedAnswer),
        (302, UnexpectedAnswer),
        (429, errors.TooManyConnections),
        (500, errors.Unavailable),
        (502, errors.Unavailable),
        (504, errors.Unavailable),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "no"}', b'{"error": {"code": 5}}', b"\xff"])
def test_an_answer_that_is_not_the_forum_s_is_told_by_its_status(
    status: int, kind: type[errors.ForumError], body: bytes
) -> None:
    """A proxy's page, say: the message names address and status."""
    error = refusal(status, {}, body, WHERE)
    assert type(error) is kind
    assert f"{WHERE} answered {status}" in str(error)


def test_a_code_from_the_future_is_told_by_its_status() -> None:
    """With the server's message."""
    error = answer(403, "not_on_sundays")
    assert type(error) is errors.Forbidden
    assert str(error) == "about not_on_sundays"


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), (" 7 ", 7.0), ("", 0.0), ("soon", 0.0), ("-1", 0.0), ("1.5", 0.0)]
)
def test_retry_after_is_read(value: str, seconds: float) -> None:
    """A number of seconds; what can't be read asks for nothing."""
    assert retry_after({"retry-after": value}) == seconds


def test_retry_after_may_be_a_date() -> None:
    """One that has passed asks for nothing."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < retry_after({"retry-after": soon}) <= 100
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


@pytest.mark.parametrize(
    ("status", "passes"), [(400, 0), (401, 0), (403, 0), (404, 0), (301, 0), (408, 1), (429, 1), (500, 1), (503, 1)]
)
def test_which_refusals_are_worth_another_try(status: int, passes: int) -> None:
    """Those that say so, and those of a server in trouble."""
    assert will_pass(status) == bool(passes)


@pytest.mark.parametrize(
    ("code", "final"),
    [
        ("unauthorized", True),
        ("forbidden", True),
        ("invalid_filter", True),
        ("not_found", True),
        ("authorization_expired", False),
        ("shutting_down", False),
        ("too_slow", False),
        ("too_many_connections", False),
        ("internal_error", False),
        ("from_the_future", False),
    ],
)
def test_which_farewells_are_for_good(code: str, final: bool) -> None:
    """A refusal that the next connection would meet again; not a token that may be renewed by then."""
    assert ends_for_good(code) == final
