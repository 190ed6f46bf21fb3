"""What a user must be permitted: the list in docs/redis.md is enough, all of it is needed, and the start says what is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from asgi_forum.errors import ConfigurationError, SourceUnavailable
from asgi_forum.sources.base import Page
from asgi_forum.sources.redis import RedisSource
from tests.events import entries, entry, sequences
from tests.redis.groups import clustered
from tests.redis.producers import foreign
from tests.redis.servers import RedisServer, wait_until

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text("utf-8")
LOG = "asgi_forum:{default}:log"


def listed() -> list[str]:
    """The commands that the page lists for every user, as rules."""
    found = re.search(r"needs the keys `~asgi_forum:\*` and these commands:\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1].split()


def listed_for(what: str) -> list[str]:
    """The commands that the page lists for something beside."""
    found = re.search(rf"^\| {re.escape(what)} \| `(.*?)` \|$", PAGE, re.MULTILINE)
    assert found
    return found[1].replace("\\|", "|").split()


EVERY = listed()
REPAIR = listed_for("`asgi-forum repair`")

READING = ["exists", "hget", "hmget", "xinfo|stream", "xlen", "xrange", "xread", "xrevrange"]
WRITING = [
    "expire",
    "hset",
    "time",
    "unlink",
    "xadd",
    "xtrim",
    "zadd",
    "zrange",
    "zremrangebyscore",
]


@pytest.fixture(autouse=True)
def empty(server: RedisServer) -> None:
    """Nothing is there, and nothing was refused yet."""
    for words in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("ACL", "LOG", "RESET")):
        assert server.command(*words) == b"+OK\r\n"


def permit(server: RedisServer, rules: Sequence[str]) -> str:
    """Let a user do what the rules say, and nothing else; returns the URL."""
    said = server.command("ACL", "SETUSER", "forum", "reset", "on", ">right", "~asgi_forum:*", *rules)
    assert said == b"+OK\r\n", said
    return server.url.replace("redis://", "redis://forum:right@")


def refused(server: RedisServer) -> set[str]:
    """What Redis has refused to users, but for what redis-py tells from Redis 7.2 on."""
    found = re.findall(rb"\$6\r\nobject\r\n\$\d+\r\n(.*?)\r\n", server.command("ACL", "LOG"))
    return {each.decode() for each in found} - {"client|setinfo"}


async def follow(source: RedisSource, count: int) -> list[int]:
    """Return the sequences of the next entries, of which as many are published meanwhile."""
    page = await source.read(2**53, 0)
    found: list[int] = []

    def take(page: Page) -> None:
        found.extend(sequences(page))
        if len(found) >= count:
            tasks.cancel_scope.cancel()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.follow, page.position, take)
            await source.publish(entries(count))
    return found


async def trimmed(server: RedisServer, source: RedisSource) -> None:
    """Follow until nothing is kept any more that is older than the source keeps."""
    page = await source.read(2**53, 0)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.follow, page.position, list[Page]().append)
            await anyio.to_thread.run_sync(wait_until, lambda: server.command("XLEN", LOG) == b":0\r\n")
            tasks.cancel_scope.cancel()


async def test_what_is_listed_is_enough(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """To publish, to learn of others' entries, to read, follow and trim, and to look at the log."""
    source = RedisSource(permit(server, EVERY), retain=50, retain_for=1.0)
    await source.open()
    await source.publish(entries(2))
    server.command("XADD", LOG, "0-*", "event", foreign("theirs"))
    assert (await source.publish([entry(event_id="theirs")]))[0].duplicate
    assert await follow(source, 3) == [4, 5, 6]
    await source.publish(entries(400))
    assert (await source.inspect()).cursor
    await trimmed(server, source)
    server.command("DEL", LOG)
    await source.publish(entries(1))
    await source.close()
    assert caplog.text.count("WARNING") == caplog.text.count("asgi_forum.log_replaced")
    assert refused(server) == set()


@pytest.mark.parametrize("name", [*READING, "eval", "evalsha", "client|setname"])
async def test_without_one_that_reading_needs_the_start_fails(server: RedisServer, name: str) -> None:
    """Also on a log that nobody has begun; it says which one."""
    source = RedisSource(permit(server, [each for each in EVERY if each != f"+{name}"]))
    with pytest.raises(ConfigurationError, match=rf"does not permit what a forum needs .*\b{re.escape(name)}\b"):
        await source.open()
    await source.close()


