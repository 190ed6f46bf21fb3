"""The log in Redis: what a forum relies on, against a real server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from anyio import create_task_group, current_time
from anyio.lowlevel import checkpoint

from asgi_forum.sources.redis import RedisSource
from tests.redis.proxy import Proxy
from tests.redis.servers import RedisServer

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(server: RedisServer | Proxy, url: str = "", **settings: Any) -> AsyncGenerator[RedisSource]:
    """Open a log with a name of its own, if none is given."""
    source = RedisSource(url or server.url, **dict[str, Any](settings, name=settings.get("name", f"t{uuid4().hex}")))
    await source.open()
    try:
        yield source
    finally:
        await source.close()


async def test_what_is_under_way_when_it_closes_leaves_no_connection(redis_server: RedisServer) -> None:
    """Wherever in a read `close` comes, before it included: when both are over, the server has no connection of the source any more."""
    url = redis_server.url.removesuffix("/0") + "/7"
    for turns in range(40):
        async with opened(redis_server, url) as source:
            await source.close()
            async with create_task_group() as tasks:
                tasks.start_soon(source.read, 0, 10)
                for _ in range(turns):
                    await checkpoint()
                await source.close()
            deadline = current_time() + 5
            while b" db=7 " in redis_server.command("CLIENT", "LIST"):
                assert current_time() < deadline, f"closed after {turns} turns"
