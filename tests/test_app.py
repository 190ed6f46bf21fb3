"""Forum: what it refuses to be set to, publishing, reading, observing, and its end, as the host's own code sees it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio import wait_all_tasks_blocked
from starlette.requests import HTTPConnection

from asgi_forum import (
    ConfigurationError,
    CursorExpired,
    EventIdConflict,
    Forum,
    ForumClosed,
    ForumError,
    ForumEvent,
    InvalidEvent,
    Limits,
    PayloadTooLarge,
    SourceUnavailable,
    StoredEvent,
    Subscription,
)
from asgi_forum.errors import InvalidCursor, InvalidFilter, InvalidLimit, InvalidTail, InvalidWait
from asgi_forum.sources import MemorySource
from tests.events import TYPE, draft, sequences
from tests.hub.bench import DEADLINE, until
from tests.wire.sources import DistantSource, HistorySource


@asynccontextmanager
async def opened(count: int = 0, source: Any = "memory://", **settings: Any) -> AsyncGenerator[Forum, None]:
    """A forum at work, with so many events."""
    async with Forum(source, handle_signals=False, **settings) as forum:
        with anyio.fail_after(DEADLINE):
            if count:
                await forum.publish_many([draft()] * count)
            yield forum


# Settings


def allow(connection: HTTPConnection, asked: Subscription) -> bool:
    """A hook that lets everybody in."""
    return True


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": ""}, "source: got"),
        ({"source": "nothing://x"}, "source: got"),
        ({"source": "memory://x"}, "source: got"),
        ({"source": object()}, "source: got"),
        ({"source": None}, "source: got"),
        ({"name": ""}, "name: got"),
        ({"name": "a b"}, "name: got"),
        ({"name": 5}, "name: got"),
        ({"heartbeat": 0}, "heartbeat: got 0"),
        ({"heartbeat": -1.0}, "heartbeat: got -1.0"),
        ({"heartbeat": float("nan")}, "heartbeat: got nan"),
        ({"heartbeat": float("inf")}, "heartbeat: got inf"),
        ({"heartbeat": True}, "heartbeat: got True"),
        ({"heartbeat": "25"}, "heartbeat: got '25'"),
        ({"heartbeat": None}, "heartbeat: got None"),
        ({"retain": 0}, "retain: got 0"),
        ({"retain": 1.5}, "retain: got 1.5"),
        ({"retain": True}, "retain: got True"),
        ({"limits": {"streams": 5}}, "limits: got"),
        ({"on_lag": "wait"}, "on_lag: got 'wait', expected one of resume, skip, disconnect"),
        ({"on_lag": None}, "on_lag: got None"),
        ({"authorize": "everybody"}, "authorize: got"),
        ({"authorize_publish": 5}, "authorize_publish: got"),
        ({"allow_publish": True, "authorize": allow}, "authorize_publish"),
        ({"source": HistorySource(), "allow_publish": True}, "takes no events"),
        ({"allowed_origins": "https://a.example"}, "allowed_origins: got"),
        ({"allowed_origins": ["a.example"]}, "allowed_origins: got"),
        ({"allowed_origins": [5]}, "allowed_origins: got"),
        ({"allowed_origins": None}, "allowed_origins: got"),
        ({"allow_publish": "false"}, "allow_publish: got 'false', expected True or False"),
        ({"handle_signals": 1}, "handle_signals: got 1, expected True or False"),
    ],
)
def test_a_setting_that_is_off_is_refused(settings: dict[str, Any], message: str) -> None:
    """Where it is set, with its name in the message: not later, in the middle of a request."""
    with pytest.raises(ConfigurationError) as caught:
        Forum(**settings)
    assert message in caught.value.message


def test_authorize_does_not_have_to_mean_publishing() -> None:
    """With publishing off, or with a hook for it, `authorize` alone is fine."""
    Forum(authorize=allow)
    Forum(authorize=allow, allow_publish=True, authorize_publish=lambda connection, events: True)


PROGRAM = """
import asyncio
from asgi_forum import ConfigurationError, Forum

