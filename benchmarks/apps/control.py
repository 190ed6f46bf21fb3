"""What every application that is measured understands beside its streams: being told to publish, and to count its tasks."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

Publish = Callable[[str, int, int], Awaitable[None]]
"""Publish one event to a ticket: its number (from 1 on), and the time in nanoseconds."""

PAD = "x" * 180
"""So that an event is about as large as those of a forum: some 500 bytes with its envelope."""

CURSOR = "QYLpUnIj4RL7.1234.8k0Jx1AY"

_ENVELOPE = {
    "event_id": "01a20dd1-0c5e-7d53-b1dc-d5d8c6ebb9b3",
    "event_type": "forum.post.added",
    "event_version": 1,
    "occurred_at": "2026-02-10T12:56:00.123Z",
    "actor_type": "system",
}


def encode(ticket: str, number: int, at: int) -> str:
    """Write an event, as an application would that hands out its own JSON: as many bytes as asgi_forum's have."""
    event = {
        "sequence": number,
        "cursor": CURSOR,
        "envelope": {**_ENVELOPE, "ticket": ticket},
        "payload": {"n": number, "t": at, "pad": PAD},
    }
    return json.dumps(event, separators=(",", ":"))


def control(
    stream: Any, publish: Publish, *, many: Any = None, stats: Callable[[], dict[str, Any]] | None = None
) -> Any:
    """Wrap an application: `/publish?count=N[&tickets=K][&rate=R][&batch=B]` publishes N events over K tickets, `/stats` counts."""
    numbers: Counter[str] = Counter()

    async def published(count: int, tickets: int, rate: float, batch: int) -> dict[str, Any]:
        began, waits = time.monotonic(), 0.0
        cpu = time.process_time()
        done = 0
        while done < count:
            if rate:
                waits = began + done / rate - time.monotonic()
                if waits > 0:
                    await asyncio.sleep(waits)
            events: list[tuple[str, int, int]] = []
            for each in range(done, min(done + batch, count)):
                name = f"T-{each % tickets}"
                numbers[name] += 1
                events.append((name, numbers[name], time.monotonic_ns()))
            if many is not None and batch > 1:
                await many(events)
            else:
                for event in events:
                    await publish(*event)
            done += len(events)
            if not rate:
                await asyncio.sleep(0)
        return {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}

    async def answer(send: Any, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/publish":
            given = dict(parse_qsl(scope["query_string"].decode()))
            numbers_of = (int(given["count"]), int(given.get("tickets", 1)), float(given.get("rate", 0)))
            await answer(send, await published(*numbers_of, int(given.get("batch", 1))))
        elif scope["type"] == "http" and scope["path"] == "/stats":
            gc.collect()
            tasks = [task.get_name() for task in asyncio.all_tasks()]
            await answer(send, {"tasks": len(tasks), **(stats() if stats else {})})
        else:
            await stream(scope, receive, send)

    return app
