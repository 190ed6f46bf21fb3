"""publish(), read() and health(): one request each, on a real server."""

from __future__ import annotations

import math
from typing import Any

import anyio
import anyio.abc
import httpx2
import pytest
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse

from asgi_forum import Forum, ForumEvent, Limits
from asgi_forum.client import UnexpectedAnswer, Unreachable, health, publish, read
from asgi_forum.errors import (
    ConfigurationError,
    CursorExpired,
    EventIdConflict,
    ForumError,
    InvalidEvent,
    InvalidLimit,
    InvalidWait,
    NotFound,
    PayloadTooLarge,
    PublishDisabled,
    SourceUnavailable,
    Unauthorized,
    Unavailable,
)
from tests.client.site import DEADLINE, Site

pytestmark = pytest.mark.anyio

DRAFT: dict[str, Any] = {"event_type": "forum.post.added", "ticket": "T-1"}


async def test_events_are_published_in_order(site: Site) -> None:
    """As models or as their fields, one or several; the receipts tell where they are."""
    first = await publish(site.url, {**DRAFT, "payload": {"n": 1}})
    second = await publish(site.url, ForumEvent(**DRAFT, event_id="mine"))
    more = await publish(site.url, [DRAFT, ForumEvent(**DRAFT)])
    assert [each.sequence for each in first + second + more] == [1, 2, 3, 4]
    assert second[0].event_id == "mine"
    assert not any(each.duplicate for each in first + second + more)


async def test_every_field_arrives(site: Site) -> None:
    """As it was given; `occurred_at` in UTC."""
    fields = {
        **DRAFT,
        "thread_id": "thr-9",
        "run_id": "run-7",
        "agent_name": "planner",
        "actor_type": "agent",
        "actor_name": "plännér 😀",
        "correlation_id": "c",
        "causation_id": "d",
        "event_id": "e",
        "event_version": 2,
        "payload": {"\u2028": [1.5, None, {"a": "\x7f"}]},
    }
    await publish(site.url, {**fields, "occurred_at": "2026-02-10T14:56:00.123+02:00"})
    (event,) = (await read(site.url)).events
    for name, value in fields.items():
        assert (event.payload if name == "payload" else getattr(event.envelope, name)) == value
    assert event.envelope.occurred_at.isoformat() == "2026-02-10T12:56:00.123000+00:00"


async def test_publishing_again_with_the_same_id_is_a_duplicate(site: Site) -> None:
    """With the first one's sequence; other content is a conflict that names the event."""
    event = ForumEvent(**DRAFT, event_id="e", payload={"n": 1})
    (first,) = await publish(site.url, event)
    (second,) = await publish(site.url, event)
    assert second.duplicate
    assert (second.sequence, second.cursor) == (first.sequence, first.cursor)
    with pytest.raises(EventIdConflict) as conflict:
        await publish(site.url, [DRAFT, {**DRAFT, "event_id": "e", "payload": {"n": 2}}])
    assert (conflict.value.event_id, conflict.value.index) == ("e", 1)


@pytest.mark.parametrize(
    ("events", "loc"),
    [
        ({"event_type": "forum.post.added"}, [0, "ticket"]),
        ([DRAFT, {**DRAFT, "ticket": " "}], [1, "ticket"]),
        ([DRAFT, {**DRAFT, "new": 1}], [1, "new"]),
        ([{**DRAFT, "payload": {"x": math.nan}}], [0, "payload"]),
        ([DRAFT, {**DRAFT, "payload": {"x": object()}}], [1, "payload"]),
        ([DRAFT, {**DRAFT, "payload": {"x": "\ud800"}}], [1, "payload"]),
        ([], []),
        ([DRAFT] * 1001, []),
    ],
)
async def test_an_event_that_is_off_is_found_before_anything_is_sent(events: Any, loc: list[Any]) -> None:
    """Nothing listens at that address: the fault is told without it."""
    with pytest.raises(InvalidEvent) as invalid:
        await publish("http://127.0.0.1:1/forum", events)
    assert invalid.value.details[0]["loc"] == loc


