"""Connections as a server sees them, whose client takes nothing for a while."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio import wait_all_tasks_blocked
from starlette.requests import HTTPConnection

from asgi_forum import Forum
from tests.events import TYPE
from tests.hub.bench import DEADLINE

STREAM: dict[str, Any] = {"type": "http", "method": "GET", "path": "/stream", "headers": [], "query_string": b""}
UPGRADE: dict[str, Any] = {"type": "websocket", "path": "/stream", "headers": [], "query_string": b""}
SOCKET: dict[str, Any] = {**UPGRADE, "path": "/socket"}


class Held:
    """One connection; while it is held, nothing that is sent is taken."""

    def __init__(self) -> None:
        """Begin with a client that takes all, and asks for a response or an upgrade."""
        self.sent: list[dict[str, Any]] = []
        self.ended = anyio.Event()
        self._told, self._received = anyio.create_memory_object_stream[dict[str, Any]](100)
        self._taken = anyio.Event()
        self._taken.set()
        self._wakes = False

    def hold(self, *, wakes: bool = False) -> None:
        """Take nothing from now on, or, if it `wakes`, until a first thing was given up."""
        self._taken = anyio.Event()
        self._wakes = wakes

    def release(self) -> None:
        """Take all there is."""
        self._taken.set()

    def tell(self, kind: str, **fields: Any) -> None:
        """Tell the forum of something that the client did."""
        self._told.send_nowait({"type": kind, **fields})

    @property
    def body(self) -> bytes:
        """All that came of a response's body."""
        return b"".join(message["body"] for message in self.sent if message["type"] == "http.response.body")

    @property
    def frames(self) -> list[dict[str, Any]]:
        """All that came over a WebSocket."""
        return [json.loads(message["text"]) for message in self.sent if message["type"] == "websocket.send"]

    async def receive(self) -> dict[str, Any]:
        """Tell the forum the next thing."""
        return await self._received.receive()

    async def send(self, message: Any) -> None:
        """Take what the forum sends, as soon as the client does."""
        try:
            await self._taken.wait()
        except anyio.get_cancelled_exc_class():
            if self._wakes:
                self.release()
            raise
        self.sent.append(dict(message))

    def close(self) -> None:
        """Let go of what it holds."""
        self._told.close()
        self._received.close()


@asynccontextmanager
async def connected(
    client: Held, scope: dict[str, Any], query: str = "", *, route: bool = False, **settings: Any
) -> AsyncGenerator[Forum, None]:
    """A forum that serves this connection, itself or as a `route` of the host's own, until the block ends at the latest."""
    scope = {**scope, "query_string": query.encode()}

    async def serve(forum: Forum) -> None:
        app = forum.response(HTTPConnection(scope)) if route else forum
        await app(scope, client.receive, client.send)
        client.ended.set()

    client.tell("http.request" if scope["type"] == "http" else "websocket.connect")
    try:
        async with Forum(handle_signals=False, **settings) as forum, anyio.create_task_group() as tasks:
            tasks.start_soon(serve, forum)
            with anyio.fail_after(DEADLINE):
                yield forum
            tasks.cancel_scope.cancel()
    finally:
        client.close()


async def publish(forum: Forum, ticket: str = "T-1", **fields: Any) -> None:
    """Publish an event, and let it arrive where it arrives."""
    await forum.publish(event_type=TYPE, ticket=ticket, **fields)
    await wait_all_tasks_blocked()
