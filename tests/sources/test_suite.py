"""The built-in sources pass the kit that anybody's source can run."""

from __future__ import annotations

import pytest

from asgi_forum.sources import MemorySource, SourceOptions
from asgi_forum.sources.redis import RedisSource
from asgi_forum.testing import SourceSuite
from tests.redis.servers import RedisServer


class TestMemory(SourceSuite):
    """The log in memory, which belongs to its object."""

    shared = False

    def make_source(self, options: SourceOptions) -> MemorySource:
        """Make a log of its own."""
        return MemorySource(retain=options.retain)


class TestRedis(SourceSuite):
    """The log in Redis, on a real server."""

    keeps_beyond = 300

    @pytest.fixture(autouse=True)
    def server(self, redis_server: RedisServer) -> None:
        """Take the server that all tests share."""
        self.redis = redis_server

    def make_source(self, options: SourceOptions) -> RedisSource:
        """Make a source of the log that the name stands for."""
        return RedisSource(self.redis.url, name=options.name, retain=options.retain)

    async def wipe(self, options: SourceOptions) -> None:
        """Delete the stream; what names it, and the ids that are known, stay, as with a careless DEL."""
        self.redis.command("DEL", f"asgi_forum:{{{options.name}}}:log")
