"""asgi_forum with all its guarantees, mounted in Starlette (`app`) and served bare (`bare`)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_forum import Forum, ForumEvent, Limits
from benchmarks.apps.control import PAD, control

forum = Forum(
    os.environ.get("BENCHMARK_SOURCE", "memory://"),
    retain=int(os.environ.get("BENCHMARK_RETAIN", "100000")),
    heartbeat=float(os.environ.get("BENCHMARK_HEARTBEAT", "25")),
    limits=Limits.of({"streams": 30_000, **json.loads(os.environ.get("BENCHMARK_LIMITS", "{}"))}),
)


SIZE = int(os.environ.get("BENCHMARK_SIZE", "0"))


async def publish(ticket: str, number: int, at: int) -> None:
    """Publish one event."""
    payload = {"n": number, "t": at, "pad": "x" * SIZE if SIZE else PAD}
    await forum.publish(event_type="forum.post.added", ticket=ticket, payload=payload)


async def publish_many(events: Sequence[tuple[str, int, int]]) -> None:
    """Publish several in one request."""
    await forum.publish_many(
        [
            ForumEvent(
                event_type="forum.post.added",
                ticket=ticket,
                payload={"n": number, "t": at, "pad": "x" * SIZE if SIZE else PAD},
            )
            for ticket, number, at in events
        ]
    )


app = control(
    Starlette(routes=[Mount("/", app=forum)], lifespan=forum.lifespan), publish, many=publish_many, stats=forum.stats
)
bare = control(forum, publish, many=publish_many, stats=forum.stats)
