"""A Redis that crashes, forgets, stops, or is another one than before: every reader has a complete history, or is told."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest

from asgi_forum.errors import SourceUnavailable
from tests.redis.conftest import OpenCrowd
from tests.redis.producers import foreign
from tests.redis.proxy import Proxy, proxied
from tests.redis.servers import RedisServer, running, wait_until
from tests.redis.witnesses import Crowd

AOF = ("--appendonly", "yes", "--appendfsync", "always")
LOG, META = "asgi_forum:{default}:log", "asgi_forum:{default}:meta"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis of this test's own, which keeps what it has acknowledged."""
    with running(*AOF) as server:
        yield server


@pytest.fixture
def crowd(server: RedisServer, open_crowd: OpenCrowd) -> Crowd:
    """Readers who have read the first six events."""
    crowd = open_crowd(f"{server.url}?timeout=0.5")
    crowd.see(5)
    return crowd


def refused(crowd: Crowd) -> str:
    """Try to publish, which must fail within a few seconds, and return what is said of the outcome."""
    began = time.monotonic()
    with pytest.raises(SourceUnavailable) as caught:
        crowd.workers[0].publish({})
    assert time.monotonic() - began < 4
    assert caught.value.event_ids
    return str(caught.value.outcome)


def test_a_crash_loses_nothing_that_is_in_the_file(server: RedisServer, crowd: Crowd) -> None:
    """Killed with -9 and started again: nobody misses anything, nobody gets a reset."""
    for _ in range(2):
        server.kill()
        crowd.until_degraded()
        assert refused(crowd) == "not_published"
        server.start()
        crowd.until_well()
        crowd.publish(3, worker=1)
    crowd.finish()


def test_a_crash_that_loses_all_is_told(server: RedisServer, crowd: Crowd) -> None:
    """Started again with nothing: everybody gets a reset, and then what is published from now on, from 1."""
    server.kill()
    crowd.until_degraded()
    shutil.rmtree(server.folder)
    server.start()
    assert [receipt.sequence for receipt in crowd.publish(3)] == [1, 2, 3, 4]
    crowd.until_well()
    crowd.finish(resets=["replaced"], lost=True)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_flush_is_told(server: RedisServer, crowd: Crowd, at_once: bool) -> None:
    """FLUSHALL shows no error on any connection; what follows is told, whether it comes at once or later."""
    server.command("FLUSHALL")
    if not at_once:
        for witness in crowd.staying:
            witness.until(lambda frame: frame["type"] == "forum.reset")
    crowd.publish(12)
    crowd.finish(resets=["replaced"], lost=True)


def test_a_flush_between_two_publishes_is_told(server: RedisServer, crowd: Crowd) -> None:
    """A log that is as long as the former one was is another one all the same."""
    for _ in range(3):
        crowd.publish(5)
        server.command("FLUSHALL")
    crowd.publish(5)
    crowd.finish(resets=["replaced"], lost=True)


@pytest.mark.parametrize("count", [3, 6, 20])
def test_a_log_that_is_deleted_and_grows_again_is_told(server: RedisServer, crowd: Crowd, count: int) -> None:
    """By other producers, behind a blocked read, to less than before, as much, or more: the cursors of before are not good."""
    server.command("DEL", LOG)
    for number in range(count):
        server.command("XADD", LOG, "0-*", "event", foreign(f"new-{number}"))
    crowd.finish(resets=["replaced"], lost=True)


def test_a_log_that_is_deleted_is_told(server: RedisServer, crowd: Crowd) -> None:
    """Publishing begins again at 1."""
    server.command("DEL", LOG)
    assert crowd.publish(3)[0].sequence == 1
    crowd.finish(resets=["replaced"], lost=True)


def test_a_log_without_its_identity_gets_another_one(server: RedisServer, crowd: Crowd) -> None:
    """Without its secret no cursor can be proven: everybody gets a reset, and the log goes on."""
    server.command("DEL", META)
    assert crowd.publish(3)[0].sequence == 7
    crowd.finish(resets=["replaced"])