async def retained(**options):
    async with Forum.from_env(handle_signals=False, **options) as forum:
        for _ in range(8):
            await forum.publish(event_type="a", ticket="T-1")
        return [event.sequence for event in (await forum.read()).events]

print(asyncio.run(retained()))
print(asyncio.run(retained(retain=2)))
try:
    Forum.from_env(name="a b")
except ConfigurationError as error:
    print(error)
"""


def test_a_forum_is_made_of_its_environment() -> None:
    """`from_env` reads it; what is given in code wins; what is off is one clear error."""
    environment = {**os.environ, "ASGI_FORUM_RETAIN": "5", "ASGI_FORUM_ON_LAG": "skip"}
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=30)
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "[4, 5, 6, 7, 8]",
        "[7, 8]",
        "name: got 'a b', expected 1 to 64 of A-Z a-z 0-9 _ . -",
    ]


# Publishing


@pytest.mark.anyio
async def test_an_event_is_published_as_it_was_given() -> None:
    """Every field, normalised; the receipt says where it is."""
    async with opened() as forum:
        receipt = await forum.publish(
            event_type="forum.post.added",
            ticket=" T-1 ",
            thread_id="h",
            run_id="r",
            agent_name="a",
            actor_type="agent",
            actor_name="n",
            correlation_id="c",
            causation_id="d",
            event_id="e",
            event_version=2,
            occurred_at="2026-02-10T13:00:00+01:00",
            payload={"n": 1},
        )
        page = await forum.read()
        event = page.events[0]
        assert (receipt.event_id, receipt.sequence, receipt.cursor, receipt.duplicate) == ("e", 1, event.cursor, False)
        assert event.payload == {"n": 1}
        envelope = event.envelope
        assert (envelope.ticket, envelope.thread_id, envelope.run_id, envelope.agent_name) == ("T-1", "h", "r", "a")
        assert (envelope.actor_type, envelope.actor_name, envelope.event_version) == ("agent", "n", 2)
        assert (envelope.correlation_id, envelope.causation_id, envelope.event_id) == ("c", "d", "e")
        assert envelope.occurred_at.isoformat() == "2026-02-10T12:00:00+00:00"


@pytest.mark.anyio
async def test_repeating_a_publish_is_safe() -> None:
    """With an id it is the first one's receipt; what was new and what was not is counted."""
    async with opened() as forum:
        first = await forum.publish(event_type=TYPE, ticket="T-1", event_id="a")
        again = await forum.publish(event_type=TYPE, ticket="T-1", event_id="a")
        assert (again.sequence, again.cursor, again.duplicate) == (first.sequence, first.cursor, True)
        with pytest.raises(EventIdConflict):
            await forum.publish(event_type=TYPE, ticket="T-2", event_id="a")
        stats = forum.stats()
        assert (stats["published"], stats["duplicates"]) == (1, 1)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "given",
    [
        {"event_type": "A", "ticket": "T-1"},
        {"event_type": TYPE, "ticket": ""},
        {"event_type": TYPE, "ticket": "T-1", "payload": {"a": {1, 2}}},
    ],
)
async def test_an_event_that_is_off_is_refused(given: dict[str, Any]) -> None:
    """By InvalidEvent, in the loop and in threads alike; nothing is published."""
    async with opened() as forum:
        with pytest.raises(InvalidEvent):
            await forum.publish(**given)
        with pytest.raises(InvalidEvent):
            await anyio.to_thread.run_sync(partial(forum.publish_sync, **given))
        assert (await forum.read()).events == []


@pytest.mark.anyio
@pytest.mark.parametrize("events", [[{"event_type": TYPE, "ticket": "T-1"}], [None], ["x"], "x", 5, None])
async def test_what_is_no_list_of_events_is_refused(events: Any) -> None:
    """A dictionary looks like an event, and is none: the forum's own error says so, not a traceback."""
    async with opened() as forum:
        with pytest.raises(ForumError):
            await forum.publish_many(events)


