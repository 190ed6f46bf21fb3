"""What a process asks of Redis does not grow with its clients: not when they come back all at once, nor while they wait."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack

import anyio
import anyio.to_thread
import pytest

from asgi_forum import Forum
from asgi_forum.streams.subscription import ForumSubscription
from tests.events import draft
from tests.redis.servers import RedisServer, wait_until

pytestmark = pytest.mark.anyio

CLIENTS, EVENTS = 1000, 600
DEADLINE = 60.0


@pytest.fixture
async def forum(server: RedisServer) -> AsyncGenerator[Forum]:
    """A log with many events, and a process that was started after them: its tail is empty."""
    server.command("FLUSHALL")
    async with Forum(server.url) as other:
        await other.publish_many([draft() for _ in range(EVENTS)])
    async with Forum(server.url) as forum:
        yield forum


def calls(server: RedisServer) -> int:
    """How many commands clients have sent so far; what scripts do within them counts too, where it is one of these."""
    stats = server.command("INFO", "commandstats").decode()
    found = re.findall(r"cmdstat_(?:evalsha|eval|xread|hget):calls=(\d+)", stats)
    return sum(map(int, found))


def connections(server: RedisServer) -> Sequence[str]:
    """The connections of forums, as Redis lists them."""
    listed = server.command("CLIENT", "LIST").decode().splitlines()
    return [line for line in listed if "name=asgi_forum" in line]


def waiting(server: RedisServer) -> int:
    """How many connections wait for news."""
    return sum("cmd=xread" in line for line in connections(server))


async def read_to(subscription: ForumSubscription, sequence: int) -> list[int]:
    """Read up to an event; return the sequences of all."""
    found: list[int] = []
    async for event in subscription:
        found.append(event.sequence)
        if event.sequence == sequence:
            break
    return found


async def all_read(subscriptions: Sequence[ForumSubscription], sequence: int) -> list[list[int]]:
    """Let all read up to an event at once."""
    found: list[list[int]] = [[] for _ in subscriptions]

    async def read(index: int) -> None:
        found[index] = await read_to(subscriptions[index], sequence)

    async with anyio.create_task_group() as tasks:
        for index in range(len(subscriptions)):
            tasks.start_soon(read, index)
    return found


async def test_a_thousand_clients_that_resume_cost_tens_of_commands(server: RedisServer, forum: Forum) -> None:
    """From positions all over the log, at once: each gets exactly what it missed."""
    events = (await forum.read(limit=1000)).events
    starts = [index * EVENTS // CLIENTS for index in range(CLIENTS)]
    before = calls(server)
    with anyio.fail_after(DEADLINE):
        async with AsyncExitStack() as stack:
            opened = [
                await stack.enter_async_context(
                    forum.subscribe(cursor=events[start - 1].cursor if start else "earliest")
                )
                for start in starts
            ]
            found = await all_read(opened, EVENTS)
    assert found == [list(range(start + 1, EVENTS + 1)) for start in starts]
    assert calls(server) - before < 100
    assert len(connections(server)) <= 9


async def test_a_thousand_clients_that_wait_cost_what_one_costs(server: RedisServer, forum: Forum) -> None:
    """One connection waits for news, and each event is read once; also after all connections were cut."""
    with anyio.fail_after(DEADLINE):
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(forum.subscribe()) for _ in range(CLIENTS)]
            for cut in (False, True):
                if cut:
                    server.command("CLIENT", "KILL", "TYPE", "normal")
                before = calls(server)
                receipts = [await forum.publish(event_type="a.b", ticket="T-1") for _ in range(10)]
                expected = [receipt.sequence for receipt in receipts]
                assert await all_read(opened, expected[-1]) == [expected] * CLIENTS
                assert calls(server) - before < 100
            await anyio.to_thread.run_sync(wait_until, lambda: waiting(server) == 1)
            assert len(connections(server)) <= 9
