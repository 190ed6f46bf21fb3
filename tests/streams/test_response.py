"""A stream as the response of a route of the host's own, on a real server."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from asgi_forum import Forbidden, Forum, Limits, Subscription, Unauthorized
from tests.servers import Served, serve
from tests.wire.exchange import DEADLINE
from tests.wire.readers import SseReader

Watch = Callable[[Forum, Request], Response]


def plainly(forum: Forum, request: Request) -> Response:
    """The route of a host that streams a ticket."""
    return forum.response(request, ticket="T-1", cursor="earliest")


@contextmanager
def hosted(forum: Forum, watch: Watch = plainly) -> Generator[Served, None, None]:
    """Serve a host whose route `/watch` streams, and whose route `/publish` publishes."""

    async def stream(request: Request) -> Response:
        return watch(forum, request)

    async def publish(request: Request) -> Response:
        receipt = await forum.publish(event_type="forum.post.added", ticket=request.query_params["ticket"])
        return Response(receipt.cursor)

    app = Starlette(routes=[Route("/watch", stream), Route("/publish", publish)], lifespan=forum.lifespan)
    with serve(app) as served:
        yield served


def publish(served: Served, ticket: str = "T-1") -> str:
    """Publish an event, and return its cursor."""
    return httpx2.get(f"{served.url}/publish", params={"ticket": ticket}, trust_env=False, timeout=DEADLINE).text


@contextmanager
def reading(served: Served, query: str = "", headers: Any = ()) -> Generator[SseReader, None, None]:
    """Read the stream."""
    reader = SseReader(f"{served.url}/watch{query}", headers=headers)
    try:
        yield reader
    finally:
        reader.close()


def numbers(reader: SseReader) -> list[int]:
    """The sequences of all that came."""
    return [event["sequence"] for event in reader.events]


def test_a_route_streams_what_it_chose() -> None:
    """History, `forum.live`, and news, of the route's own filter, in the form of the forum's own address."""
    with hosted(Forum()) as served:
        publish(served)
        publish(served, "T-2")
        with reading(served) as reader:
            reader.until("forum.live")
            publish(served, "T-2")
            publish(served)
            reader.take(1)
            assert numbers(reader) == [1, 4]
            assert reader.exchange.headers["content-type"].startswith("text/event-stream")
            assert reader.exchange.headers["cache-control"] == "no-store, no-transform"
            assert reader.exchange.headers["x-accel-buffering"] == "no"


def test_the_heartbeats_are_the_forums() -> None:
    """They move the client's position; the library's own pings would not."""
    with hosted(Forum(heartbeat=0.05)) as served, reading(served) as reader:
        reader.until("forum.live")
        last = publish(served, "T-2")
        while reader.until("heartbeat")["next_cursor"] != last:
            pass
        assert all(message.data for message in reader.messages[1:])


def test_a_browsers_position_wins() -> None:
    """The route says where to begin, `Last-Event-ID` where to go on."""
    with hosted(Forum()) as served:
        cursors = [publish(served) for _ in range(3)]
        for query, headers in (("", [("Last-Event-ID", cursors[1])]), (f"?last_event_id={cursors[1]}", ())):
            with reading(served, query, headers) as reader:
                reader.until("forum.live")
                assert numbers(reader) == [3]


def refuse(_: HTTPConnection, asked: Subscription) -> bool:
    """A hook that lets nobody in."""
    return False


def log_in(_: HTTPConnection, asked: Subscription) -> None:
    """A hook that wants to know who it is."""
    raise Unauthorized("log in first")


def fail(_: HTTPConnection, asked: Subscription) -> None:
    """A hook with a bug."""
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("authorize", "status", "code"),
    [(refuse, 403, "forbidden"), (log_in, 401, "unauthorized"), (fail, 500, "internal_error")],
)
def test_authorize_refuses_before_the_first_header(authorize: Any, status: int, code: str) -> None:
    """With its own status, in JSON: no stream has begun."""
    with hosted(Forum(authorize=authorize)) as served:
        answer = httpx2.get(f"{served.url}/watch", headers={"accept": "text/event-stream"}, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_authorize_narrows_what_the_route_streams() -> None:
    """The route's filter is a wish like any client's."""

    def authorize(_: HTTPConnection, asked: Subscription) -> Subscription:
        return asked.narrow(ticket="T-2")

    def everything(forum: Forum, request: Request) -> Response:
        return forum.response(request, cursor="earliest")

    with hosted(Forum(authorize=authorize), everything) as served:
        for ticket in ("T-1", "T-2"):
            publish(served, ticket)
        with reading(served) as reader:
            reader.until("forum.live")
            assert numbers(reader) == [2]


def test_a_route_counts_as_a_stream() -> None:
    """It takes a place among the open ones; a browser over the limit is told to come back."""
    with hosted(Forum(limits=Limits(streams=1))) as served, reading(served) as reader:
        reader.until("forum.live")
        answer = httpx2.get(f"{served.url}/watch", trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_connections")
        answer = httpx2.get(f"{served.url}/watch", headers={"accept": "text/event-stream"}, trust_env=False)
        assert (answer.status_code, answer.text.count("too_many_connections")) == (200, 1)


def test_a_stream_that_the_forum_ends_says_why() -> None:
    """The last message is a `forum.error`, and the body is whole."""
    with hosted(Forum(limits=Limits(max_stream_age=0.2), heartbeat=0.1)) as served, reading(served) as reader:
        reader.to_the_end()
        assert reader.frames[-1]["code"] == "shutting_down"


def test_a_client_that_leaves_gives_its_place_back() -> None:
    """The next one gets in, under a limit of one."""
    forum = Forum(limits=Limits(streams=1), heartbeat=0.05)
    with hosted(forum) as served:
        for _ in range(3):
            with reading(served) as reader:
                reader.until("forum.live")
            deadline = time.monotonic() + DEADLINE
            while forum.stats()["streams"]:
                assert time.monotonic() < deadline


def test_what_the_route_asks_for_is_checked_there() -> None:
    """A mistake in the route is the host's own error, not the client's."""
    request = HTTPConnection({"type": "http", "query_string": b"", "headers": []})
    with pytest.raises(Exception, match="tail: got"):
        Forum().response(request, tail=-1)


def test_a_hook_may_raise_the_forums_own_refusal() -> None:
    """As anywhere else."""

    def authorize(_: HTTPConnection, asked: Subscription) -> None:
        raise Forbidden("not your ticket")

    with hosted(Forum(authorize=authorize)) as served:
        assert httpx2.get(f"{served.url}/watch", trust_env=False).json()["error"]["message"] == "not your ticket"
