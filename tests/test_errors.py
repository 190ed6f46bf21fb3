"""Errors: one tree, a code, a status and a close code for each, and messages that are fit to be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from asgi_forum import errors
from asgi_forum.errors import (
    AuthorizationExpired,
    ConfigurationError,
    CursorExpired,
    EventIdConflict,
    Forbidden,
    ForumClosed,
    ForumError,
    ForumReset,
    InternalError,
    InvalidCursor,
    InvalidEvent,
    MethodNotAllowed,
    PayloadTooLarge,
    PublishDisabled,
    ShuttingDown,
    SourceUnavailable,
    TooManyConnections,
    TooSlow,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    error_types,
    quote,
)


def family(kind: type[ForumError]) -> Iterator[type[ForumError]]:
    """An error's class and all below it that this package has."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__.startswith(errors.__name__):
            yield from family(child)


ALL = list(family(ForumError))

SECTION_8 = {
    "invalid_cursor": 400,
    "invalid_tail": 400,
    "invalid_limit": 400,
    "invalid_filter": 400,
    "invalid_wait": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "origin_not_allowed": 403,
    "publish_disabled": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "event_id_conflict": 409,
    "cursor_expired": 410,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "invalid_event": 422,
    "too_many_connections": 429,
    "source_unavailable": 503,
    "shutting_down": 503,
}
"""The codes of the protocol and their status."""

SECTION_5 = {
    "shutting_down": 1012,
    "authorization_expired": 1008,
    "too_many_connections": 1013,
    "too_slow": 1013,
    "internal_error": 1011,
}
"""The reasons for which a server ends a WebSocket, and their close codes."""


def drawn() -> dict[str, str]:
    """The tree in the module's docstring: each class's name and its parent's."""
    found: dict[str, str] = {}
    path = ["ForumError"]
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ((?:│   |    )*)[├└]── (\w+)", line):
            depth = len(match[1]) // 4 + 1
            found[match[2]] = path[depth - 1]
            path[depth:] = [match[2]]
    return found


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    """Every class stands in the drawing, under its parent, and nothing else does."""
    assert drawn() == {kind.__name__: kind.__base__.__name__ for kind in ALL[1:] if kind.__base__}


def test_all_errors_are_exported() -> None:
    """`__all__` holds every class of the tree."""
    assert {kind.__name__ for kind in ALL} <= set(errors.__all__)


@pytest.mark.parametrize(("code", "status"), SECTION_8.items())
def test_a_code_of_the_protocol_has_its_status(code: str, status: int) -> None:
    """Section 8's table is what the classes say."""
    assert error_types()[code].status == status


@pytest.mark.parametrize(("code", "close_code"), SECTION_5.items())
def test_a_reason_to_end_a_stream_has_its_close_code(code: str, close_code: int) -> None:
    """Section 5's list is what the classes say."""
    assert error_types()[code].close_code == close_code


def test_a_code_names_one_class() -> None:
    """A client that reads a code gets the class that has it: an internal error is no ForumClosed, though they share the code."""
    own = [kind for kind in ALL if "code" in vars(kind) and kind is not ForumError]
    assert len({kind.code for kind in own}) == len(own)
    assert all(error_types()[kind.code] is kind for kind in own)
    assert error_types()["internal_error"] is InternalError


NO: list[dict[str, Any]] = [{"loc": [], "msg": "no"}] * 3

EXAMPLES: list[tuple[ForumError, str, dict[str, object], dict[str, str]]] = [
    (
        InvalidCursor("x y"),
        "cursor: got 'x y', expected one of this forum's cursors, 'earliest', 'latest' or an integer >= 0",
        {},
        {},
    ),
    (Unauthorized(), "authorization is required", {}, {}),
    (Unauthorized("who?"), "who?", {}, {}),
    (AuthorizationExpired("over"), "over", {}, {}),
    (Forbidden(), "not allowed", {}, {}),
    (PublishDisabled(), "publishing over HTTP is off for this forum (allow_publish=True turns it on)", {}, {}),
    (
        MethodNotAllowed("PUT", ["GET", "HEAD"]),
        "method: got 'PUT', expected one of GET, HEAD",
        {},
        {"allow": "GET, HEAD"},
    ),
    (
        EventIdConflict("a", ["payload", "ticket"], 3),
        "event_id 'a' is taken by an event with another payload, ticket; nothing was published",
        {"event_id": "a", "index": 3},
        {},
    ),
    (
        CursorExpired("trimmed", "e.5.-"),
        "the events after this cursor can't be delivered (trimmed); reload, and go on from earliest_cursor",
        {"reason": "trimmed", "earliest_cursor": "e.5.-"},
        {},
    ),
    (PayloadTooLarge("too much"), "too much", {}, {}),
    (PayloadTooLarge("too much", 2), "too much", {"index": 2}, {}),
    (UnsupportedMediaType("text/plain"), "content-type: got 'text/plain', expected 'application/json'", {}, {}),
    (
        InvalidEvent([{"loc": [0, "ticket"], "msg": "blank"}]),
        "0.ticket: blank",
        {"details": [{"loc": [0, "ticket"], "msg": "blank"}]},
        {},
    ),
    (InvalidEvent(NO), "no (and 2 more)", {"details": NO}, {}),
    (TooManyConnections("full"), "full", {}, {"retry-after": "5"}),
    (SourceUnavailable(), "the event source can't be reached just now", {}, {"retry-after": "2"}),
    (
        SourceUnavailable("away", outcome="unknown", event_ids=["a", "b"]),
        "away",
        {"outcome": "unknown", "event_ids": ["a", "b"]},
        {"retry-after": "2"},
    ),
    (
        ShuttingDown(outcome="not_published"),
        "the server is restarting",
        {"outcome": "not_published"},
        {"retry-after": "1"},
    ),
    (TooSlow(), "the client is too slow; it may resume from its last cursor", {}, {"retry-after": "1"}),
    (ForumReset("skipped", "e.5.-"), "skipped: the events before e.5.- can't be delivered; reload, and go on", {}, {}),
    (InternalError(), "an internal error; the server's log has the cause", {}, {}),
    (ForumClosed(), "this forum is closed", {}, {}),
    (ConfigurationError("off"), "off", {}, {}),
]


@pytest.mark.parametrize(
    ("error", "message", "extra", "headers"), EXAMPLES, ids=[type(each[0]).__name__ for each in EXAMPLES]
)
def test_an_error_says_what_happened(
    error: ForumError, message: str, extra: dict[str, object], headers: dict[str, str]
) -> None:
    """The message is one line; what else programs need stands in fields and headers."""
    assert error.message == str(error) == message
    assert error.extra() == extra
    assert error.headers() == headers


def test_what_will_pass_says_when_to_come_back() -> None:
    """Every refusal that will pass has a Retry-After of a second at least."""
    assert {int(kind("x").headers()["retry-after"]) >= 1 for kind in family(Unavailable)} == {True}


@pytest.mark.parametrize(
    ("got", "quoted"),
    [
        ("x", "'x'"),
        (5, "5"),
        (None, "None"),
        ("a\nb\x1b[31m", r"'a\nb\x1b[31m'"),
        ("ü\u202e", r"'\xfc\u202e'"),
        ("x" * 58, "'" + "x" * 58 + "'"),
        ("x" * 59, "'" + "x" * 56 + "..."),
    ],
)
def test_what_somebody_sent_is_quoted_safely(got: object, quoted: str) -> None:
    """A message holds no control characters, nothing beyond ASCII, and no more than 60 characters of what it got."""
    assert quote(got) == quoted
    assert len(quote(got)) <= 60
