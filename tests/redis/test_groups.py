"""Sentinels, Clusters, protocols and clients of the app's own: wherever the log is, it is found, and found again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from redis.asyncio import Redis, RedisCluster, Sentinel

from asgi_forum.errors import SourceUnavailable
from asgi_forum.sources.redis import RedisSource
from tests.events import entries, sequences
from tests.redis.conftest import OpenCrowd
from tests.redis.groups import SERVICE, Cluster, Watched, clustered, watched
from tests.redis.servers import RedisServer, wait_until
from tests.redis.test_source import opened

LOG = "asgi_forum:{default}:log"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes, for all tests of this module."""
    with clustered("--appendonly", "yes", "--appendfsync", "always") as cluster:
        yield cluster


@pytest.fixture
def group() -> Iterator[Watched]:
    """A master with its replica and Sentinels, for one test."""
    with watched() as group:
        yield group


# Sentinel


def test_a_failover_of_what_all_have_is_no_loss(group: Watched, open_crowd: OpenCrowd) -> None:
    """The replica has it all: streams go on without a reset, and publishing too, on the new master."""
    crowd = open_crowd(f"{group.url}?timeout=0.5")
    crowd.see(5)
    wait_until(lambda: group.replica.command("XLEN", LOG) == b":6\r\n")
    group.fail_over()
    crowd.until_degraded()
    crowd.until_well()
    assert crowd.publish(3)[0].sequence == 7
    crowd.finish()


def test_a_failover_that_forks_the_log_is_told(group: Watched, open_crowd: OpenCrowd) -> None:
    """The replica lacks the last acknowledged events: nobody gets others under their numbers without a reset before."""
    crowd = open_crowd(f"{group.url}?timeout=0.5")
    crowd.see(5)
    wait_until(lambda: group.replica.command("XLEN", LOG) == b":6\r\n")
    group.fork()
    fence = crowd.publish(3)[-1].event_id
    for witness in crowd.staying:
        witness.until_event(fence)
    group.fail_over()
    crowd.until_degraded()
    crowd.until_well()
    assert crowd.publish(1)[0].sequence == 7
    crowd.finish(resets=["replaced"], lost=True)


@pytest.mark.anyio
async def test_a_sentinel_that_is_gone_is_passed_over(group: Watched) -> None:
    """The others are asked."""
    group.sentinels[0].kill()
    async with opened(group.master, url=group.url) as source:
        assert (await source.publish(entries(1)))[0].sequence == 1


@pytest.mark.anyio
async def test_sentinels_that_are_gone_are_an_outage(group: Watched) -> None:
    """Once the connections are gone too."""
    async with opened(group.master, url=f"{group.url}?timeout=0.5") as source:
        for each in group.sentinels:
            each.kill()
        group.master.kill()
        with pytest.raises(SourceUnavailable, match="can't be reached") as caught:
            await source.publish(entries(1))
        assert caught.value.outcome == "not_published"


@pytest.mark.anyio
async def test_replicas_are_waited_for(group: Watched) -> None:
    """With `wait_replicas`, publishing returns when so many have it; where they don't, the outcome is open."""
    async with opened(group.master, url=group.url, name="waiting", wait_replicas=1, timeout=0.5) as source:
        await source.publish(entries(1))
        group.replica.pause()
        given = entries(1)
        for _ in range(2):  # a repeat, too, on whatever connection, is not taken for granted
            async with opened(group.master, url=group.url, name="waiting", wait_replicas=1, timeout=0.5) as again:
                with pytest.raises(SourceUnavailable, match="0 of 1 replicas") as caught:
                    await again.publish(given)
            assert caught.value.outcome == "unknown"
        group.replica.go_on()


# Cluster


