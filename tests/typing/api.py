"""
The public API as its users write it: checked by mypy and pyright, never run.

Only names of the four doors are imported. What stops compiling here would stop compiling for users.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, assert_type

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from asgi_forum import (
    ConfigurationError,
    CursorExpired,
    Envelope,
    ErrorFrame,
    EventIdConflict,
    EventsFrame,
    Filter,
    Forbidden,
    Forum,
    ForumClosed,
    ForumError,
    ForumEvent,
    ForumMiddleware,
    ForumPage,
    ForumReset,
    ForumSubscription,
    Frame,
    HeartbeatFrame,
    InvalidEvent,
    Limits,
    LiveFrame,
    PayloadTooLarge,
    Receipt,
    ResetFrame,
    SourceUnavailable,
    StoredEvent,
    Subscription,
    TooSlow,
    Unauthorized,
)
from asgi_forum.client import ForumStream, Health, Page, Unreachable, connect, health, publish, read
from asgi_forum.sources import (
    EventSource,
    LiveSource,
    MemorySource,
    NearSource,
    RedisSource,
    ReportingSource,
    SourceFactory,
    SourceOptions,
    WritableSource,
)
from asgi_forum.sources import Page as SourcePage
from asgi_forum.testing import SourceSuite

# Setting up


def allow(connection: HTTPConnection, asked: Subscription) -> Subscription | None:
    """A hook that is a plain function: it narrows, refuses, or allows."""
    if "user" not in connection.query_params:
        raise Unauthorized("who are you?")
    assert_type(asked.filter, Filter)
    narrowed = asked.narrow(ticket=["T-1", "T-2"], event_type="forum")
    return Subscription(narrowed.filter, identity="me", expires_at=datetime.now(UTC))


async def allow_later(connection: HTTPConnection, asked: Subscription) -> bool:
    """A hook that is a coroutine, and says yes or no."""
    return asked.filter.matches is not None


async def allow_publish(connection: HTTPConnection, events: Sequence[ForumEvent]) -> None:
    """A hook for publishing."""
    if events[0].ticket == "secret":
        raise Forbidden


plain = Forum()
full = Forum(
    "memory://",
    name="board",
    heartbeat=15,
    retain=1000,
    limits=Limits(streams=5, streams_per_address=None, max_lag=100, send_timeout=10, max_stream_age=3600.0),
    on_lag="skip",
    authorize=allow,
    allow_publish=True,
    authorize_publish=allow_publish,
    allowed_origins=["https://app.example"],
    handle_signals=False,
)
redis_source = Forum(RedisSource("redis://localhost/1", name="board", retain_for=86400, wait_replicas=1))
own_source = Forum(MemorySource(retain=5, remember=60.0), authorize=allow_later)
from_environment: Forum = Forum.from_env(heartbeat=5.0)


async def stream(request: Request) -> Response:
    """A route of the host's own."""
    return full.response(request, ticket=request.query_params["ticket"], cursor="earliest")


app = Starlette(routes=[Mount("/forum", app=plain), Route("/watch", stream)], lifespan=plain.lifespan)
wrapped: ASGIApp = ForumMiddleware(app, forum=full, path="/forum")


# Publishing


async def publishing(forum: Forum) -> None:
    """One event, several, and from a thread."""
    receipt = await forum.publish(
        event_type="forum.post.added", ticket="T-1", run_id="r", actor_type="agent", payload={"n": 1}
    )
    assert_type(receipt, Receipt)
    assert_type((receipt.event_id, receipt.sequence, receipt.cursor, receipt.duplicate), tuple[str, int, str, bool])
    event = ForumEvent(event_type="forum.post.added", ticket="T-1", occurred_at=datetime.now(UTC)).with_id()
    assert_type(event, ForumEvent)
    assert_type(await forum.publish_many([event, event]), list[Receipt])
    assert_type(forum.publish_sync(event_type="forum.post.added", ticket="T-1"), Receipt)
    try:
        await forum.publish(event_type="forum.post.added", ticket="T-1", occurred_at="2026-02-10T12:00:00Z")
    except InvalidEvent as error:
        assert_type(error.details, list[dict[str, Any]])
    except EventIdConflict as error:
        assert_type((error.event_id, error.fields, error.index), tuple[str, tuple[str, ...], int])
    except PayloadTooLarge as error:
        assert_type(error.index, int | None)
    except SourceUnavailable as error:
        assert_type(error.event_ids, tuple[str, ...])
        assert_type(error.retry_after, int)
    except (ForumClosed, ConfigurationError) as error:
        assert_type(error.message, str)
    except ForumError as error:
        assert_type((error.code, error.status, error.close_code), tuple[str, int, int])


# Reading