@pytest.mark.anyio
async def test_several_are_published_or_none() -> None:
    """Consecutive sequences, in order; a fault names the event's index."""
    async with opened(limits=Limits(event_bytes=1000)) as forum:
        assert [each.sequence for each in await forum.publish_many([draft()] * 3)] == [1, 2, 3]
        with pytest.raises(PayloadTooLarge) as caught:
            await forum.publish_many([draft(), draft(payload={"text": "x" * 1000})])
        assert caught.value.index == 1
        with pytest.raises(InvalidEvent):
            await forum.publish_many([])
        assert sequences(await forum.read()) == [1, 2, 3]


@pytest.mark.anyio
async def test_a_publish_that_fails_says_what_became_of_it() -> None:
    """`not_published` or `unknown`, and every id, those that were made here included: so it can be repeated."""
    source = DistantSource()
    async with opened(0, source) as forum:
        source.deaf = True
        with pytest.raises(SourceUnavailable) as caught:
            await forum.publish_many([draft(event_id="a"), draft()])
        assert caught.value.outcome == "unknown"
        ids = caught.value.event_ids
        assert ids[0] == "a"
        source.deaf = False
        receipts = await forum.publish_many([draft(event_id=each) for each in ids])
        assert [each.duplicate for each in receipts] == [True, True]
        source.away = True
        with pytest.raises(SourceUnavailable) as caught:
            await forum.publish_many([draft()])
        assert caught.value.outcome == "not_published"
        assert len(caught.value.event_ids) == 1


@pytest.mark.anyio
async def test_a_source_that_only_reads_takes_no_events() -> None:
    """The error says which one it is."""
    async with opened(0, HistorySource()) as forum:
        with pytest.raises(ConfigurationError, match="'history' takes no events"):
            await forum.publish(event_type=TYPE, ticket="T-1")


# Publishing from threads


@pytest.mark.anyio
async def test_a_thread_may_publish() -> None:
    """One of the loop's workers, or any other of the process: it blocks until the event is accepted."""
    async with opened() as forum:
        receipts = [await anyio.to_thread.run_sync(partial(forum.publish_sync, event_type=TYPE, ticket="T-1"))]

        def publish() -> None:
            receipts.append(forum.publish_sync(event_type=TYPE, ticket="T-1"))

        thread = threading.Thread(target=publish)
        thread.start()
        await until(lambda: len(receipts) == 2)
        thread.join(DEADLINE)
        assert [each.sequence for each in receipts] == [1, 2]


@pytest.mark.anyio
async def test_a_worker_thread_may_be_the_first_user() -> None:
    """The forum starts in the loop that the thread belongs to."""
    forum = Forum(handle_signals=False)
    receipt = await anyio.to_thread.run_sync(partial(forum.publish_sync, event_type=TYPE, ticket="T-1"))
    assert receipt.sequence == 1
    assert sequences(await forum.read()) == [1]
    await forum.aclose()


@pytest.mark.anyio
async def test_the_loops_own_thread_may_not_block() -> None:
    """It would wait for itself: the error says what to write instead."""
    async with opened() as forum:
        with pytest.raises(ConfigurationError, match=r"await forum\.publish"):
            forum.publish_sync(event_type=TYPE, ticket="T-1")


def test_a_thread_without_a_loop_may_not_be_the_first_user() -> None:
    """Nobody knows where the forum should start: the error says how to start it."""
    with pytest.raises(ConfigurationError, match="start the forum first"):
        Forum(handle_signals=False).publish_sync(event_type=TYPE, ticket="T-1")


@pytest.mark.anyio
async def test_errors_reach_the_thread() -> None:
    """As `publish` raises them."""
    async with opened() as forum:
        await forum.publish(event_type=TYPE, ticket="T-1", event_id="a")
        with pytest.raises(EventIdConflict):
            await anyio.to_thread.run_sync(partial(forum.publish_sync, event_type=TYPE, ticket="T-2", event_id="a"))


# Reading


