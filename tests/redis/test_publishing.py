"""Publishing to a Redis that fails: what is refused was not published, what got lost is asked for again, and nothing comes twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import anyio
import pytest

from asgi_forum.errors import ConfigurationError, SourceUnavailable
from asgi_forum.models import Receipt
from asgi_forum.sources.redis import RedisSource
from tests.events import entries, entry, sequences
from tests.redis.fake import pretending
from tests.redis.proxy import Proxy, proxied
from tests.redis.servers import RedisServer, free_port, running, wait_until
from tests.redis.test_source import opened

pytestmark = pytest.mark.anyio

LOG = "asgi_forum:{default}:log"


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    """A network before the common server."""
    with proxied(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis of this test's own."""
    with running() as server:
        yield server


async def refused(source: RedisSource, *, within: float = 5.0) -> SourceUnavailable:
    """Publish one event, which must be refused soon; returns the error."""
    with anyio.fail_after(within), pytest.raises(SourceUnavailable) as caught:
        await source.publish(entries(1))
    return caught.value


@pytest.mark.parametrize("count", [1, 100])
async def test_an_answer_that_got_lost_is_asked_for_again(proxy: Proxy, count: int) -> None:
    """The library repeats it by itself: each event is there once, and its receipt says that it is new."""
    async with opened(proxy) as source:
        given, receipts = entries(3 * count), list[Receipt]()
        for at in range(0, 3 * count, count):
            proxy.lose_answer(given[at].event_id.encode())
            receipts += await source.publish(given[at : at + count])
        assert [receipt.event_id for receipt in receipts] == [each.event_id for each in given]
        assert not any(receipt.duplicate for receipt in receipts)
        page = await source.read(0, 1000)
        assert sequences(page) == list(range(1, 3 * count + 1))
        assert [receipt.cursor for receipt in receipts] == [event.cursor for event in page.events]


async def test_a_repeat_after_a_lost_answer_is_told_from_a_duplicate(proxy: Proxy) -> None:
    """What was there before the first try is a duplicate, though the answer got lost; the caller's own repeat is one too."""
    async with opened(proxy) as source:
        (first,) = await source.publish([entry(event_id="e-1")])
        proxy.lose_answer(b"e-1")
        (again,) = await source.publish([entry(event_id="e-1")])
        assert (again.sequence, again.duplicate) == (first.sequence, True)


async def test_a_connection_that_died_unseen_fails_no_publish(proxy: Proxy) -> None:
    """Connections that were cut while idle are made anew."""
    async with opened(proxy) as source:
        for number in range(1, 4):
            assert (await source.publish(entries(1)))[0].sequence == number
            proxy.cut()


async def test_a_server_that_is_gone_refuses_at_once(proxy: Proxy) -> None:
    """It was surely not published; afterwards it is, under the next number."""
    async with opened(proxy) as source:
        proxy.refuse()
        error = await refused(source, within=1.0)
        assert error.outcome == "not_published"
        assert "can't be reached" in str(error)
        proxy.accept()
        assert (await source.publish(entries(1)))[0].sequence == 1


async def test_a_network_that_swallows_the_question_leaves_the_outcome_open(proxy: Proxy) -> None:
    """After the time-out, and no later: the event may have got in."""
    async with opened(proxy, timeout=0.3) as source:
        proxy.swallow()
        error = await refused(source, within=2.0)
        assert error.outcome == "unknown"
        assert "does not answer" in str(error)
        proxy.heal()
        assert (await source.publish(entries(1)))[0].sequence == 1


async def test_a_stopped_server_leaves_the_outcome_open_and_may_have_it(server: RedisServer) -> None:
    """What was sent is carried out later; repeating it with the same id is safe."""
    async with opened(server, timeout=0.3) as source:
        await source.publish(entries(1))
        server.pause()
        given = entry()
        with pytest.raises(SourceUnavailable) as caught:
            await source.publish([given])
        assert caught.value.outcome == "unknown"
        server.go_on()
        (receipt,) = await source.publish([given])
        assert receipt.sequence == 2
        assert sequences(await source.read(0, 10)) == [1, 2]


async def test_a_stopped_server_holds_nobody_up_for_the_others(server: RedisServer) -> None:
    """Many publish at once, far more than there are connections: each hears of it in its own time, not one after the other."""
    async with opened(server, timeout=1.0) as source:
        await source.publish(entries(1))
        server.pause()
        with anyio.fail_after(4.0):  # with eight connections, one after the other, it would be sixteen seconds
            async with anyio.create_task_group() as tasks:
                for _ in range(64):
                    tasks.start_soon(refused, source)
        server.go_on()