async def test_refusals_are_raised_by_their_code(address: Site) -> None:
    """With what the forum tells about them."""
    await address.start(Forum(allow_publish=True, limits=Limits(event_bytes=500, request_bytes=2000)))
    large = {**DRAFT, "payload": {"x": "y" * 600}}
    with pytest.raises(PayloadTooLarge) as too_large:
        await publish(address.url, [DRAFT, large])
    assert too_large.value.index == 1
    with pytest.raises(PayloadTooLarge) as request_too_large:
        await publish(address.url, [DRAFT] * 100)
    assert request_too_large.value.index is None
    with pytest.raises(InvalidLimit, match="limit"):
        await read(address.url, limit=0)
    with pytest.raises(InvalidWait, match="wait"):
        await read(address.url, wait=1000)
    with pytest.raises(NotFound):
        await read(address.url + "/elsewhere")


async def test_a_forum_that_takes_no_events_says_so(address: Site) -> None:
    """Publishing over HTTP is off by default."""
    await address.start(Forum())
    with pytest.raises(PublishDisabled, match="publishing over HTTP is off"):
        await publish(address.url, DRAFT)


async def test_headers_reach_the_forum(address: Site) -> None:
    """Of each of the three."""

    def authorize(connection: HTTPConnection, _: object) -> bool:
        if connection.headers.get("authorization") != "Bearer right":
            raise Unauthorized
        return True

    await address.start(Forum(allow_publish=True, authorize=authorize, authorize_publish=authorize))
    right = {"Authorization": "Bearer right"}
    with pytest.raises(Unauthorized):
        await publish(address.url, DRAFT)
    with pytest.raises(Unauthorized):
        await read(address.url)
    assert (await health(address.url)).cursor is None
    await publish(address.url, DRAFT, headers=right)
    assert len((await read(address.url, headers=right)).events) == 1
    assert (await health(address.url, headers=right)).cursor is not None


async def test_pages_follow_each_other(site: Site) -> None:
    """`next_cursor` leads from each to the next, with the same filters."""
    for number in range(5):
        await site.publish(number, ticket="a" if number % 2 else "b")
    found: list[int] = []
    cursor: str | int = 0
    more = True
    while more:
        page = await read(site.url, ticket="b", cursor=cursor, limit=1)
        found += [event.payload["n"] for event in page.events]
        cursor, more = page.next_cursor, page.has_more
    assert found == [0, 2, 4]
    last = await read(site.url, tail=2)
    assert [event.payload["n"] for event in last.events] == [3, 4]


async def test_a_page_may_wait_for_what_comes(site: Site) -> None:
    """It is answered as soon as something does."""
    end = (await read(site.url, cursor="latest")).next_cursor
    found: list[int] = []

    async def poll() -> None:
        page = await read(site.url, cursor=end, wait=DEADLINE)
        found.extend(event.payload["n"] for event in page.events)

    with anyio.fail_after(DEADLINE / 2):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll)
            await site.publish(1)
    assert found == [1]


async def test_a_cursor_that_expired_tells_where_to_go_on(site: Site) -> None:
    """By a page it is an error, with the reason and the earliest cursor."""
    with pytest.raises(CursorExpired) as expired:
        await read(site.url, cursor=5)
    assert expired.value.reason == "ahead"
    assert (await read(site.url, cursor=expired.value.earliest_cursor)).events == ()


async def test_health_tells_source_streams_and_cursor(site: Site) -> None:
    """Of a forum that is well."""
    (receipt,) = await site.publish(1)
    state = await health(site.url)
    assert (state.status, state.degraded, state.cursor) == ("ok", False, receipt.cursor)
    assert state.source["kind"] == "memory"
    assert state.streams == {"sse": 0, "websocket": 0}