@pytest.mark.anyio
async def test_a_page_begins_at_the_earliest() -> None:
    """Unless it is said otherwise; filters mean what they mean in a query."""
    async with opened(2) as forum:
        await forum.publish(event_type="a.b", ticket="T-2", run_id="r", thread_id="h")
        assert sequences(await forum.read()) == [1, 2, 3]
        assert sequences(await forum.read(cursor="latest")) == []
        assert sequences(await forum.read(cursor=1, limit=1)) == [2]
        assert sequences(await forum.read(tail=2)) == [2, 3]
        wishes: list[dict[str, Any]] = [
            {"ticket": "t-2"},
            {"run_id": "R"},
            {"thread_id": ["H", "x"]},
            {"event_type": "a"},
        ]
        for wish in wishes:
            assert sequences(await forum.read(**wish)) == [3]


@pytest.mark.anyio
async def test_a_page_may_wait_for_a_match() -> None:
    """In seconds; it returns with the first."""
    async with opened() as forum, anyio.create_task_group() as tasks:
        found: list[int] = []

        async def read() -> None:
            found.extend(sequences(await forum.read(ticket="mine", cursor="latest", wait=60)))

        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        await forum.publish(event_type=TYPE, ticket="other")
        await forum.publish(event_type=TYPE, ticket="mine")
        await until(lambda: found == [2])


@pytest.mark.anyio
@pytest.mark.parametrize("wait", [-1, float("nan"), "5", None])
async def test_a_wait_that_is_off_is_refused(wait: Any) -> None:
    """By the forum's own error, as in a query."""
    async with opened() as forum:
        with pytest.raises(InvalidWait):
            await forum.read(wait=wait)


@pytest.mark.anyio
async def test_a_page_that_can_not_go_on_is_an_error() -> None:
    """With the reason, and where to go on."""
    async with opened(1) as forum:
        with pytest.raises(CursorExpired) as caught:
            await forum.read(cursor=9)
        assert (caught.value.reason, sequences(await forum.read(cursor=caught.value.earliest_cursor))) == ("ahead", [1])


WRONG: list[tuple[dict[str, Any], type[ForumError]]] = [
    ({"ticket": ""}, InvalidFilter),
    ({"ticket": ["a"] * 33}, InvalidFilter),
    ({"ticket": 5}, InvalidFilter),
    ({"run_id": "\n"}, InvalidFilter),
    ({"thread_id": [None]}, InvalidFilter),
    ({"event_type": "a b"}, InvalidFilter),
    ({"cursor": "x"}, InvalidCursor),
    ({"cursor": -1}, InvalidCursor),
    ({"tail": -1}, InvalidTail),
    ({"tail": 1, "cursor": 1}, InvalidTail),
    ({"limit": 0}, InvalidLimit),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("wish", "error"), WRONG)
async def test_a_wish_that_is_off_is_refused_at_once(wish: dict[str, Any], error: type[ForumError]) -> None:
    """By the same errors everywhere; `subscribe` does not wait for its block to say so."""
    forum = Forum(handle_signals=False)
    with pytest.raises(error):
        forum.subscribe(**wish)
    with pytest.raises(error):
        await forum.read(**wish)
    assert forum.stats() == {}


# Observing


@pytest.mark.anyio
async def test_an_observer_may_be_registered_in_a_thread() -> None:
    """Of a plain endpoint, say; and what is no function is refused before anything is kept of it."""
    seen: list[int] = []

    def callback(event: StoredEvent) -> None:
        seen.append(event.sequence)

    async with Forum(handle_signals=False) as forum:
        unregister = await anyio.to_thread.run_sync(forum.observe, "", callback)
        await forum.publish(event_type="a.b", ticket="T-1")
        with anyio.fail_after(10):
            while not seen:
                await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(unregister)
        with pytest.raises(ConfigurationError, match="callback: got None"):
            forum.observe("", cast(Any, None))
    assert seen == [1]


