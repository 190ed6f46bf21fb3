"""The same forum in every host: frameworks, depths, middleware, with and without a lifespan."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from litestar import Litestar, asgi
from litestar import get as litestar_get
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router

from asgi_forum import Forum, ForumMiddleware
from tests.redis.servers import wait_until
from tests.servers import serve
from tests.wire.exchange import DEADLINE, Exchange, ask
from tests.wire.readers import TRANSPORTS, open_reader, open_websocket, receive_json, receive_to_the_end

DRAFT = {"event_type": "forum.post.added", "ticket": "T-1"}
App = Callable[..., Any]


def home(request: Request) -> PlainTextResponse:
    """A page of the host's own."""
    return PlainTextResponse("home")


async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """A middleware of the kind that wraps responses."""
    return await call_next(request)


def starlette(forum: Forum, path: str) -> App:
    """A Starlette application with a mount."""
    return Starlette(routes=[Route("/home", home), Mount(path, app=forum)])


def starlette_with_lifespan(forum: Forum, path: str) -> App:
    """The same, with the forum's lifespan."""
    return Starlette(routes=[Route("/home", home), Mount(path, app=forum)], lifespan=forum.lifespan)


def starlette_nested(forum: Forum, path: str) -> App:
    """A mount in a mount."""
    first, _, rest = path.strip("/").partition("/")
    return Starlette(routes=[Route("/home", home), Mount(f"/{first}", routes=[Mount(f"/{rest}", app=forum)])])


def router(forum: Forum, path: str) -> App:
    """A bare router."""
    return Router([Route("/home", home), Mount(path, app=forum)])


def starlette_wrapped(forum: Forum, path: str) -> App:
    """A Starlette application with middleware of every kind."""
    middleware = [
        Middleware(GZipMiddleware, minimum_size=1),
        Middleware(CORSMiddleware, allow_origins=["*"]),
        Middleware(BaseHTTPMiddleware, dispatch=pass_on),
    ]
    return Starlette(routes=[Route("/home", home), Mount(path, app=forum)], middleware=middleware)


def fastapi(forum: Forum, path: str) -> App:
    """A FastAPI application with a mount."""
    app = FastAPI()
    app.add_api_route("/home", lambda: "home")
    app.mount(path, forum)
    return app


def fastapi_with_lifespan(forum: Forum, path: str) -> App:
    """The same, with the forum's lifespan."""
    app = FastAPI(lifespan=forum.lifespan)
    app.add_api_route("/home", lambda: "home")
    app.mount(path, forum)
    return app


def litestar(forum: Forum, path: str) -> App:
    """A Litestar application with a mount."""

    @litestar_get("/home", sync_to_thread=False)
    def litestar_home() -> str:
        return "home"

    @asgi(path, is_mount=True, copy_scope=True)
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await forum(scope, receive, send)

    return Litestar([litestar_home, mounted], openapi_config=None)


def middleware_around(forum: Forum, path: str) -> App:
    """The middleware around a Starlette application."""
    return ForumMiddleware(Starlette(routes=[Route("/home", home)]), forum=forum, path=path)


def middleware_within(forum: Forum, path: str) -> App:
    """The middleware in a Starlette application's own list."""
    return Starlette(routes=[Route("/home", home)], middleware=[Middleware(ForumMiddleware, forum=forum, path=path)])


def middleware_around_litestar(forum: Forum, path: str) -> App:
    """The middleware around a Litestar application."""

    @litestar_get("/home", sync_to_thread=False)
    def litestar_home() -> str:
        return "home"

    app: Any = Litestar([litestar_home], openapi_config=None)
    return ForumMiddleware(app, forum=forum, path=path)