async def subscribing(forum: Forum) -> None:
    """Events, frames, and what may be raised."""
    subscription = forum.subscribe(ticket=["T-1"], run_id="r", thread_id=None, event_type="forum", cursor=5, limit=10)
    assert_type(subscription, ForumSubscription)
    async with subscription as events:
        try:
            async for event in events:
                describe(event)
        except ForumReset as reset:
            assert_type(reset.next_cursor, str)
        except TooSlow:
            pass
        assert_type(events.cursor, str | None)
        async for frame in events.frames():
            tell(frame)
        await events.aclose()


def describe(event: StoredEvent) -> None:
    """What an event has."""
    assert_type((event.sequence, event.cursor, event.json), tuple[int, str, bytes])
    assert_type(event.payload, dict[str, Any])
    envelope = event.envelope
    assert_type(envelope, Envelope)
    assert_type((envelope.ticket, envelope.run_id, envelope.occurred_at), tuple[str, str | None, datetime])
    assert_type(StoredEvent.from_json(event.json), StoredEvent)


def tell(frame: Frame) -> str:
    """Every frame there is, and no other: a type checker sees that this returns."""
    match frame:
        case EventsFrame(events=events):
            return str(len(events))
        case LiveFrame(mode=mode):
            return mode
        case HeartbeatFrame(next_cursor=cursor):
            return cursor or ""
        case ResetFrame(reason=reason):
            return reason
        case ErrorFrame(code=code):
            return code


async def reading(forum: Forum) -> None:
    """A page, and the page after it."""
    page = await forum.read(ticket="T-1", cursor="earliest", limit=100, wait=2.5)
    assert_type(page, ForumPage)
    assert_type(page.has_more, bool)
    assert_type(page.json, bytes)
    for event in page.events:
        describe(event)
    try:
        await forum.read(cursor=page.next_cursor)
    except CursorExpired as error:
        assert_type(error.earliest_cursor, str)


def observing(forum: Forum) -> None:
    """Plain functions and coroutines."""

    async def later(event: StoredEvent) -> None:
        describe(event)

    unregister = forum.observe("forum.thread", describe)
    assert_type(unregister, Callable[[], None])
    unregister()
    forum.observe("", later)


async def living(forum: Forum) -> None:
    """Start, look, stop."""
    lifespan: AbstractAsyncContextManager[None] = forum.lifespan(app)
    async with lifespan, forum as same:
        assert_type(same, Forum)
        assert_type(await forum.health(), dict[str, Any])
        assert_type(forum.stats(), dict[str, Any])
        await forum.drain()
    await forum.aclose()


# A source of somebody else's


class ReadOnly:
    """A source that only reads is complete."""

    kind = "mine"

    async def open(self) -> None:
        """Get ready."""

    async def close(self) -> None:
        """Let go."""

    async def read(self, after: int, limit: int) -> SourcePage:
        """Read forwards."""
        raise SourceUnavailable

    async def read_before(self, before: int, limit: int) -> SourcePage:
        """Read backwards."""
        raise SourceUnavailable


def make(url: str, options: SourceOptions) -> EventSource:
    """What an entry point leads to."""
    return ReadOnly() if options.name == "mine" else MemorySource(retain=options.retain)


factory: SourceFactory = make
Forum(ReadOnly())


def abilities(source: EventSource) -> None:
    """What a source can do beside reading."""
    if isinstance(source, WritableSource):
        assert_type(source, WritableSource)
    if isinstance(source, ReportingSource):
        assert_type(source.report(), Mapping[str, Any])
    if isinstance(source, NearSource):
        assert_type(source.read_nowait(0, 10), SourcePage)
    live: LiveSource = MemorySource()
    writable: WritableSource = MemorySource()
    assert_type((live.kind, writable.kind), tuple[str, str])


class TestMine(SourceSuite):
    """The kit, for a source that is read from only."""

    shared = False
    keeps_beyond = None
    deadline = 30

    def make_source(self, options: SourceOptions) -> ReadOnly:
        """Make the source."""
        return ReadOnly()

    async def wipe(self, options: SourceOptions) -> None:
        """Delete its log."""


# The client


async def following(url: str) -> AsyncIterator[StoredEvent]:
    """A stream that resumes by itself."""
    connected = connect(url, ticket="T-1", cursor="latest", transport="ws", headers={"authorization": "Bearer x"})
    assert_type(connected, ForumStream)
    async with connected as events:
        async for event in events:
            assert_type(event, StoredEvent)
            yield event


async def asking(url: str) -> None:
    """One request each."""
    try:
        receipts = await publish(url, ForumEvent(event_type="forum.post.added", ticket="T-1"))
        assert_type(receipts, list[Receipt])
    except Unreachable as error:
        assert_type(error.event_ids, tuple[str, ...])
    page = await read(url, ticket="T-1", limit=5)
    assert_type(page, Page)
    assert_type(page.events, tuple[StoredEvent, ...])
    assert_type(await health(url), Health)
