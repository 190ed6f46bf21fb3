"""
A forum on a real server that can be stopped and started again on the same port, and a network that can fail before
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_forum import Forum
from asgi_forum.client import publish
from asgi_forum.models import Receipt
from tests.servers import serve

DEADLINE = 20.0
"""Seconds that a test may wait for anything."""


class Site:
    """One address, and what is served there just now. All its methods are for the test's own loop."""

    def __init__(self) -> None:
        self.port = 0
        self._stack = ExitStack()
        self._forum: Forum | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """The forum's address."""
        return f"http://127.0.0.1:{self.port}/forum"

    async def start(self, forum: Forum | None = None, *, app: Any = None, **options: Any) -> None:
        """Serve a forum, or any other app below the same address, on the port that the first start has picked."""
        self._forum = forum

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
            self._loop = asyncio.get_running_loop()
            yield

        whole = Starlette(routes=[Mount("/forum", app=app or forum)], lifespan=lifespan)
        serving = serve(whole, port=self.port, **options)
        self.port = (await anyio.to_thread.run_sync(lambda: self._stack.enter_context(serving))).port

    async def stop(self) -> None:
        """End the forum's streams as a server's stop does, and stop serving."""
        if self._forum is not None:
            await self.in_server(self._forum.drain)
        await anyio.to_thread.run_sync(self._stack.close)

    async def in_server(self, work: Callable[[], Any]) -> Any:
        """Run a coroutine function in the server's loop."""
        assert self._loop is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self._loop))

    async def publish(self, *numbers: int, ticket: str = "T-1") -> list[Receipt]:
        """Publish events with these numbers in their payload."""
        drafts = [{"event_type": "forum.post.added", "ticket": ticket, "payload": {"n": each}} for each in numbers]
        return await publish(self.url, drafts)


class Network:
    """A relay before a server, which can cut connections, or fall silent while they stay open."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.connections = 0
        self.budgets: list[int] = []
        """After so many bytes the next connections, one each, are cut."""
        self._to = port
        self._open: set[asyncio.StreamWriter] = set()
        self._hushed: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """The forum's address through this network."""
        return f"http://127.0.0.1:{self.port}/forum"

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._open:
            writer.transport.abort()

    def hush(self) -> None:
        """Carry nothing any more on the connections that are open; they stay open."""
        self._hushed |= self._open

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        self.connections += 1
        budget = self.budgets.pop(0) if self.budgets else None
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._open |= {writer, to_writer}
        up = asyncio.create_task(self._carry(reader, to_writer, None))
        try:
            await self._carry(to_reader, writer, budget)
        finally:
            up.cancel()
            self._open -= {writer, to_writer}
            self._hushed -= {writer, to_writer}
            writer.transport.abort()
            to_writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None) -> None:
        while True:
            try:
                data = await reader.read(4096 if budget is None else min(4096, budget))
            except OSError:
                return
            if not data:
                return
            if writer not in self._hushed:
                writer.write(data)
            if budget is not None:
                budget -= len(data)


@asynccontextmanager
async def network(port: int) -> AsyncGenerator[Network, None]:
    """Open a network before the server on this port."""
    net = Network(port)
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(net.relay, "127.0.0.1", 0)
        await stack.enter_async_context(server)
        stack.callback(net.cut)
        net.port = server.sockets[0].getsockname()[1]
        yield net