async def test_a_replica_refuses(server: RedisServer) -> None:
    """With READONLY; once it is the master, the same source goes on."""
    with running("--replicaof", "127.0.0.1", str(server.port)) as replica:
        async with opened(server, name="default") as source:
            await source.publish(entries(1))
            wait_until(lambda: replica.command("XLEN", LOG) == b":1\r\n")
            async with opened(replica, name="default") as copy:
                error = await refused(copy)
                assert error.outcome == "not_published"
                assert "READONLY" in str(error)
                replica.command("REPLICAOF", "NO", "ONE")
                assert (await copy.publish(entries(1)))[0].sequence == 2


async def test_a_full_server_refuses_and_goes_on_reading(server: RedisServer) -> None:
    """Over `maxmemory` with noeviction: none of a batch is published, what is there can be read."""
    async with opened(server) as source:
        await source.publish(entries(2))
        server.command("CONFIG", "SET", "maxmemory", "1")
        for batch in (entries(1), entries(50)):
            with pytest.raises(SourceUnavailable, match="OOM") as caught:
                await source.publish(batch)
            assert caught.value.outcome == "not_published"
        assert sequences(await source.read(0, 10)) == [1, 2]
        server.command("CONFIG", "SET", "maxmemory", "0")
        assert (await source.publish(entries(1)))[0].sequence == 3


async def test_a_server_that_loads_its_data_is_waited_for(server: RedisServer) -> None:
    """LOADING is an outage like others, and nothing was published."""
    server.command("CONFIG", "SET", "rdbcompression", "no")
    for number in range(200):
        server.command("SET", f"key-{number}", "x" * 1000)
    server.command("SAVE")
    async with opened(server) as source:
        server.kill()
        slow = ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
        server.options = (*server.options, "--dbfilename", "dump.rdb", *slow)
        server.start(ready=lambda: server.answers(loading=True))
        error = await refused(source)
        assert error.outcome == "not_published"
        assert "LOADING" in str(error)
        wait_until(server.answers)
        assert (await source.publish(entries(1)))[0].sequence == 1


# Users and passwords


SECRET = "s3cr3t-of-the-test"


@pytest.fixture
def guarded() -> Iterator[RedisServer]:
    """A Redis with a password, and a user `forum` with another one."""
    with running() as server:
        server.command("ACL", "SETUSER", "forum", "on", f">{SECRET}", "~asgi_forum:{default}:*", "+@all")
        yield server


def url_of(server: RedisServer, password: str = SECRET) -> str:
    """The address with the user's name and a password."""
    return server.url.replace("redis://", f"redis://forum:{password}@")


