"""The yardstick: no library, pre-encoded bytes, one shared future for each ticket, one `send` for each event and connection."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qsl

from benchmarks.apps.control import CURSOR, PAD, control, encode

_HEAD, _, _REST = encode("?", 987654321, 0).partition("987654321")
_TAIL = _REST.partition('"?"')[0]


class Topic:
    """The events of a ticket, encoded, and who waits for the next one."""

    def __init__(self) -> None:
        self.events: list[tuple[bytes, str]] = []
        self.base = 0
        self.changed: asyncio.Future[None] | None = None

    def append(self, text: str) -> None:
        """Add an event, and wake all."""
        self.events.append((f"id: {CURSOR}\ndata: {text}\n\n".encode(), text))
        if len(self.events) > 100_000:
            self.base += 50_000
            del self.events[:50_000]
        if self.changed is not None and not self.changed.done():
            self.changed.set_result(None)
        self.changed = None

    async def wait(self) -> None:
        """Wait for the next event."""
        if self.changed is None or self.changed.done():
            self.changed = asyncio.get_running_loop().create_future()
        try:
            await self.changed
        except asyncio.CancelledError:
            # Cancelling one who waits cancels what all wait for; the others look again.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise


topics: dict[str, Topic] = defaultdict(Topic)


async def publish(ticket: str, number: int, at: int) -> None:
    """Publish one event."""
    topics[ticket].append(f'{_HEAD}{number}{_TAIL}"{ticket}"}},"payload":{{"n":{number},"t":{at},"pad":"{PAD}"}}}}')


async def stream(scope: Any, receive: Any, send: Any) -> None:
    """Send each event to its client, one after the other."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    topic = topics[dict(parse_qsl(scope["query_string"].decode())).get("ticket", "T-0")]
    websocket = scope["type"] == "websocket"
    if websocket:
        await receive()
        await send({"type": "websocket.accept"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})

    async def push() -> None:
        position = topic.base + len(topic.events)
        while True:
            while position < topic.base + len(topic.events):
                data, text = topic.events[position - topic.base]
                position += 1
                if websocket:
                    await send({"type": "websocket.send", "text": text})
                else:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
            await topic.wait()

    task = asyncio.create_task(push())
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass
    task.cancel()


app = control(stream, publish)
