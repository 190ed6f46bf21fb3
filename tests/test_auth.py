"""Authorization: the app's hooks, what each of their answers means, and the Origin of browsers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from asgi_forum import ConfigurationError, Filter, ForumEvent, Subscription
from asgi_forum.auth import OriginPolicy, authorize_publish, authorize_subscription
from asgi_forum.errors import Forbidden, ForumError, InternalError, NotFound, OriginNotAllowed, Unauthorized
from tests.events import draft


def connection(*headers: tuple[str, str]) -> HTTPConnection:
    """A connection with these headers."""
    return HTTPConnection(
        {"type": "http", "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers]}
    )


# Origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "forum.example"),
        (None, None),
        ("https://forum.example", "forum.example"),
        ("http://forum.example", "forum.example"),
        ("https://FORUM.example", "Forum.Example"),
        ("https://forum.example:8443", "forum.example:8443"),
        ("https://forum.example", "forum.example:443"),
        ("https://forum.example:443", "forum.example"),
        ("http://forum.example", "forum.example:80"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[::1]", "[::1]:80"),
    ],
)
def test_a_page_of_the_forums_own_host_passes(origin: str | None, host: str | None) -> None:
    """Host and port are those of the Host header as written; the scheme is ignored, its own port may be left out."""
    OriginPolicy(()).check(
        connection(*[(name, value) for name, value in (("origin", origin), ("host", host)) if value is not None])
    )


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("null", "forum.example"),
        ("null", "null"),
        ("https://other.example", "forum.example"),
        ("https://forum.example.evil", "forum.example"),
        ("https://evil.forum.example", "forum.example"),
        ("https://forum.example:444", "forum.example"),
        ("https://forum.example", "forum.example:80"),
        ("http://forum.example", "forum.example:443"),
        ("https://forum.example:80", "forum.example"),
        ("https://forum.example", None),
        ("forum.example", "forum.example"),
        ("https://", ""),
        ("", "forum.example"),
        ("", ""),
        ("https://user@forum.example", "forum.example"),
        ("file://", "forum.example"),
    ],
)
def test_a_page_of_another_origin_is_refused(origin: str, host: str | None) -> None:
    """Another host, another port, no host to compare with, and what a page without an origin of its own sends."""
    with pytest.raises(OriginNotAllowed):
        OriginPolicy(()).check(connection(("origin", origin), *([] if host is None else [("host", host)])))


@pytest.mark.parametrize(
    "headers",
    [
        [("origin", "https://a.example"), ("origin", "https://forum.example"), ("host", "forum.example")],
        [("origin", "https://forum.example"), ("origin", "https://forum.example"), ("host", "forum.example")],
        [("origin", "https://forum.example"), ("host", "forum.example"), ("host", "a.example")],
    ],
)
@pytest.mark.parametrize("allowed", [(), ("*",), ("https://a.example",)])
def test_several_headers_are_refused(headers: list[tuple[str, str]], allowed: Sequence[str]) -> None:
    """Nobody can say which one counts; browsers send one."""
    with pytest.raises(OriginNotAllowed, match="several"):
        OriginPolicy(allowed).check(connection(*headers))


@pytest.mark.parametrize(
    ("allowed", "origin", "passes"),
    [
        ("https://app.example", "https://app.example", True),
        ("https://APP.example", "https://app.EXAMPLE", True),
        ("https://app.example", "http://app.example", False),
        ("https://app.example", "https://app.example:8443", False),
        ("https://app.example", "https://app.example.evil", False),
        ("http://localhost:3000", "http://localhost:3000", True),
        ("http://localhost:3000", "http://localhost:3001", False),
        ("*", "https://any.example", True),
        ("*", "null", False),
        ("capacitor://localhost", "capacitor://localhost", True),
    ],
)
def test_an_origin_may_be_allowed(allowed: str, origin: str, passes: bool) -> None:
    """As browsers write it, scheme and port included; `*` is any but `null`."""
    policy = OriginPolicy([allowed])
    policy.check(connection(("origin", "https://forum.example"), ("host", "forum.example")))
    if passes:
        policy.check(connection(("origin", origin), ("host", "forum.example")))
    else:
        with pytest.raises(OriginNotAllowed):
            policy.check(connection(("origin", origin), ("host", "forum.example")))


@pytest.mark.parametrize(
    "allowed",
    [
        "https://app.example",
        "*",
        ["app.example"],
        ["https://"],
        ["https://app.example/"],
        ["https://app.example/path"],
        ["https://app.example?q"],
        ["https://app.example#f"],
        ["https://user:secret@app.example"],
        [""],
        ["null"],
        ["**"],
        ["https://[::1"],
        [5],
        [None],
        None,
        5,
    ],
)
def test_an_allowed_origin_of_another_form_is_refused(allowed: Any) -> None:
    """It would never match, and the mistake would show as a refusal in somebody's browser."""
    with pytest.raises(ConfigurationError, match=r"^allowed_origins: got "):
        OriginPolicy(allowed)