async def test_a_client_of_one_s_own_keeps_its_connection(site: Site) -> None:
    """It is used, and left open."""
    opened: list[str] = []

    async def trace(name: str, _: object) -> None:
        opened.extend([name] if name == "connection.connect_tcp.complete" else [])

    async def note(request: httpx2.Request) -> None:
        request.extensions["trace"] = trace

    async with httpx2.AsyncClient(event_hooks={"request": [note]}) as http:
        await publish(site.url, DRAFT, http=http)
        await read(site.url, http=http)
        await health(site.url, http=http)
        assert not http.is_closed
    assert len(opened) == 1


async def test_where_nothing_listens_nothing_was_published(address: Site) -> None:
    """The error tells the outcome, and the ids to repeat the request with."""
    url = "http://127.0.0.1:1/forum"
    with pytest.raises(Unreachable) as lost:
        await publish(url, [{**DRAFT, "event_id": "mine"}, DRAFT])
    assert lost.value.outcome == "not_published"
    assert lost.value.event_ids[0] == "mine"
    assert len(lost.value.event_ids) == 2
    for ask in (read, health):
        with pytest.raises(Unreachable):
            await ask(url)


async def test_a_lost_answer_leaves_the_outcome_open() -> None:
    """The request was sent, and the connection ended before the answer."""

    async def hang_up(client: anyio.abc.SocketStream) -> None:
        async with client:
            await client.receive()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hang_up)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        with pytest.raises(Unreachable) as lost:
            await publish(f"http://127.0.0.1:{port}/forum", {**DRAFT, "event_id": "mine"})
        assert (lost.value.outcome, lost.value.event_ids) == ("unknown", ("mine",))
        tasks.cancel_scope.cancel()


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    """After `answer_timeout`; the outcome is open then."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        with anyio.fail_after(DEADLINE), pytest.raises(Unreachable) as lost:
            await publish(f"http://127.0.0.1:{port}/forum", DRAFT, answer_timeout=0.1)
    assert lost.value.outcome == "unknown"


async def test_an_unavailable_source_s_outcome_is_told(address: Site) -> None:
    """As the forum knows it; a proxy that knows nothing leaves it open."""
    told = {"code": "source_unavailable", "message": "away", "outcome": "not_published", "event_ids": ["x"]}
    await address.start(app=JSONResponse({"error": told}, 503))
    with pytest.raises(SourceUnavailable) as away:
        await publish(address.url, DRAFT)
    assert (away.value.outcome, away.value.event_ids) == ("not_published", ("x",))
    await address.stop()
    await address.start(app=HTMLResponse("bad gateway", 502))
    with pytest.raises(Unavailable) as proxy:
        await publish(address.url, {**DRAFT, "event_id": "mine"})
    assert (proxy.value.outcome, proxy.value.event_ids) == ("unknown", ("mine",))


async def test_what_is_no_forum_is_told(address: Site) -> None:
    """A page of HTML, a redirect of a POST, receipts that don't fit."""
    await address.start(app=HTMLResponse("<html>"))
    for ask in (read, health):
        with pytest.raises(UnexpectedAnswer, match=address.url):
            await ask(address.url)
    await address.stop()
    await address.start(app=RedirectResponse("http://127.0.0.1:1/"))
    with pytest.raises(ForumError, match="a redirect: use the address it leads to"):
        await publish(address.url, DRAFT)
    await address.stop()
    await address.start(app=JSONResponse({"events": []}, 201))
    with pytest.raises(UnexpectedAnswer, match="0 receipts for 1 events"):
        await publish(address.url, DRAFT)


async def test_an_address_that_cannot_be_one_is_refused() -> None:
    """By each of the three."""
    with pytest.raises(ConfigurationError, match="url"):
        await publish("redis://h", DRAFT)
    for ask in (read, health):
        with pytest.raises(ConfigurationError, match="url"):
            await ask("forum")