async def plain(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """An application that knows HTTP only, as Django's does: a lifespan is an error to it."""
    if scope["type"] != "http":
        raise ValueError(f"can only handle HTTP, not {scope['type']}")
    body = b"home" if scope["path"] == "/home" else b"not here"
    await send({"type": "http.response.start", "status": 200 if body == b"home" else 404, "headers": []})
    await send({"type": "http.response.body", "body": body})


def middleware_around_plain(forum: Forum, path: str) -> App:
    """The middleware around an application that raises at a lifespan."""
    return ForumMiddleware(plain, forum=forum, path=path)


HOSTS = [
    starlette,
    starlette_with_lifespan,
    starlette_wrapped,
    router,
    fastapi,
    fastapi_with_lifespan,
    litestar,
    middleware_around,
    middleware_within,
    middleware_around_litestar,
    middleware_around_plain,
]
CASES = [
    *((host, "/forum") for host in HOSTS),
    *((host, "/a/b-c/forum") for host in (starlette, starlette_nested, fastapi, litestar, middleware_around)),
    (starlette, "/events"),
    (middleware_around, "/stream/events"),
]


@pytest.mark.parametrize(("host", "path"), CASES, ids=[f"{host.__name__}{path}" for host, path in CASES])
def test_a_forum_is_the_same_in_every_host(host: Callable[[Forum, str], App], path: str) -> None:
    """Publishing, pages, all streams, health and refusals work at the mount, and the host's own pages beside it."""
    forum = Forum("memory://", allow_publish=True)
    with (
        serve(host(forum, path)) as served,
        httpx2.Client(base_url=served.url, trust_env=False, timeout=DEADLINE) as http,
    ):
        base = served.url + path
        assert http.post(f"{path}/events", json=DRAFT).status_code == 201
        page = http.get(f"{path}/events")
        assert [event["sequence"] for event in page.json()["events"]] == [1]
        assert http.get(f"{path}/events/").json() == page.json()
        readers = [open_reader(transport, base, {"cursor": "earliest"}) for transport in TRANSPORTS]
        for reader in readers:
            reader.until("forum.live")
        assert http.post(f"{path}/events/", json=[DRAFT, DRAFT]).status_code == 201
        for reader in readers:
            reader.take_to(3)
            assert [event["sequence"] for event in reader.events] == [1, 2, 3]
        assert http.get(f"{path}/health").json()["streams"] == http.get(f"{path}/health/").json()["streams"]
        for reader in readers:
            reader.close()
        assert http.get(f"{path}/stream", params={"cursor": "x"}).json()["error"]["code"] == "invalid_cursor"
        assert http.get(f"{path}/nothing").json()["error"]["code"] == "not_found"
        assert http.put(f"{path}/events").headers["allow"]
        assert http.get("/home").status_code == 200
        assert http.get(f"{path}x/events").status_code == 404
        open_websocket(f"{base}/socket/").close()


@pytest.mark.parametrize("host", [starlette, fastapi, middleware_around], ids=lambda host: host.__name__)
def test_a_root_path_of_the_server_changes_nothing(host: Callable[[Forum, str], App]) -> None:
    """Behind a proxy that strips a prefix, the server is told of it by `root_path`."""
    forum = Forum("memory://", allow_publish=True)
    with serve(host(forum, "/forum"), root_path="/api") as served:
        assert httpx2.post(f"{served.url}/forum/events", json=DRAFT, trust_env=False).status_code == 201
        reader = open_reader("websocket", f"{served.url}/forum", {"cursor": 0})
        assert len(reader.take(1)) == 1
        reader.close()


def test_a_forum_may_be_the_whole_application() -> None:
    """Served by itself its addresses lie at the root, and its own lifespan is the server's."""
    forum = Forum("memory://", allow_publish=True)
    with serve(forum) as served:
        assert httpx2.post(f"{served.url}/events", json=DRAFT, trust_env=False).status_code == 201
        for transport in TRANSPORTS:
            reader = open_reader(transport, served.url, {"cursor": 0})
            assert len(reader.take(1)) == 1
            reader.close()


def test_the_lifespan_of_the_host_goes_on_working() -> None:
    """The middleware passes the lifespan on: the host starts and stops, and its state reaches its requests."""
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, str]]:
        seen.append("start")
        yield {"greeting": "hello"}
        seen.append("stop")

    def greet(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.greeting)

    app = Starlette(routes=[Route("/greet", greet)], lifespan=lifespan)
    with serve(ForumMiddleware(app, forum=Forum("memory://"), path="/forum")) as served:
        assert httpx2.get(f"{served.url}/greet", trust_env=False).text == "hello"
        assert seen == ["start"]
    assert seen == ["start", "stop"]


def test_the_forums_lifespan_goes_with_the_hosts() -> None:
    """A host with a lifespan of its own can enter the forum's in it."""
    forum = Forum("memory://", allow_publish=True)
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with forum.lifespan(app):
            await forum.publish(event_type="forum.post.added", ticket="T-1")
            seen.append("start")
            yield
        seen.append("stop")

    with serve(Starlette(routes=[Mount("/forum", app=forum)], lifespan=lifespan)) as served:
        assert len(httpx2.get(f"{served.url}/forum/events", trust_env=False).json()["events"]) == 1
    assert seen == ["start", "stop"]


