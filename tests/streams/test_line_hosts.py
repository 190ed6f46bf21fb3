"""Lines inside hosts: middleware that waits, cancels or limits in time, forums that open again, and loops one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asgi_forum import Forum
from tests.events import draft
from tests.hub.bench import DEADLINE, until
from tests.streams.held import STREAM, Held
from tests.streams.takers import turns

pytestmark = pytest.mark.anyio

SCOPE: dict[str, Any] = {
    **STREAM,
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "query_string": b"cursor=earliest",
}


async def _passed_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


def in_base_middleware(app: ASGIApp) -> ASGIApp:
    """Starlette's own way: the app has a task of its own, and each send waits for another."""
    return BaseHTTPMiddleware(app, dispatch=_passed_on)


def compressed(app: ASGIApp) -> ASGIApp:
    """Around all responses; event streams are left as they are."""
    return GZipMiddleware(app)


def _sending(around: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> Callable[[ASGIApp], ASGIApp]:
    def middleware(app: ASGIApp) -> ASGIApp:
        async def served(scope: Scope, receive: Receive, send: Send) -> None:
            async def wrapped(message: Message) -> None:
                await around(lambda: send(message))

            await app(scope, receive, wrapped)

        return served

    return middleware


async def _timeout(send: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(DEADLINE):
        await anyio.lowlevel.checkpoint()
        await send()


async def _move_on(send: Callable[[], Awaitable[None]]) -> None:
    with anyio.fail_after(DEADLINE):
        await send()


async def _in_a_task(send: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await send()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)


async def _waits(send: Callable[[], Awaitable[None]]) -> None:
    await anyio.lowlevel.checkpoint()
    await send()


AROUND: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "nothing": lambda app: app,
    "BaseHTTPMiddleware": in_base_middleware,
    "two of them": lambda app: in_base_middleware(in_base_middleware(app)),
    "GZipMiddleware": compressed,
    "asyncio.timeout": _sending(_timeout),
    "fail_after": _sending(_move_on),
    "a task group": _sending(_in_a_task),
    "a checkpoint": _sending(_waits),
}


@asynccontextmanager
async def serving(forum: Forum, app: ASGIApp, clients: list[Held]) -> AsyncGenerator[None, None]:
    """Serve clients until the block ends; they leave then."""

    async def serve(client: Held) -> None:
        task = asyncio.current_task()
        assert task is not None
        await app(dict(SCOPE), client.receive, client.send)
        client.ended.set()
        assert task.cancelling() == 0

    with anyio.fail_after(DEADLINE):
        try:
            async with anyio.create_task_group() as tasks:
                for client in clients:
                    client.tell("http.request", body=b"", more_body=False)
                    tasks.start_soon(serve, client)
                await until(lambda: all(b"forum.live" in client.body for client in clients))
                yield
                for client in clients:
                    client.tell("http.disconnect")
        finally:
            for client in clients:
                client.close()


def numbers(client: Held) -> list[int]:
    """The numbers that came, in order."""
    return [int(part.split(b"}")[0]) for part in client.body.split(b'"number":')[1:]]


async def live(forum: Forum, number: int) -> None:
    """Serve one client, and publish; it gets all that was published before as well."""
    client = Held()
    async with serving(forum, forum, [client]):
        await forum.publish_many([draft(payload={"number": number})])
        await until(lambda: numbers(client) == list(range(number + 1)))


@pytest.mark.parametrize("around", sorted(AROUND))
async def test_middleware_around_sending_loses_nothing(around: str) -> None:
    """Whether each send waits in it or not; and all clients can leave."""
    clients = [Held() for _ in range(5)]
    async with Forum(handle_signals=False) as forum:
        async with serving(forum, AROUND[around](forum), clients):
            for number in range(30):
                await forum.publish_many([draft(payload={"number": number})])
                await turns(number % 7)
            await until(lambda: all(len(numbers(client)) == 30 for client in clients))
        assert all(numbers(client) == list(range(30)) for client in clients)
        assert all(client.ended.is_set() for client in clients)


@pytest.mark.parametrize(
    ("around", "held"),
    [
        *((around, False) for around in sorted(AROUND)),
        *((around, True) for around in ("nothing", "BaseHTTPMiddleware")),
    ],
)
async def test_middleware_around_sending_hears_the_end(around: str, held: bool) -> None:
    """A stopping forum says goodbye through it, and waits for nobody who takes nothing."""
    clients = [Held() for _ in range(3)]
    async with Forum(handle_signals=False) as forum:
        async with serving(forum, AROUND[around](forum), clients):
            if held:
                clients[0].hold()
            await forum.publish_many([draft(payload={"number": 0})])
            await turns(20)
            await forum.drain()
            await clients[1].ended.wait()
            await clients[2].ended.wait()
            clients[0].release()
            await clients[0].ended.wait()
        for client in clients[1:]:
            assert numbers(client) == [0]
            assert b"shutting_down" in client.body


async def test_a_deadline_around_the_app_is_kept() -> None:
    """The host's own: it raises what it raises around any app, and the stream is over."""
    client = Held()
    client.tell("http.request", body=b"", more_body=False)
    async with Forum(handle_signals=False) as forum:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await forum(dict(SCOPE), client.receive, client.send)
        with anyio.move_on_after(0.1) as scope:
            await forum(dict(SCOPE), client.receive, client.send)
        assert scope.cancelled_caught
        assert task.cancelling() == 0
        assert forum.stats()["streams"] == {}
    client.close()


async def test_a_forum_that_opens_again_serves_again() -> None:
    """In the same loop, with nothing left of the time before."""
    forum = Forum(handle_signals=False)
    for life in range(3):
        async with forum:
            await live(forum, life)
            assert forum.stats()["streams"] == {}


def test_loops_may_follow_one_another() -> None:
    """A forum that was never closed in a loop that has closed serves in the next one."""
    forum = Forum(handle_signals=False)
    for number in range(3):
        asyncio.run(live(forum, number))