@pytest.mark.anyio
async def test_an_observer_sees_what_comes() -> None:
    """Of its type and below it; registered before the forum has begun, or while it is at work."""
    forum = Forum(handle_signals=False)
    before, during = list[int](), list[int]()

    async def first(event: StoredEvent) -> None:
        before.append(event.sequence)

    def second(event: StoredEvent) -> None:
        during.append(event.sequence)

    unregister = forum.observe("forum", first)
    await forum.health()
    await wait_all_tasks_blocked()
    await forum.publish(event_type=TYPE, ticket="T-1")
    forum.observe("", second)
    await wait_all_tasks_blocked()
    await forum.publish(event_type="a", ticket="T-1")
    await forum.publish(event_type=TYPE, ticket="T-1")
    await until(lambda: (before, during) == ([1, 3], [2, 3]))
    unregister()
    unregister()
    await forum.publish(event_type=TYPE, ticket="T-1")
    await until(lambda: during == [2, 3, 4])
    await forum.aclose()
    assert before == [1, 3]
    with pytest.raises(InvalidFilter):
        forum.observe("a b", first)


# Health


@pytest.mark.anyio
async def test_health_tells_how_it_is() -> None:
    """The source, the streams, and where the log ends."""
    async with opened(2) as forum:
        receipt = await forum.publish(event_type=TYPE, ticket="T-1")
        assert await forum.health() == {
            "status": "ok",
            "source": {"kind": "memory", "available": True},
            "streams": {"sse": 0, "websocket": 0},
            "cursor": receipt.cursor,
        }


@pytest.mark.anyio
async def test_health_of_a_source_without_a_feed_asks_it() -> None:
    """There is no feed whose loss would tell that it is away."""

    class Sometimes(HistorySource):
        """A log that can be read at times."""

        away = False

        async def read(self, after: int, limit: int) -> Any:
            """Read, unless it is away."""
            if self.away:
                raise SourceUnavailable
            return await super().read(after, limit)

    source = Sometimes()
    (receipt,) = await source.append(draft())
    async with opened(0, source) as forum:
        health = await forum.health()
        assert (health["status"], health["cursor"]) == ("ok", receipt.cursor)
        source.away = True
        health = await forum.health()
        assert (health["status"], health["source"]["available"], health["cursor"]) == ("degraded", False, None)


@pytest.mark.anyio
async def test_stats_count_since_the_beginning() -> None:
    """Nothing before the first use."""
    forum = Forum(handle_signals=False)
    assert forum.stats() == {}
    await forum.publish_many([draft()] * 3)
    async with forum.subscribe(cursor=0) as events:
        await anext(events)
        assert forum.stats()["delivered"] == 3
        assert forum.stats()["streams"] == {"python": 1}
    await forum.aclose()
    assert forum.stats() == {}


# The end


USES: list[Callable[[Forum], Awaitable[object]]] = [
    lambda forum: forum.publish(event_type=TYPE, ticket="T-1"),
    lambda forum: forum.publish_many([draft()]),
    lambda forum: forum.read(),
    lambda forum: forum.health(),
    lambda forum: forum.subscribe().__aenter__(),
]


@pytest.mark.anyio
@pytest.mark.parametrize("use", USES)
async def test_a_closed_forum_does_nothing(use: Callable[[Forum], Awaitable[object]]) -> None:
    """Everything is ForumClosed; closing again is harmless, and it can be opened again, with its log."""
    forum = Forum(handle_signals=False)
    await forum.publish(event_type=TYPE, ticket="T-1")
    await forum.aclose()
    await forum.aclose()
    with pytest.raises(ForumClosed):
        await use(forum)
    async with forum:
        assert sequences(await forum.read()) == [1]
    with pytest.raises(ForumClosed):
        await use(forum)


@pytest.mark.anyio
async def test_a_lifespan_starts_and_stops_it() -> None:
    """As Starlette's argument, or inside the host's own; an error in it stops the forum too."""
    forum = Forum(handle_signals=False)
    for _ in range(2):
        async with forum.lifespan(object()):
            assert forum.stats() != {}
        assert forum.stats() == {}

    async def fail() -> None:
        async with forum.lifespan():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert forum.stats() == {}


