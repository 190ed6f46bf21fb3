"""What a log in Redis keeps: by length and by age, and of which ids it knows; whatever else may have happened to it."""

from __future__ import annotations

import logging

import anyio
import anyio.to_thread
import pytest

from asgi_forum import Forum
from asgi_forum.frames import EventsFrame, HeartbeatFrame
from asgi_forum.sources.registry import KEEP_ALL
from tests.events import draft, entries, entry, sequences
from tests.redis.producers import foreign
from tests.redis.servers import RedisServer, wait_until
from tests.redis.test_source import opened

pytestmark = pytest.mark.anyio

LOG, META = "asgi_forum:{default}:log", "asgi_forum:{default}:meta"
DEADLINE = 20.0


@pytest.fixture(autouse=True)
def empty(server: RedisServer) -> None:
    """No log is there, and room for one."""
    server.command("CONFIG", "SET", "maxmemory", "0")
    server.command("FLUSHALL")


def length(server: RedisServer) -> int:
    """How many entries the log has."""
    return int(server.command("XLEN", LOG).removeprefix(b":"))


async def until_length(server: RedisServer, number: int) -> None:
    """Wait until the log has so many entries."""
    await anyio.to_thread.run_sync(wait_until, lambda: length(server) == number)


async def test_what_is_too_old_goes_and_who_comes_back_hears_of_it(server: RedisServer) -> None:
    """Though nothing new is published, and though the process still has it in its tail."""
    async with Forum(server.url, retain_for=0.5) as forum:
        receipts = await forum.publish_many([draft() for _ in range(3)])
        await until_length(server, 0)
        with anyio.fail_after(DEADLINE):
            kind = ""
            while kind != "forum.reset":
                async with forum.subscribe(cursor=receipts[0].cursor) as events:
                    kind = (await anext(events.frames())).type


async def test_the_newest_entry_may_be_deleted(server: RedisServer) -> None:
    """Trimming goes on all the same."""
    async with Forum(server.url, retain_for=0.5) as forum:
        receipts = await forum.publish_many([draft() for _ in range(3)])
        server.command("XDEL", LOG, f"0-{receipts[-1].sequence}")
        await until_length(server, 0)


async def test_a_log_that_was_deleted_leaves_no_marks_of_age(server: RedisServer) -> None:
    """The next one begins at 1 again: what was old in the former says nothing of it."""
    async with opened(server, name="default", retain_for=3600) as source, opened(server, name="default") as other:
        await source.publish(entries(50))
        server.command("ZADD", "asgi_forum:{default}:ages", "1", "50")
        server.command("DEL", LOG)
        await other.publish(entries(20))
        assert server.command("EXISTS", "asgi_forum:{default}:ages") == b":0\r\n"
        # What is remembered of the new one goes by itself, as ever.
        left = [int(server.command("TTL", f"asgi_forum:{{default}}:ids:{number}")[1:]) for number in (0, 1)]
        assert sorted(left)[0] == -2
        assert sorted(left)[1] > 0


async def test_a_log_that_was_deleted_leaves_no_ids(server: RedisServer) -> None:
    """An event of the former log is not there: publishing it again appends it, also where its number is taken and trimmed."""
    async with opened(server, name="default", retain=10) as source:
        given = entry()
        await source.publish([*entries(2), given])
        server.command("DEL", LOG)
        await source.publish(entries(1000))
        (receipt,) = await source.publish([given])
        assert (receipt.sequence, receipt.duplicate) == (1001, False)


async def test_an_id_of_another_producer_counts_in_a_log_that_grew_anew(server: RedisServer) -> None:
    """The record of the former log gives way to it."""
    async with opened(server, name="default") as source:
        given = entry(event_id="same")
        await source.publish([given])
        server.command("DEL", LOG)
        for event_id in ("a", "b", "c", "same"):
            server.command("XADD", LOG, "0-*", "event", foreign(event_id))
        await source.publish(entries(1))
        records = [server.command("HGET", f"asgi_forum:{{default}}:ids:{number}", "same") for number in (0, 1)]
        assert any(b"4:" in record for record in records)


