"""The forums of one process share the connection that waits for news, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from asgi_forum import Forum
from asgi_forum.errors import ForumReset
from asgi_forum.streams.subscription import ForumSubscription
from tests.redis.servers import RedisServer, wait_until
from tests.redis.test_storms import connections, waiting

pytestmark = pytest.mark.anyio

DEADLINE = 20.0


@pytest.fixture(autouse=True)
def empty(server: RedisServer) -> None:
    """No log is there."""
    server.command("FLUSHALL")


@asynccontextmanager
async def followed(*forums: Forum) -> AsyncGenerator[Sequence[ForumSubscription]]:
    """Subscribe to forums, from now on, and close them in the end."""
    async with AsyncExitStack() as stack:
        for each in forums:
            stack.push_async_callback(each.aclose)
        yield [await stack.enter_async_context(each.subscribe()) for each in forums]


async def say(forum: Forum, *words: str) -> None:
    """Publish an event for each word."""
    for word in words:
        await forum.publish(event_type="forum.post.added", ticket="T-1", payload={"word": word})


async def heard(subscription: ForumSubscription, count: int) -> list[str]:
    """Return the words of the next events."""
    with anyio.fail_after(DEADLINE):
        return [(await anext(subscription)).payload["word"] for _ in range(count)]


async def until_waiting(server: RedisServer, count: int) -> None:
    """Wait until so many connections wait for news."""
    await anyio.to_thread.run_sync(wait_until, lambda: waiting(server) == count)


async def until_status(forum: Forum, status: str) -> None:
    """Wait until a forum says so of itself."""
    with anyio.fail_after(DEADLINE):
        found = ""
        while found != status:
            await anyio.lowlevel.checkpoint()
            found = (await forum.health())["status"]


async def test_one_connection_waits_for_all(server: RedisServer) -> None:
    """Each forum gets what is its own; whichever is closed, the others go on, on one connection; in the end there is none."""
    names = ["a", "b", "c"]
    forums = [Forum(server.url, name=name) for name in names]
    async with followed(*forums) as subscriptions:
        await until_waiting(server, 1)
        for turn in ("1", "2"):
            for name, forum in zip(names, forums, strict=True):
                await say(forum, name + turn)
        for name, subscription in zip(names, subscriptions, strict=True):
            assert await heard(subscription, 2) == [name + "1", name + "2"]
        for index in range(2):
            await subscriptions[index].aclose()
            await forums[index].aclose()
            await until_waiting(server, 1)
            await say(forums[-1], "still")
            assert await heard(subscriptions[-1], 1) == ["still"]
    await anyio.to_thread.run_sync(wait_until, lambda: not connections(server))


async def test_sixteen_share_at_most(server: RedisServer) -> None:
    """What one round costs stays bounded: the next one takes another connection."""
    forums = [Forum(server.url, name=f"forum-{number}") for number in range(17)]
    async with followed(*forums) as subscriptions:
        await until_waiting(server, 2)
        for forum, subscription in zip(forums, subscriptions, strict=True):
            await say(forum, "one")
            assert await heard(subscription, 1) == ["one"]


async def test_what_another_address_says_is_another_connection(server: RedisServer) -> None:
    """Another database, or other settings."""
    urls = [server.url, server.url.removesuffix("/0") + "/1", f"{server.url}?timeout=4"]
    async with followed(*[Forum(url, name="same") for url in urls]):
        await until_waiting(server, 3)


async def test_two_forums_of_one_log_share_no_connection(server: RedisServer) -> None:
    """Where they are at different positions, neither could tell which part of the answer is its own."""
    async with followed(Forum(server.url), Forum(server.url), Forum(server.url, name="other")):
        await until_waiting(server, 2)


@pytest.mark.parametrize("accident", ["replaced", "spoilt"])
async def test_what_happens_to_one_log_is_no_matter_of_the_others(server: RedisServer, accident: str) -> None:
    """One is deleted and grows anew, or its key is used for something else: the other one misses nothing, and has no reset."""
    good, bad = Forum(server.url, name="good"), Forum(server.url, name="bad")
    async with followed(good, bad) as (subscription, other):
        await say(good, "before")
        await say(bad, "before")
        assert await heard(other, 1) == ["before"]
        key = "asgi_forum:{bad}:log"
        server.command("DEL", key)
        if accident == "replaced":
            server.command("XADD", key, "0-*", "event", "{}")
            with anyio.fail_after(DEADLINE), pytest.raises(ForumReset):
                await anext(other)
        else:
            server.command("SET", key, "no stream")
            await until_status(bad, "degraded")
        await say(good, "after", "all")
        assert await heard(subscription, 3) == ["before", "after", "all"]
        await until_status(good, "ok")