def test_two_forums_in_one_application_share_nothing() -> None:
    """Each mount has its own log, its own streams and its own cursors."""
    one, two = Forum("memory://", name="one", allow_publish=True), Forum("memory://", name="two", allow_publish=True)
    with serve(Starlette(routes=[Mount("/one", app=one), Mount("/two", app=two)])) as served:
        readers = [open_reader("sse", f"{served.url}/{name}", {"cursor": 0}) for name in ("one", "two")]
        for reader in readers:
            reader.until("forum.live")
        for name, ticket in (("one", "A"), ("two", "B")):
            httpx2.post(f"{served.url}/{name}/events", json={**DRAFT, "ticket": ticket}, trust_env=False)
        for reader, ticket in zip(readers, "AB", strict=True):
            assert [event["envelope"]["ticket"] for event in reader.take(1)] == [ticket]
            assert len(reader.events) == 1
            reader.close()


@pytest.mark.parametrize(
    "host", [starlette_with_lifespan, middleware_around, starlette], ids=lambda host: host.__name__
)
def test_a_stopping_server_ends_websockets_with_a_code(host: Callable[[Forum, str], App]) -> None:
    """When the server is told to stop, streams over WebSocket end with 1012, in every host."""
    with serve(host(Forum("memory://"), "/forum")) as served:
        connection = open_websocket(f"{served.url}/forum/stream")
        assert receive_json(connection)["type"] == "forum.live"
        served.server.should_exit = True
        assert receive_to_the_end(connection)[1] == 1012


def test_compression_leaves_streams_alone() -> None:
    """A host that compresses its pages does not hold back events."""
    forum = Forum("memory://", allow_publish=True)
    app = Starlette(routes=[Mount("/forum", app=forum)], middleware=[Middleware(GZipMiddleware, minimum_size=1)])
    with serve(app) as served:
        answer = Exchange(f"{served.url}/forum/stream", headers=[("Accept-Encoding", "gzip")])
        assert "content-encoding" not in answer.headers
        assert answer.read().startswith(b"retry:")
        answer.close()
        page = httpx2.get(f"{served.url}/forum/events", headers={"Accept-Encoding": "gzip"}, trust_env=False)
        assert json.loads(page.content)["events"] == []


@pytest.mark.parametrize("request_", ["a long poll", "half a publish"])
def test_a_client_that_leaves_is_no_error_in_any_middleware(request_: str) -> None:
    """One that wraps responses is given one all the same, which nobody sees."""
    became: list[int | str] = []

    async def dispatch(request: Request, call_next: RequestResponseEndpoint) -> Response:
        try:
            response = await call_next(request)
        except Exception as error:
            became.append(repr(error))
            raise
        became.append(response.status_code)
        return response

    middleware = [Middleware(BaseHTTPMiddleware, dispatch=dispatch)]
    forum = Forum("memory://", allow_publish=True)
    with serve(Starlette(routes=[Mount("/forum", app=forum)], middleware=middleware)) as served:
        if request_ == "a long poll":
            connection = ask(f"{served.url}/forum/events?cursor=latest&wait=30")
        else:
            headers = [("Content-Type", "application/json"), ("Content-Length", "100")]
            connection = ask(f"{served.url}/forum/events", method="POST", headers=headers, body=[b"["])
        reader = open_reader("sse", f"{served.url}/forum")
        reader.until("forum.live")  # so the request before it has begun
        connection.close()
        wait_until(lambda: 499 in became)
        reader.close()
    assert [each for each in became if isinstance(each, str)] == []


def test_clients_that_break_off_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """In the middle of a replay in small frames: asyncio would warn of each write that goes to nobody."""
    forum = Forum("memory://", allow_publish=True)
    with serve(Starlette(routes=[Mount("/forum", app=forum)]), loop="asyncio") as served:
        events = [{**DRAFT, "payload": {"text": "x" * 200}}] * 1000
        for _ in range(3):
            httpx2.post(f"{served.url}/forum/events", json=events, trust_env=False)
        for pause in range(10):
            connection = ask(f"{served.url}/forum/stream?cursor=0&limit=1")
            connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(0.005 * pause)
            connection.close()
        wait_until(lambda: not httpx2.get(f"{served.url}/forum/health", trust_env=False).json()["streams"]["sse"])
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