async def test_a_number_that_was_deleted_is_used_up(server: RedisServer) -> None:
    """Also where it was the newest: the receipt names the number that the entry has."""
    async with opened(server, name="default") as source:
        await source.publish(entries(2))
        server.command("XADD", LOG, "0-*", "event", foreign("x"))
        server.command("XDEL", LOG, "0-3")
        given = entries(2)
        receipts = await source.publish(given)
        assert [receipt.sequence for receipt in receipts] == [4, 5]
        page = await source.read(0, 10)
        assert sequences(page) == [1, 2, 4, 5]
        assert [receipt.cursor for receipt in receipts] == [event.cursor for event in page.events[2:]]
        assert [receipt.sequence for receipt in await source.publish(given)] == [4, 5]


async def test_ids_are_known_as_long_as_anybody_wants(server: RedisServer) -> None:
    """Of several processes with different settings the longest time counts."""
    async with (
        opened(server, name="default", remember=1000) as long,
        opened(server, name="default", remember=1) as short,
    ):
        await long.publish([entry(event_id="x")])
        for _ in range(2):
            server.command("HINCRBY", META, "turned", "-10")  # as if ten seconds had passed
            await short.publish(entries(1))
        assert (await long.publish([entry(event_id="x")]))[0].duplicate
        for _ in range(2):
            server.command("HINCRBY", META, "turned", "-1000")
            await short.publish(entries(1))
        assert not (await long.publish([entry(event_id="x")]))[0].duplicate


async def test_a_clock_that_was_ahead_stops_nothing(server: RedisServer) -> None:
    """Another node's, before a failover, say: marks of a time that has not come are no marks."""
    async with opened(server, name="default", remember=1) as source:
        await source.publish([entry(event_id="x")])
        for _ in range(2):
            server.command("HINCRBY", META, "turned", "100000")
            await source.publish(entries(1))
        assert not (await source.publish([entry(event_id="x")]))[0].duplicate
    server.command("HSET", META, "tidied", "9999999999")
    server.command("ZADD", "asgi_forum:{default}:ages", "9999999999", "1")
    async with Forum(server.url, retain_for=0.5):
        await until_length(server, 0)


@pytest.mark.parametrize("why", ["full", "forbidden"])
async def test_a_server_that_refuses_to_trim_stops_no_stream(
    server: RedisServer, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once; events go on coming, and nobody hears of an outage."""
    async with Forum(server.url) as publisher:
        await publisher.publish(event_type="a.b", ticket="T")
        url = server.url
        if why == "forbidden":
            server.command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", "-xtrim", "-hset", "-xadd")
            url = url.replace("redis://", "redis://reader:word@")
        async with Forum(url, retain_for=0.5) as forum, forum.subscribe() as events:
            if why == "full":
                server.command("CONFIG", "SET", "maxmemory", "1")
                await until_length(server, 0)  # it trims all the same: that is what a full server needs
                server.command("CONFIG", "SET", "maxmemory", "0")
            frames = events.frames()
            for number in range(2, 6):
                await publisher.publish(event_type="a.b", ticket="T")
                with anyio.fail_after(DEADLINE):
                    frame = await anext(frames)
                    while not isinstance(frame, EventsFrame):
                        assert not (isinstance(frame, HeartbeatFrame) and frame.degraded)
                        frame = await anext(frames)
                assert frame.events[-1].sequence == number
                await anyio.sleep(0.2)
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert sum("asgi_forum.trimming_refused" in each for each in said) <= 1
    assert not any("source_lost" in each for each in said)


async def test_who_only_looks_trims_nothing(server: RedisServer) -> None:
    """The command line's `tail`, say, whatever its URL tells of ages: nor does it take the turn of who does."""
    async with opened(server, f"{server.url}?retain_for=0.5", name="default", retain=KEEP_ALL) as source:
        async with Forum(source) as forum, forum.subscribe() as events:
            await forum.publish(event_type="a.b", ticket="T")
            assert (await anext(events)).sequence == 1
    assert server.command("HEXISTS", META, "tidied") == b":0\r\n"