@pytest.mark.parametrize("name", WRITING)
async def test_without_one_that_writing_needs_the_start_warns(
    server: RedisServer, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """It says which one, and reading works."""
    source = RedisSource(permit(server, EVERY))
    await source.open()
    await source.publish(entries(2))
    assert "redis_read_only" not in caplog.text
    permit(server, [each for each in EVERY if each != f"+{name}"])
    await source.open()
    assert f"redis_read_only: this user may not publish, or not trim: it may not run {name}\n" in caplog.text
    assert sequences(await source.read(0, 10)) == [1, 2]
    await source.close()


async def test_all_that_is_missing_is_told_at_once(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """By one line."""
    await (source := RedisSource(permit(server, EVERY))).open()
    permit(server, [each for each in EVERY if each[1:] not in WRITING])
    await source.open()
    await source.close()
    assert f"it may not run {', '.join(WRITING)}\n" in caplog.text


async def test_without_info_it_works(server: RedisServer) -> None:
    """Only the version, and whether Redis may forget, are not looked at then."""
    await (source := RedisSource(permit(server, [each for each in EVERY if each != "+info"]))).open()
    await source.publish(entries(1))
    await source.close()


def test_nothing_else_is_listed() -> None:
    """What is listed for every user is what these tests show to be needed."""
    others = {"client|setname", "eval", "evalsha", "info"}
    assert sorted(EVERY) == sorted(f"+{each}" for each in {*READING, *WRITING, *others})


def called(*scripts: str) -> set[str]:
    """The commands that scripts call."""
    found: set[str] = set()
    for name in scripts:
        text = files("asgi_forum.sources.redis").joinpath(f"{name}.lua").read_text("utf-8")
        for command, word in re.findall(r"redis\.p?call\('(\w+)'(?:, '(\w+)')?", text):
            found.add(f"{command}|{word}".lower() if command in ("XINFO",) else command.lower())
    return found


def test_the_list_has_what_the_scripts_call() -> None:
    """A command that a script calls newly is looked for at the start too, and listed."""
    assert called("identify", "learn", "publish", "read", "tidy") <= {*READING, *WRITING}
    more = called("repair", "repair_copy", "repair_swap") - {*READING, *WRITING}
    assert {rule.partition("|")[0] if rule.startswith("+xgroup") else rule for rule in REPAIR} == {
        f"+{x}" for x in more
    }


async def test_looking_changes_nothing(server: RedisServer) -> None:
    """Neither where nothing is, nor where a log is."""
    source = RedisSource(server.url)
    await source.inspect()
    await source.close()
    assert server.command("DBSIZE") == b":0\r\n"
    source = RedisSource(server.url, retain=1, retain_for=60.0)
    await source.open()
    await source.publish(entries(20))
    server.command("ZADD", "asgi_forum:{default}:ages", "0", "1")
    keys = sorted(server.command("KEYS", "*").decode().split("\r\n")[2::2])
    assert len(keys) == 4
    before = [server.command("DUMP", key) for key in keys]
    await source.open()
    assert [server.command("DUMP", key) for key in keys] == before
    await source.close()


async def test_what_is_listed_for_repair_is_enough(server: RedisServer) -> None:
    """In place or by a copy, whichever the server lets it do; other programs' groups go on."""
    source = RedisSource(permit(server, [*EVERY, *REPAIR]))
    await source.open()
    await source.publish(entries(3))
    server.command("XGROUP", "CREATE", LOG, "theirs", "0-2")
    server.command("XADD", LOG, "7-7", "event", "{}")
    assert (await source.repair()).ids == ["7-7"]
    assert (await source.publish(entries(1)))[0].sequence == 4
    await source.close()
    assert refused(server) == set()


async def test_what_is_listed_for_more_is_enough(server: RedisServer) -> None:
    """A database of its own, and replicas that are waited for; neither works without."""
    url = permit(
        server,
        [*EVERY, *listed_for("a database other than 0"), *listed_for("replicas that are waited for (`wait_replicas`)")],
    )
    source = RedisSource(url.removesuffix("0") + "1", wait_replicas=1, timeout=0.5)
    await source.open()
    with pytest.raises(SourceUnavailable, match="0 of 1 replicas"):
        await source.publish(entries(1))
    await source.close()
    assert refused(server) == set()


async def test_what_is_listed_for_a_cluster_is_enough() -> None:
    """It is asked which node has the log."""
    with clustered(count=1) as cluster:
        node = cluster.nodes[0]
        for rules in ([*EVERY, *listed_for("`redis+cluster://`")], EVERY):
            source = RedisSource(permit(node, rules).replace("redis://", "redis+cluster://"))
            if rules is EVERY:
                with pytest.raises(ConfigurationError, match=r"does not permit .*cluster\|slots"):
                    await source.open()
            else:
                await source.open()
                await source.publish(entries(1))
            await source.close()
