"""The yardstick of catching up: the bytes that asgi_forum sends to one reader, recorded, in one loop of `send`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from benchmarks.apps.control import control
from benchmarks.apps.ours import forum, publish, publish_many

chunks: list[bytes] = []


async def record() -> None:
    """Let the forum send all that it has, and keep it."""
    caught_up = asyncio.Event()

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        if body := message.get("body"):
            chunks.append(body)
            if b"event: forum.live" in body:
                caught_up.set()

    async def receive() -> Any:
        await asyncio.Event().wait()

    query = b"ticket=T-0&cursor=earliest"
    scope = {"type": "http", "method": "GET", "path": "/stream", "query_string": query, "headers": []}
    task = asyncio.create_task(forum({**scope, "root_path": "", "client": ("127.0.0.1", 1)}, receive, send))
    await caught_up.wait()
    task.cancel()


async def stream(scope: Any, receive: Any, send: Any) -> None:
    """Send what was recorded; `/record` records."""
    if scope["type"] == "lifespan":
        await forum(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    if scope["path"] == "/record":
        await record()
        await send({"type": "http.response.body", "body": json.dumps({"chunks": len(chunks)}).encode()})
        return
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


app = control(stream, publish, many=publish_many, stats=forum.stats)
