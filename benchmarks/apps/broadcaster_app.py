"""broadcaster in memory, behind sse-starlette's response and Starlette's WebSocket, as its README has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from broadcaster import Broadcast
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.apps.control import control, encode

broadcast = Broadcast("memory://")


async def publish(ticket: str, number: int, at: int) -> None:
    """Publish one event."""
    await broadcast.publish(ticket, encode(ticket, number, at))


async def sse(request: Request) -> EventSourceResponse:
    """Stream a ticket."""

    async def events() -> AsyncGenerator[dict[str, str]]:
        async with broadcast.subscribe(request.query_params["ticket"]) as subscriber:
            yield {"comment": "hello"}
            async for event in subscriber:
                yield {"data": event.message}

    return EventSourceResponse(events())


async def ws(socket: WebSocket) -> None:
    """Stream a ticket."""
    async with broadcast.subscribe(socket.query_params["ticket"]) as subscriber:
        await socket.accept()

        async def push() -> None:
            async for event in subscriber:
                await socket.send_text(event.message)

        task = asyncio.create_task(push())
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            pass
        finally:
            task.cancel()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Connect the broadcaster."""
    async with broadcast:
        yield


app = control(Starlette(routes=[Route("/stream", sse), WebSocketRoute("/stream", ws)], lifespan=lifespan), publish)
