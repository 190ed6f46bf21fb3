"""ForumMiddleware: a forum before any app, whatever that app knows of a lifespan."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum import ConfigurationError, Forum, ForumClosed, ForumMiddleware
from asgi_forum.sources import MemorySource
from tests.hub.bench import DEADLINE, until

pytestmark = pytest.mark.anyio

App = Callable[[Any, Any, Any], Awaitable[None]]


class Server:
    """The server's side of a lifespan."""

    def __init__(self) -> None:
        """Begin with the start."""
        self.sent: list[dict[str, Any]] = []
        self.ended = False
        self.error: Exception | None = None
        self._to_app = [{"type": "lifespan.startup"}]
        self._more = anyio.Event()

    @property
    def told(self) -> list[str]:
        """What it was told, by type."""
        return [message["type"].removeprefix("lifespan.") for message in self.sent]

    def stop(self) -> None:
        """Say that it is time to stop."""
        self._to_app.append({"type": "lifespan.shutdown"})
        self._more.set()

    async def receive(self) -> dict[str, str]:
        """Tell the app what is next."""
        while not self._to_app:
            self._more = anyio.Event()
            await self._more.wait()
        return self._to_app.pop(0)

    async def send(self, message: Any) -> None:
        """Hear what the app says."""
        self.sent.append(message)

    async def run(self, app: App) -> None:
        """Run the app's lifespan to its end."""
        try:
            await app({"type": "lifespan", "state": {}}, self.receive, self.send)
        except Exception as error:
            self.error = error
        self.ended = True


@asynccontextmanager
async def lifespan(app: App) -> AsyncGenerator[Server, None]:
    """Start an app; at the end of the block its server stops it, and waits until it has."""
    server = Server()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run, app)
        await wait_all_tasks_blocked()
        yield server
        server.stop()
        await until(lambda: server.ended)


def forum() -> Forum:
    """A forum that leaves signals alone."""
    return Forum(handle_signals=False)


async def used(made: Forum) -> bool:
    """Whether the forum is at work."""
    return made.stats() != {}


async def knows(scope: Any, receive: Any, send: Any) -> None:
    """An app that knows the lifespan."""
    assert (await receive())["type"] == "lifespan.startup"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    await send({"type": "lifespan.shutdown.complete"})


async def raises(scope: Any, receive: Any, send: Any) -> None:
    """An app that takes a lifespan for an error."""
    raise ValueError(f"can only handle HTTP, not {scope['type']}")


async def raises_late(scope: Any, receive: Any, send: Any) -> None:
    """An app that reads the first message before it finds that it can't handle it."""
    await receive()
    raise ValueError("what is this?")


async def returns(scope: Any, receive: Any, send: Any) -> None:
    """An app that has nothing to say to a lifespan."""


@pytest.mark.parametrize("app", [knows, raises, raises_late, returns])
async def test_a_forum_lives_as_long_as_its_host(app: App) -> None:
    """Started before the server hears so, stopped when it says so, whatever the app makes of a lifespan."""
    made = forum()
    async with lifespan(ForumMiddleware(app, forum=made)) as server:
        assert server.told == ["startup.complete"]
        assert await used(made)
    assert server.told == ["startup.complete", "shutdown.complete"]
    assert server.error is None
    with pytest.raises(ForumClosed):
        await made.read()


async def test_the_forum_is_there_before_the_host_and_ends_first() -> None:
    """The host's own start and stop may rely on that: its streams are told before the host lets go of anything."""
    made, seen = forum(), list[str]()

    async def host(scope: Any, receive: Any, send: Any) -> None:
        assert await used(made)
        seen.append("start")
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        assert not await used(made)
        seen.append("stop")
        await send({"type": "lifespan.shutdown.complete"})

    async with lifespan(ForumMiddleware(host, forum=made)) as server:
        assert seen == ["start"]
    assert seen == ["start", "stop"]
    assert server.error is None


async def test_the_hosts_state_is_its_own() -> None:
    """What it puts into the lifespan's state reaches the server's."""

    async def host(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["greeting"] = "hello"
        await knows(scope, receive, send)

    server, scope = Server(), {"type": "lifespan", "state": dict[str, Any]()}
    server.stop()
    with anyio.fail_after(DEADLINE):
        await ForumMiddleware(host, forum=forum())(scope, server.receive, server.send)
    assert scope["state"] == {"greeting": "hello"}


class Refusing(MemorySource):
    """A log that can't be opened."""

    async def open(self) -> None:
        """Refuse."""
        raise ConfigurationError("the log can't be numbered on")


async def test_a_forum_that_can_not_start_is_told() -> None:
    """The server hears it, and stops; the host was not begun."""
    seen: list[str] = []

    async def host(scope: Any, receive: Any, send: Any) -> None:
        seen.append("start")

    async with lifespan(ForumMiddleware(host, forum=Forum(Refusing(), handle_signals=False))) as server:
        assert server.sent == [{"type": "lifespan.startup.failed", "message": "the log can't be numbered on"}]
    assert seen == []


async def test_a_host_that_can_not_start_is_told() -> None:
    """Its own message reaches the server, and the forum is stopped again."""
    made = forum()

    async def host(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async with lifespan(ForumMiddleware(host, forum=made)) as server:
        assert server.sent == [{"type": "lifespan.startup.failed", "message": "no database"}]
        assert not await used(made)


async def test_a_host_that_fails_on_the_way_is_heard() -> None:
    """It knew the lifespan and failed in it: the server gets the error, and the forum is stopped."""
    made = forum()

    async def host(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ZeroDivisionError

    async with lifespan(ForumMiddleware(host, forum=made)) as server:
        await until(lambda: server.ended)
        assert isinstance(server.error, ZeroDivisionError)
        assert not await used(made)


# Paths


@pytest.mark.parametrize("path", ["", "forum", "/forum/", "/", "//"])
async def test_a_path_of_another_form_is_refused(path: str) -> None:
    """It would never match, or match everything."""
    with pytest.raises(ConfigurationError, match="path: got"):
        ForumMiddleware(returns, forum=forum(), path=path)


@pytest.mark.parametrize(
    ("path", "root", "mine"),
    [
        ("/forum", "", True),
        ("/forum/", "", True),
        ("/forum/events", "", True),
        ("/forums", "", False),
        ("/", "", False),
        ("/x/forum", "", False),
        ("/api/forum/events", "/api", True),
        ("/forum/events", "/api", True),
        ("/api/other", "/api", False),
        ("/apiforum", "/api", False),
        ("/api", "/api", False),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_a_request_goes_to_the_forum_or_to_the_host(path: str, root: str, mine: bool, kind: str) -> None:
    """By its path, with the server's root path in front of it or stripped by somebody; what is the host's is passed on as it came."""
    passed: list[Any] = []
    sent: list[Any] = []

    async def host(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope)

    async def receive() -> Any:
        return {"type": f"{kind}.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    made = forum()
    scope: dict[str, Any] = {
        "type": kind,
        "method": "PUT",
        "path": path,
        "root_path": root,
        "headers": [],
        "query_string": b"",
    }
    await ForumMiddleware(host, forum=made)(scope, receive, send)
    assert bool(sent) is mine
    assert passed == ([] if mine else [scope])
    await made.aclose()