async def test_a_wrong_password_is_told_at_the_start(guarded: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """In words, without the password."""
    source = RedisSource(url_of(guarded, password="wr0ng"))
    with pytest.raises(ConfigurationError, match="refuses the user or password") as caught:
        await source.open()
    await source.close()
    assert "wr0ng" not in str(caught.value) + caplog.text


async def test_a_password_that_is_missing_is_told_at_the_start(guarded: RedisServer) -> None:
    """The server wants one, the URL has none."""
    guarded.command("CONFIG", "SET", "requirepass", SECRET)
    source = RedisSource(guarded.url)
    with pytest.raises(ConfigurationError, match="refuses the user or password"):
        await source.open()
    await source.close()


async def test_a_password_that_changes_is_an_outage(guarded: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Streams are open by then: it is refused, surely not published, and over when the password is what it was."""
    async with opened(guarded, url=url_of(guarded), name="default") as source:
        await source.publish(entries(1))
        guarded.command("ACL", "SETUSER", "forum", "resetpass", ">another")
        guarded.command("CLIENT", "KILL", "USER", "forum")
        error = await refused(source)
        assert error.outcome == "not_published"
        assert "refuses the user or password" in str(error)
        assert SECRET not in f"{error} {error!r} {error.__cause__!r} {caplog.text}"
        guarded.command("ACL", "SETUSER", "forum", f">{SECRET}")
        assert (await source.publish(entries(1)))[0].sequence == 2


async def test_a_user_who_may_not_read_is_told_at_the_start(guarded: RedisServer) -> None:
    """With the command that is not permitted."""
    guarded.command("ACL", "SETUSER", "forum", "-xrange")
    source = RedisSource(url_of(guarded))
    with pytest.raises(ConfigurationError, match=r"does not permit .*xrange"):
        await source.open()
    await source.close()


@pytest.mark.parametrize("rule", ["-xadd", "-hset", "-expire"])
async def test_a_user_who_may_not_do_all_publishes_nothing(guarded: RedisServer, rule: str) -> None:
    """Whichever command is forbidden: what is refused was not published, and none of it is in the log."""
    async with opened(guarded, url=url_of(guarded), name="default") as source:
        await source.publish(entries(2))
        guarded.command(
            "HDEL", "asgi_forum:{default}:meta", "turned"
        )  # the generations of ids take turns now: it needs all
        guarded.command("ACL", "SETUSER", "forum", rule)
        batch = entries(2)
        with pytest.raises(SourceUnavailable, match="does not permit") as caught:
            await source.publish(batch)
        assert caught.value.outcome == "not_published"
        assert sequences(await source.read(0, 10)) == [1, 2]
        guarded.command("ACL", "SETUSER", "forum", "+@all")
        assert not any(receipt.duplicate for receipt in await source.publish(batch))
        assert sequences(await source.read(0, 10)) == [1, 2, 3, 4]


@pytest.mark.parametrize("rule", ["-xtrim", "-xlen"])
async def test_a_user_who_may_not_trim_publishes(guarded: RedisServer, rule: str) -> None:
    """What is kept too long does no harm."""
    async with opened(guarded, url=url_of(guarded), name="default", retain=1) as source:
        guarded.command("ACL", "SETUSER", "forum", rule)
        await source.publish(entries(400))
        kept = sequences(await source.read(0, 1000))
        assert kept[-1] == 400
        assert len(kept) == 400 or rule == "-xlen"


async def test_a_user_who_may_only_read_is_warned_of(guarded: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """A forum that only reads is a good one; who publishes is told why not."""
    async with opened(guarded, url=url_of(guarded), name="default") as source:
        await source.publish(entries(1))
    guarded.command("ACL", "SETUSER", "forum", "-xadd")
    async with opened(guarded, url=url_of(guarded), name="default") as source:
        assert "asgi_forum.redis_read_only" in caplog.text
        assert sequences(await source.read(0, 10)) == [1]
        assert "does not permit" in str(await refused(source))


async def test_a_user_who_may_not_wait_is_not_told_that_nothing_was_published(guarded: RedisServer) -> None:
    """The events are in the log when WAIT is refused."""
    async with opened(guarded, url=url_of(guarded), name="default", wait_replicas=1) as source:
        guarded.command("ACL", "SETUSER", "forum", "-wait")
        error = await refused(source)
        assert error.outcome == "unknown"
        assert sequences(await source.read(0, 10)) == [1]


# The server itself


async def test_an_old_version_is_refused_by_name() -> None:
    """Redis 6.2 can't number entries."""
    with pretending("6.2.14") as url:
        source = RedisSource(url)
        with pytest.raises(ConfigurationError, match=r"Redis 6\.2\.14 is too old"):
            await source.open()
        await source.close()


async def test_an_old_version_that_was_away_at_the_start_is_not_used() -> None:
    """It can be asked only later: then it counts as an outage whose message has the version."""
    port = free_port()
    source = RedisSource(f"redis://127.0.0.1:{port}/0")
    with pytest.raises(SourceUnavailable, match="can't be reached"):
        await source.open()
    with pretending("6.2.14", port):
        with pytest.raises(SourceUnavailable, match=r"Redis 6\.2\.14 is too old"):
            await source.read(0, 1)
        error = await refused(source)
        assert "6.2.14" in str(error)
        assert error.outcome == "not_published"
        await source.close()


async def test_a_policy_that_evicts_is_warned_of(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Once, with its name; it works meanwhile."""
    server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    async with opened(server) as source:
        assert [record.levelno for record in caplog.records if "allkeys-lru" in record.message] == [logging.WARNING]
        await source.publish(entries(1))


@pytest.mark.parametrize(
    "url",
    [
        f"redis://forum:{SECRET}@[127.0.0.1",
        f"redis://forum:a/{SECRET}@127.0.0.1:6379/0",
        f"redis://:{SECRET}@127.0.0.1:port/0",
        f"redis://:{SECRET}@127.0.0.1:6379/0?nonsense=1",
        f"redis+sentinel://:{SECRET}@127.0.0.1:26379",
        f"redis+sentinel://:{SECRET}@127.0.0.1:x/main",
        f"redis+cluster://:{SECRET}@127.0.0.1:7000/3",
        f"http://:{SECRET}@127.0.0.1:6379/0",
    ],
)
async def test_a_url_that_is_off_is_told_without_its_password(url: str) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(ConfigurationError) as caught:
        RedisSource(url)
    assert SECRET not in f"{caught.value} {caught.value!r}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