# authorize

HERE = connection()
ASKED = Filter.of(ticket="T-1")


async def ask(answer: Any) -> Subscription:
    """Ask a hook that answers so."""

    def hook(_: HTTPConnection, asked: Subscription) -> Any:
        return answer(asked) if callable(answer) else answer

    return await authorize_subscription(hook, HERE, ASKED)


def itself(asked: Subscription) -> Subscription:
    """A hook's answer that is what was asked for."""
    return asked


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [None, True, itself])
async def test_a_hook_may_allow(answer: Any) -> None:
    """None, True, or the subscription itself: what was asked for is granted."""
    assert await ask(answer) == Subscription(ASKED)


@pytest.mark.anyio
async def test_without_a_hook_everything_is_allowed() -> None:
    """A forum is open unless its app says otherwise."""
    assert await authorize_subscription(None, HERE, ASKED) == Subscription(ASKED)
    await authorize_publish(None, HERE, [draft()])


@pytest.mark.anyio
async def test_a_hook_is_asked_with_the_connection_and_the_wish() -> None:
    """It sees who asks, and for what."""
    seen: list[object] = []

    async def hook(asking: HTTPConnection, asked: Subscription) -> None:
        seen.extend([asking, asked])

    await authorize_subscription(hook, HERE, ASKED)
    assert seen == [HERE, Subscription(ASKED)]


@pytest.mark.anyio
async def test_a_hook_may_narrow() -> None:
    """What it returns is what is granted, with its identity and its end."""
    until = time.time() + 60

    def narrows(asked: Subscription) -> Subscription:
        narrowed = asked.narrow(ticket="T-1", run_id=[])
        return Subscription(narrowed.filter, identity="me", expires_at=until)

    granted = await ask(narrows)
    assert granted == Subscription(ASKED.narrow(ticket="T-1", run_id=[]), "me", until)


def raising(error: Exception) -> Callable[[Any], Any]:
    """A hook's answer that is an exception."""

    def answer(_: Any) -> Any:
        raise error

    return answer


