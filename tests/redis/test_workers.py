"""Four processes on one log: readers that hop from one to the other, and publishers at all of them at once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.cli.command import started
from tests.redis.judge import judge
from tests.redis.proxy import Proxy, proxied
from tests.redis.servers import RedisServer
from tests.redis.witnesses import Witness
from tests.wire.exchange import DEADLINE
from tests.wire.readers import Ended, Event, Reader

PUBLISHERS, BATCHES = 4, 25
TRANSPORTS = ("sse", "websocket", "socket", "page")


class Process:
    """A forum in a process of its own."""

    def __init__(self, url: str, http: httpx2.Client) -> None:
        """Say where it listens."""
        self.url = url
        self._http = http

    def keep(self, reader: Reader) -> Reader:
        """Readers leave by themselves."""
        return reader

    def get(self, path: str = "/events", headers: Mapping[str, str] | None = None, **params: Any) -> httpx2.Response:
        """Send a GET."""
        return self._http.get(self.url + path, params=params, headers=headers)

    def post(self, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Publish, again with the same ids until it is acknowledged."""
        while True:
            answer = self._http.post(f"{self.url}/events", json=events)
            if answer.status_code in (200, 201):
                receipts: list[dict[str, Any]] = answer.json()["events"]
                return receipts
            assert answer.status_code == 503, answer.text


@pytest.fixture(scope="module")
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    """The network between the processes and their Redis."""
    with proxied(redis_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def processes(proxy: Proxy) -> Iterator[list[Process]]:
    """Four of them."""
    with ExitStack() as stack:
        http = stack.enter_context(httpx2.Client(timeout=DEADLINE, trust_env=False))
        # One log for this module: nobody else on this server has it.
        env = {"ASGI_FORUM_NAME": f"t{uuid4().hex}"}
        options = ("--source", f"{proxy.url}?timeout=1", "--allow-publish", "--heartbeat", "1")
        starting = [stack.enter_context(started("serve", "--port", "0", *options, env=env)) for _ in range(4)]
        yield [Process(each.stdout.next().removeprefix("asgi-forum: listening on "), http) for each in starting]


def publish(number: int, processes: Sequence[Process]) -> dict[str, int]:
    """Publish batches at any process, some of them at two; return the sequence of each id."""
    chance = random.Random(number)
    found: dict[str, int] = {}
    for batch in range(BATCHES):
        events = [
            {
                "event_type": "a.b",
                "ticket": f"T-{chance.randrange(3)}",
                "event_id": f"{uuid4().hex}",
                "payload": {"n": n},
            }
            for n in range(chance.randrange(1, 6))
        ]
        receipts = chance.choice(processes).post(events)
        if batch % 5 == 0:
            again = chance.choice(processes).post(events)
            assert [each["duplicate"] for each in again] == [True] * len(events)
            assert [each["cursor"] for each in again] == [each["cursor"] for each in receipts]
        found.update((receipt["event_id"], receipt["sequence"]) for receipt in receipts)
    return found


def hop(witness: Witness, number: int, processes: Sequence[Process], fence: str, over: threading.Event) -> None:
    """Read a few frames at each process, with the last cursor of the one before, up to an event; `over`: nobody waits any more."""
    chance = random.Random(number)
    while not over.is_set():
        witness.come(chance.choice(processes))
        for _ in range(chance.randrange(1, 12)):
            try:
                frame = witness.next()
            except (Ended, TimeoutError):
                break
            if fence in [event["envelope"]["event_id"] for event in frame.get("events", ())]:
                witness.leave()
                return
    witness.leave()
    raise AssertionError(f"{witness.name} never came to the end")


def whole_log(process: Process) -> list[Event]:
    """All events, by pages."""
    events: list[Event] = []
    cursor = "earliest"
    while True:
        page = process.get(cursor=cursor, limit=1000).json()
        events += page["events"]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            return events


@pytest.mark.parametrize("faults", [0, 6])
def test_hopping_readers_have_exact_histories(processes: list[Process], proxy: Proxy, faults: int) -> None:
    """Everything that was acknowledged, once, in order, whoever published and read where; also while connections are cut."""
    fence, over = uuid4().hex, threading.Event()
    witnesses = [Witness(f"{transport} {n}", transport) for n in range(2) for transport in TRANSPORTS]
    filtered = [Witness(f"{transport}, filtered", transport, ticket="T-1") for transport in TRANSPORTS]
    with ThreadPoolExecutor(32) as pool:
        readers = [
            pool.submit(hop, witness, number, processes, fence, over)
            for number, witness in enumerate(witnesses + filtered)
        ]
        publishers = [pool.submit(publish, number, processes) for number in range(PUBLISHERS)]
        pause = threading.Event()
        for _ in range(faults):
            pause.wait(0.1)
            proxy.cut()
        try:
            published = [publisher.result(60) for publisher in publishers]
            processes[0].post([{"event_type": "a.b", "ticket": "T-1", "event_id": fence}])
            for reader in readers:
                reader.result(30)
        finally:
            over.set()
    log = whole_log(processes[3])
    sequences = {event["envelope"]["event_id"]: event["sequence"] for event in log}
    assert [event["sequence"] for event in log] == list(range(1, len(log) + 1))
    for each in published:
        assert each.items() <= sequences.items()
    for witness in witnesses + filtered:
        judge(witness.name, witness.frames, log, keeps=witness.keeps, filtered=witness in filtered)