def test_a_log_in_a_cluster_moves_from_node_to_node(cluster: Cluster, open_crowd: OpenCrowd) -> None:
    """Its slot is given to another node, twice: streams follow it, and nothing is lost."""
    crowd = open_crowd(f"{cluster.url}?timeout=0.5", name="moving")
    crowd.see(5)
    key = "asgi_forum:{moving}:log"
    for _ in range(2):
        owner = cluster.owner(key)
        cluster.move(key, next(node for node in cluster.nodes if node is not owner))
        fence = crowd.publish(3)[-1].event_id
        for witness in crowd.staying:
            witness.until_event(fence)
    crowd.finish()


def test_a_node_that_crashes_is_waited_for(cluster: Cluster, open_crowd: OpenCrowd) -> None:
    """It comes back with what it had."""
    crowd = open_crowd(f"{cluster.url}?timeout=0.5", name="crashing")
    crowd.see(5)
    node = cluster.owner("asgi_forum:{crashing}:log")
    node.kill()
    crowd.until_degraded()
    node.start()
    crowd.until_well()
    crowd.publish(3)
    crowd.finish()


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["a", "b", "c", "d", "e", "f"])
async def test_logs_lie_all_over_a_cluster(cluster: Cluster, name: str) -> None:
    """Each forum has all its keys in one slot, wherever that is."""
    async with opened(cluster.nodes[0], url=cluster.url, name=f"all-{name}") as source:
        await source.publish(entries(2))
        assert sequences(await source.read(0, 10)) == [1, 2]


# Protocols, and clients of the app's own


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols_are_alike(redis_server: RedisServer, open_crowd: OpenCrowd, protocol: int) -> None:
    """RESP2 and RESP3, live and stored."""
    crowd = open_crowd(f"{redis_server.url}?protocol={protocol}", name=f"resp{protocol}")
    crowd.see(5)
    redis_server.command("CLIENT", "KILL", "TYPE", "normal")
    crowd.publish(5)
    crowd.finish()


async def used(client: Any, name: str) -> list[int]:
    """Publish and read through a client of the app's own, which is as good as before afterwards."""
    source = RedisSource(client, name=name)
    await source.open()
    receipts = await source.publish(entries(3))
    page = await source.read(0, 10)
    assert [event.cursor for event in page.events] == [receipt.cursor for receipt in receipts]
    await source.close()
    assert await client.exists(f"asgi_forum:{{{name}}}:log") == 1
    return sequences(page)


from_url: Callable[..., Any] = cast("Any", Redis).from_url  # its own types are partial

CLIENTS: dict[str, Callable[[str], Any]] = {
    "text, RESP3": lambda url: from_url(url, decode_responses=True, protocol=3),
    "text, RESP2": lambda url: from_url(url, decode_responses=True, protocol=2),
    "bytes": from_url,
    "named, with a time-out": lambda url: from_url(url, client_name="app", socket_timeout=0.1),
    "with settings of its own": lambda url: from_url(url, health_check_interval=10, max_connections=3),
}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_client_of_the_apps_own_says_where_the_log_is(redis_server: RedisServer, kind: str) -> None:
    """Whatever it does with answers."""
    client = CLIENTS[kind](redis_server.url)
    try:
        assert await used(client, f"client-{list(CLIENTS).index(kind)}") == [1, 2, 3]
    finally:
        await client.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("text", [True, False])
async def test_a_cluster_client_of_the_apps_own_says_where_the_log_is(cluster: Cluster, text: bool) -> None:
    """Used before, or not yet."""
    client = RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port, decode_responses=text)
    try:
        assert await used(client, f"cluster-client-{text}") == [1, 2, 3]
    finally:
        await client.aclose()


@pytest.mark.anyio
async def test_a_sentinel_client_of_the_apps_own_says_where_the_log_is(group: Watched) -> None:
    """`Sentinel.master_for`: the master of the moment, asked for anew."""
    sentinel = Sentinel([("127.0.0.1", each.port) for each in group.sentinels])  # type: ignore[no-untyped-call]
    client = cast("Any", sentinel).master_for(SERVICE, decode_responses=True)
    try:
        assert await used(client, "default") == [1, 2, 3]
    finally:
        await client.aclose()
        for each in sentinel.sentinels:
            await each.aclose()