def test_a_log_whose_secret_is_gone_gets_another_identity(server: RedisServer, crowd: Crowd) -> None:
    """Half an identity is none: who reads next finds out."""
    server.command("HDEL", META, "secret")
    assert len(crowd.log()) == 6
    for witness in crowd.staying:
        witness.until(lambda frame: frame["type"] == "forum.reset")
    crowd.publish(3)
    crowd.finish(resets=["replaced"])


def test_a_stopped_server_is_waited_for(server: RedisServer, crowd: Crowd) -> None:
    """SIGSTOP: connections stay and nothing is answered; streams wait, and go on where they were."""
    server.pause()
    crowd.until_degraded()
    assert refused(crowd) == "unknown"
    server.go_on()
    crowd.until_well()
    crowd.publish(3)
    crowd.finish()


def test_an_old_copy_is_told_to_those_who_have_seen_more(server: RedisServer, crowd: Crowd) -> None:
    """Restored from its files of before: whoever has read further gets a reset, however far the log has come again."""
    copy = server.folder.with_name("copy")
    shutil.copytree(server.folder, copy)
    fence = crowd.publish(5)[-1].event_id
    for witness in crowd.staying:
        witness.until_event(fence)
    server.kill()
    crowd.until_degraded()
    shutil.rmtree(server.folder)
    copy.rename(server.folder)
    server.start()
    assert crowd.publish(8)[0].sequence == 7
    crowd.until_well()
    crowd.finish(resets=["replaced"], lost=True)


def test_a_failover_that_loses_events_is_told(server: RedisServer, open_crowd: OpenCrowd) -> None:
    """The replica lacks the last events, and others take their numbers: nobody gets those without a reset before."""
    with running("--replicaof", "127.0.0.1", str(server.port)) as replica, proxied(server.port) as proxy:
        crowd = open_crowd(f"{proxy.url}?timeout=0.5")
        crowd.see(5)
        wait_until(lambda: replica.command("XLEN", LOG) == b":6\r\n")
        replica.command("REPLICAOF", "NO", "ONE")
        fence = crowd.publish(3)[-1].event_id
        for witness in crowd.staying:
            witness.until_event(fence)
        proxy.refuse()
        crowd.until_degraded()
        proxy.target = replica.port
        proxy.accept()
        assert crowd.publish(2, worker=1)[0].sequence == 7
        crowd.until_well()
        crowd.finish(resets=["replaced"], lost=True)


# The network


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    """A network before the common server."""
    with proxied(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def distant(proxy: Proxy, open_crowd: OpenCrowd, request: pytest.FixtureRequest) -> Crowd:
    """Readers behind that network, of a log of their own."""
    crowd = open_crowd(f"{proxy.url}?timeout=0.5", name=f"t{abs(hash(request.node.name))}-{time.monotonic_ns()}")
    crowd.see(5)
    return crowd


def test_cut_connections_are_made_anew(proxy: Proxy, distant: Crowd) -> None:
    """Again and again, while events come: none is lost, none comes twice."""
    for worker in range(4):
        distant.publish(2, worker=worker)
        proxy.cut()
        distant.publish(2, worker=worker + 1)
    distant.finish()


def test_a_network_that_refuses_is_waited_for(proxy: Proxy, distant: Crowd) -> None:
    """Publishing fails at once, and surely did not get in."""
    proxy.refuse()
    distant.until_degraded()
    assert refused(distant) == "not_published"
    proxy.accept()
    distant.until_well()
    distant.publish(3)
    distant.finish()


def test_a_network_that_swallows_all_is_waited_for(proxy: Proxy, distant: Crowd) -> None:
    """Nothing is answered, connecting neither: it is an outage after the time-out, and over when it is over."""
    proxy.swallow()
    distant.until_degraded()
    assert refused(distant) in ("unknown", "not_published")
    proxy.heal()
    distant.until_well()
    distant.publish(3)
    distant.finish()


def test_a_slow_network_is_slow_and_no_more(proxy: Proxy, distant: Crowd) -> None:
    """Each piece is 0.1 s late: no outage, nothing lost."""
    proxy.delay = 0.1
    distant.publish(3)
    distant.publish(3, worker=1)
    proxy.delay = 0.0
    distant.finish()
    assert not [frame for witness in distant.staying for frame in witness.frames if frame.get("degraded")]