@pytest.mark.anyio
async def test_draining_waits_for_streams_no_longer_than_it_may() -> None:
    """Publishing and pages go on; a stream that stays is left after `stop_after`."""
    async with opened(limits=Limits(stop_after=0.05)) as forum:
        await Forum(handle_signals=False).drain()
        async with forum.subscribe():
            with anyio.fail_after(1.0):
                await forum.drain()
            await forum.publish(event_type=TYPE, ticket="T-1")
            assert sequences(await forum.read()) == [1]


def test_a_log_outlives_the_loop_it_was_used_in() -> None:
    """Test clients open one loop after the other."""
    forum = Forum(handle_signals=False)

    async def use() -> list[int]:
        await forum.publish(event_type=TYPE, ticket="T-1")
        return sequences(await forum.read())

    assert [asyncio.run(use()) for _ in range(3)] == [[1], [1, 2], [1, 2, 3]]


def test_two_loops_at_once_are_refused() -> None:
    """The second one hears why."""
    forum = Forum(handle_signals=False)

    async def first() -> None:
        await forum.publish(event_type=TYPE, ticket="T-1")
        with anyio.from_thread.start_blocking_portal() as portal:
            with pytest.raises(ConfigurationError, match="one forum for each loop"):
                portal.call(partial(forum.publish, event_type=TYPE, ticket="T-1"))
            with pytest.raises(ConfigurationError, match="close it there"):
                portal.call(forum.aclose)
        await forum.aclose()

    asyncio.run(first())


# As an ASGI application


class Wire:
    """What a server would see of one connection."""

    def __init__(self, *received: dict[str, Any]) -> None:
        """Begin with what the server has to tell."""
        self.received = list(received)
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> Any:
        """Tell the next thing; after the last one nothing comes."""
        if not self.received:
            await anyio.sleep_forever()
        return self.received.pop(0)

    async def send(self, message: Any) -> None:
        """Keep what was sent."""
        self.sent.append(message)