REFUSALS = [
    (False, Forbidden, "not allowed"),
    (raising(Unauthorized("who are you?")), Unauthorized, "who are you?"),
    (raising(Forbidden("not you")), Forbidden, "not you"),
    (raising(NotFound("no such board")), NotFound, "no such board"),
    (raising(HTTPException(401, "log in")), Unauthorized, "log in"),
    (raising(HTTPException(403, "no")), Forbidden, "no"),
    (raising(HTTPException(404, "not here")), Forbidden, "not here"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("answer", "error", "message"), REFUSALS)
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_hook_may_refuse(answer: Any, error: type[ForumError], message: str, is_async: bool) -> None:
    """By False, by an error of the forum, or by Starlette's; a 401 is a 401, the rest a 403."""

    def hook(_: HTTPConnection, asked: Any) -> Any:
        return answer(asked) if callable(answer) else answer

    async def async_hook(_: HTTPConnection, asked: Any) -> Any:
        return hook(_, asked)

    for call in (
        authorize_subscription(async_hook if is_async else hook, HERE, ASKED),
        authorize_publish(async_hook if is_async else hook, HERE, [draft()]),
    ):
        with pytest.raises(error) as caught:
            await call
        assert type(caught.value) is error
        assert caught.value.message == message


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        raising(ValueError("the secret")),
        raising(ConfigurationError("the secret")),
        0,
        1,
        "yes",
        {"ticket": "T-1"},
        Filter(),
    ],
)
async def test_a_hook_that_fails_lets_nobody_in(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An exception, or an answer that means nothing, is a 500 that says nothing of its cause; the log has it, once."""
    with pytest.raises(InternalError) as caught:
        await ask(answer)
    assert "secret" not in caught.value.message
    assert [record.levelno for record in caplog.records if record.name == "asgi_forum.auth"] == [logging.ERROR]


@pytest.mark.anyio
async def test_an_answer_for_a_publish_is_not_a_subscription() -> None:
    """The hook for publishing says yes or no; a function that was meant for reading does not let anybody publish."""

    def hook(_: HTTPConnection, events: Sequence[ForumEvent]) -> Any:
        return Subscription(Filter())

    with pytest.raises(InternalError):
        await authorize_publish(hook, HERE, [draft()])


@pytest.mark.anyio
@pytest.mark.parametrize("ago", [0.0, 1.0, 10**9])
async def test_what_has_expired_is_not_granted(ago: float) -> None:
    """A subscription whose end has passed is a 401 before it begins."""

    def expired(asked: Subscription) -> Subscription:
        return Subscription(asked.filter, expires_at=time.time() - ago)

    with pytest.raises(Unauthorized, match="expired"):
        await ask(expired)


@pytest.mark.anyio
async def test_a_filter_that_is_none_is_the_hooks_fault(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that writes `Subscription("T-1")` lets nobody see anything, and the log says why."""

    def hook(asked: Subscription) -> Subscription:
        return replace(asked, filter=cast(Any, "T-1"))

    with pytest.raises(InternalError):
        await ask(hook)
    assert "got filter='T-1', expected a Filter" in caplog.text


@pytest.mark.parametrize("as_datetime", [False, True])
def test_an_end_is_unix_time_or_a_datetime(as_datetime: bool) -> None:
    """Both say the same; None is for ever."""
    until = datetime.now(UTC) + timedelta(seconds=60) if as_datetime else time.time() + 60
    left = Subscription(ASKED, expires_at=until).seconds_left()
    assert left is not None
    assert 0 < left <= 60
    assert Subscription(ASKED).seconds_left() is None


def test_narrowing_a_subscription_narrows_its_filter() -> None:
    """What else it holds stays."""
    before = Subscription(ASKED, "me", 5.0)
    assert before.narrow(ticket="T-1", event_type="forum") == Subscription(
        ASKED.narrow(ticket="T-1", event_type="forum"), "me", 5.0
    )
    assert before.filter == ASKED


@pytest.mark.anyio
@pytest.mark.parametrize("until", ["2030-01-01", float("nan"), datetime(2030, 1, 1), True, object()])
async def test_a_time_that_is_none_is_the_hooks_fault(until: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody can tell when the stream would have to end: it does not begin, and the log says why."""

    def hook(connection: HTTPConnection, asked: Subscription) -> Subscription:
        return replace(asked, expires_at=until)

    with pytest.raises(InternalError):
        await authorize_subscription(hook, connection(), ASKED)
    assert "expires_at" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize("identity", [7, ["ann"], object()])
async def test_an_identity_that_is_none_is_the_hooks_fault(identity: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its streams could not be counted: the stream does not begin, and the log says why."""

    def hook(connection: HTTPConnection, asked: Subscription) -> Subscription:
        return replace(asked, identity=identity)

    with pytest.raises(InternalError):
        await authorize_subscription(hook, connection(), ASKED)
    assert "expected a string or None" in caplog.text
