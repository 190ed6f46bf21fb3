"""What one would write first: sse-starlette's response and Starlette's WebSocket, with a queue for each client."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.apps.control import control, encode

Queue = asyncio.Queue[tuple[int, str]]

queues: defaultdict[str, set[Queue]] = defaultdict(set)


async def publish(ticket: str, number: int, at: int) -> None:
    """Publish one event: encoded once, put into each queue."""
    text = encode(ticket, number, at)
    for queue in queues[ticket]:
        queue.put_nowait((number, text))


async def sse(request: Request) -> EventSourceResponse:
    """Stream a ticket."""
    waiting = queues[request.query_params["ticket"]]

    async def events() -> AsyncGenerator[dict[str, str]]:
        queue: Queue = asyncio.Queue()
        waiting.add(queue)
        try:
            yield {"comment": "hello"}
            while True:
                number, text = await queue.get()
                yield {"id": str(number), "data": text}
        finally:
            waiting.discard(queue)

    return EventSourceResponse(events())


async def ws(socket: WebSocket) -> None:
    """Stream a ticket."""
    waiting, queue = queues[socket.query_params["ticket"]], Queue()
    waiting.add(queue)
    await socket.accept()

    async def push() -> None:
        while True:
            await socket.send_text((await queue.get())[1])

    task = asyncio.create_task(push())
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        pass
    finally:
        task.cancel()
        waiting.discard(queue)


app = control(Starlette(routes=[Route("/stream", sse), WebSocketRoute("/stream", ws)]), publish)