@pytest.mark.anyio
async def test_served_by_itself_it_answers_the_lifespan() -> None:
    """It starts and stops as the server says."""
    forum = Forum(handle_signals=False)
    wire = Wire({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await forum({"type": "lifespan"}, wire.receive, wire.send)
    assert [message["type"] for message in wire.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(ForumClosed):
        await forum.publish(event_type=TYPE, ticket="T-1")


@pytest.mark.anyio
async def test_a_start_that_fails_is_told_to_the_server() -> None:
    """With its message: the server then stops, and says why."""

    class Refusing(MemorySource):
        """A log that can't be opened."""

        async def open(self) -> None:
            """Refuse."""
            raise ConfigurationError("the log can't be numbered on")

    wire = Wire({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await Forum(Refusing(), handle_signals=False)({"type": "lifespan"}, wire.receive, wire.send)
    assert wire.sent[0] == {"type": "lifespan.startup.failed", "message": "the log can't be numbered on"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("scope", "received", "sent"),
    [
        (
            {"type": "http", "method": "GET", "path": "/events", "headers": [], "query_string": b""},
            {},
            "http.response.start",
        ),
        (
            {"type": "http", "method": "POST", "path": "/events", "headers": [], "query_string": b""},
            {},
            "http.response.start",
        ),
        (
            {"type": "websocket", "path": "/stream", "headers": [], "query_string": b""},
            {"type": "websocket.connect"},
            "websocket.close",
        ),
    ],
)
async def test_a_closed_forum_refuses_connections(scope: dict[str, Any], received: dict[str, Any], sent: str) -> None:
    """503 and `shutting_down`, or a close: the server may be restarting."""
    forum = Forum(handle_signals=False)
    await forum.aclose()
    wire = Wire(received)
    await forum(scope, wire.receive, wire.send)
    assert wire.sent[0]["type"] == sent
    if sent == "http.response.start":
        assert wire.sent[0]["status"] == 503
        assert b'"code":"shutting_down"' in wire.sent[1]["body"]
        assert (b"not_published" in wire.sent[1]["body"]) == (scope["method"] == "POST")
    else:
        assert wire.sent[0]["reason"] == "shutting_down"


def stream_scope(accept: bytes = b"text/event-stream") -> dict[str, Any]:
    """The scope of a browser's `GET /stream`."""
    headers = [(b"accept", accept)]
    return {"type": "http", "method": "GET", "path": "/stream", "headers": headers, "query_string": b""}


@pytest.mark.anyio
async def test_a_closed_forum_sends_browsers_away_for_a_while() -> None:
    """An EventSource never comes back after a 503: it gets a stream that ends, on the forum's address and on a host's own."""
    forum = Forum(handle_signals=False)
    await forum.aclose()
    scope = stream_scope()
    direct, own = Wire(), Wire()
    await forum(scope, direct.receive, direct.send)
    await forum.response(HTTPConnection(scope))(scope, own.receive, own.send)
    for wire in (direct, own):
        assert wire.sent[0]["status"] == 200
        assert wire.sent[1]["body"].startswith(b"retry: ")
        assert b'"code":"shutting_down"' in wire.sent[1]["body"]


@pytest.mark.anyio
async def test_a_request_that_a_stop_overtakes_is_told_what_became_of_it() -> None:
    """Its body arrives when the forum is closed: nothing of it was published, and it may be repeated."""
    forum = Forum(handle_signals=False, allow_publish=True)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await forum.aclose()
        events = b'[{"event_type": "a.b", "ticket": "T-1", "event_id": "mine"}, {"event_type": "a.b", "ticket": "T-1"}]'
        return {"type": "http.request", "body": events}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/events", "headers": headers, "query_string": b""}
    await forum(scope, receive, send)
    assert sent[0]["status"] == 503
    error = json.loads(sent[1]["body"])["error"]
    assert (error["code"], error["outcome"]) == ("shutting_down", "not_published")
    mine, made = error["event_ids"]
    assert (mine, bool(made)) == ("mine", True)


@pytest.mark.anyio
async def test_a_stop_ends_a_read_that_waits() -> None:
    """At once, with the page that there is; drained, a forum still reads, but does not wait."""
    forum = Forum(handle_signals=False)
    async with forum:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(forum.read, cursor="latest", wait=3600))
                await wait_all_tasks_blocked()
                await forum.drain()
            assert (await forum.read(wait=3600)).events == []


def test_publishing_from_a_thread_after_the_end_is_told() -> None:
    """The forum is closed, which is another thing than not having begun."""
    forum = Forum(handle_signals=False)
    with pytest.raises(ConfigurationError, match="start the forum first"):
        forum.publish_sync(event_type=TYPE, ticket="T-1")

    async def begin_and_end() -> None:
        async with forum:
            pass

    asyncio.run(begin_and_end())
    with pytest.raises(ForumClosed):
        forum.publish_sync(event_type=TYPE, ticket="T-1")


LEFT = """
import asyncio
from asgi_forum import Forum

forum = Forum(handle_signals=False)
forum.observe("", lambda event: None)
loop = asyncio.new_event_loop()
first = loop.run_until_complete(forum.publish(event_type="a.b", ticket="T-1"))
loop.close()

async def go_on():
    second = await forum.publish(event_type="a.b", ticket="T-1")
    await forum.aclose()
    return second

print(first.sequence, asyncio.run(go_on()).sequence, flush=True)
"""


def test_a_loop_that_was_left_in_the_middle_does_not_keep_the_log() -> None:
    """Test clients close loops with tasks in them: the next loop goes on with the log, and nobody wakes the dead."""
    found = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, timeout=60, check=False)
    assert found.stdout == "1 2\n"
    assert "feed_failed" not in found.stderr


def test_an_event_of_the_hosts_own_is_checked_when_it_is_made() -> None:
    """ForumEvent is pydantic's: the same rules, before anything is published."""
    with pytest.raises(ValueError, match="ticket"):
        ForumEvent(event_type=TYPE, ticket="")
