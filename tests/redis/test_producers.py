"""Other producers: what any program appends by XADD is an event like others, and what is none stops nobody."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from uuid import uuid4

import anyio
import pytest

from asgi_forum.errors import EventIdConflict, SourceUnavailable
from asgi_forum.sources.redis import RedisSource
from tests.events import entries, entry, sequences
from tests.redis.conftest import OpenCrowd
from tests.redis.producers import foreign
from tests.redis.servers import RedisServer
from tests.redis.test_source import opened
from tests.redis.witnesses import Crowd


class Log:
    """A log that other programs write to."""

    def __init__(self, server: RedisServer) -> None:
        """Give it a name of its own."""
        self.name = f"t{uuid4().hex}"
        self.key = f"asgi_forum:{{{self.name}}}:log"
        self._server = server

    def add(self, *fields: str, entry_id: str = "0-*") -> bytes:
        """XADD an entry; one field is that of an event."""
        if len(fields) == 1:
            fields = ("event", *fields)
        return self.command("XADD", *fields, entry_id=entry_id)

    def command(self, name: str, *words: str, entry_id: str | None = None) -> bytes:
        """Send a command about the log, which must be carried out."""
        given = (entry_id, *words) if entry_id else words
        reply = self._server.command(name, self.key, *given)
        assert not reply.startswith(b"-"), reply
        return reply


@pytest.fixture
def log(redis_server: RedisServer) -> Log:
    """A log of this test's own."""
    return Log(redis_server)


@pytest.fixture
def crowd(redis_server: RedisServer, log: Log, open_crowd: OpenCrowd) -> Crowd:
    """Readers of it who have read six events."""
    crowd = open_crowd(redis_server.url, name=log.name)
    crowd.see(5)
    return crowd


def test_an_entry_of_another_producer_is_an_event_like_others(crowd: Crowd, log: Log) -> None:
    """On streams that are live, to those who come back, and in pages, between those of the forum."""
    for number in range(3):
        log.add(foreign(f"theirs-{number}", payload={"n": number}, run_id=" run-1 "))
        crowd.publish(2)
    events = crowd.log()
    assert [event["sequence"] for event in events] == list(range(1, 6 + 3 * 4 + 1))
    theirs = [event for event in events if event["envelope"]["event_id"].startswith("theirs")]
    assert [event["payload"] for event in theirs] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert {event["envelope"]["run_id"] for event in theirs} == {"run-1"}
    assert {event["envelope"]["actor_type"] for event in theirs} == {"system"}
    crowd.finish()


def test_a_flood_of_other_producers_is_complete(crowd: Crowd, log: Log) -> None:
    """More than one read takes, while the forum publishes too."""
    for number in range(400):
        log.add(foreign(f"theirs-{number}"))
        if number % 100 == 50:
            crowd.publish(3)
    crowd.finish()


WRONG: dict[str, Sequence[str]] = {
    "no field of that name": ("message", "hello"),
    "no JSON": ("event", "{"),
    "not an object": ("event", "[1, 2]"),
    "no envelope": ("event", '{"payload": {}}'),
    "an envelope that is none": ("event", '{"envelope": 1}'),
    "no event_id": ("event", foreign(None)),
    "no event_type": ("event", foreign("x", event_type=None)),
    "no ticket": ("event", foreign("x", ticket=None)),
    "no occurred_at": ("event", foreign("x", occurred_at=None)),
    "a type that is none": ("event", foreign("x", event_type="No Type")),
    "an unknown field": ("event", foreign("x", colour="red")),
    "a payload that is no object": ("event", foreign("x", payload=[1])),
    "a date that is none": ("event", foreign("x", occurred_at="yesterday")),
    "binary": ("event", "\ud83d\x00\xff".encode("utf-16", "surrogatepass").decode("latin-1")),
}


@pytest.mark.anyio
@pytest.mark.parametrize("case", WRONG)
async def test_what_is_no_event_is_counted_told_once_and_passed_over(
    redis_server: RedisServer, log: Log, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With its id; its number is used up, and the log goes on before and behind it."""
    async with opened(redis_server, name=log.name) as source:
        await source.publish(entries(1))
        log.add(*WRONG[case])
        await source.publish(entries(1))
        for after in (0, 0, 1, 2):
            assert sequences(await source.read(after, 10)) == [each for each in (1, 3) if each > after]
        assert sequences(await source.read_before(10, 10)) == [1, 3]
        assert source.report()["undecodable"] == 1
        assert [record.message.split()[1] for record in caplog.records if "undecodable" in record.message] == ["0-2:"]


@pytest.mark.anyio
async def test_more_fields_than_one_do_no_harm(redis_server: RedisServer, log: Log) -> None:
    """The event's is looked for; the others are the producer's own, though part of what the cursor is of."""
    async with opened(redis_server, name=log.name) as source:
        log.add("trace", "abc", "event", foreign("theirs"), "more", "")
        page = await source.read(0, 10)
        assert [json.loads(event.json)["envelope"]["event_id"] for event in page.events] == ["theirs"]
        assert (await source.read(1, 10)).anchor == page.events[0].cursor


def test_what_is_no_event_stops_no_stream(crowd: Crowd, log: Log) -> None:
    """Live, in history, and at the end, where nothing follows for a while."""
    numbers: list[int] = []
    for fields in WRONG.values():
        reply = log.add(*fields)
        numbers.append(int(reply.split(b"0-")[1]))
        crowd.publish(1)
    log.add("nothing", "")
    numbers.append(numbers[-1] + 3)
    crowd.finish(passed_over=numbers)


@pytest.mark.parametrize("gone", [[2, 3], [1], [6], [5, 6], [1, 2, 3, 4, 5, 6]])
def test_a_number_that_was_deleted_is_passed_over(crowd: Crowd, log: Log, gone: list[int]) -> None:
    """In the middle, at the beginning and at the end: what follows comes, to those who had read it and to those who had not."""
    log.command("XDEL", *[f"0-{number}" for number in gone])
    before = crowd.workers[0].page(cursor="earliest")
    assert [event["sequence"] for event in before["events"]] == [each for each in range(1, 7) if each not in gone]
    receipts = crowd.publish(3)
    assert receipts[0].sequence == 7
    for witness in crowd.staying:
        witness.until_event(receipts[-1].event_id)
        assert witness.resets() == []
    page = crowd.workers[1].page(cursor=before["next_cursor"])
    assert [event["sequence"] for event in page["events"]] == [7, 8, 9, 10]


@pytest.mark.anyio
async def test_an_id_of_another_producer_is_not_published_again(redis_server: RedisServer, log: Log) -> None:
    """It is a duplicate where its content is the same, and a conflict where it is not."""
    async with opened(redis_server, name=log.name) as source:
        await source.publish(entries(1))
        log.add(foreign("theirs", payload={"n": 1}))
        same = entry(event_id="theirs", payload={"n": 1})
        (receipt,) = await source.publish([same])
        assert (receipt.sequence, receipt.duplicate) == (2, True)
        with pytest.raises(EventIdConflict, match="payload"):
            await source.publish([entry(), entry(event_id="theirs", payload={"n": 2})])
        assert sequences(await source.read(0, 10)) == [1, 2]


# An entry that Redis can't number on from


async def repair(url: str, name: str) -> None:
    """Remove it, whichever way the server takes."""
    source = RedisSource(url, name=name)
    try:
        await source.repair()
    finally:
        await source.close()


def test_an_entry_without_a_number_stops_publishing_and_nothing_else(
    crowd: Crowd, log: Log, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain `XADD *`: it is named; streams stay, reading goes on, and all goes on where it was once it is removed."""
    entry_id = log.add("event", foreign("stray"), entry_id="*").split(b"\r\n")[1].decode()
    for worker in crowd.workers:
        with pytest.raises(SourceUnavailable, match=entry_id) as caught:
            worker.publish({})
        assert caught.value.outcome == "not_published"
        health = worker.wait_for_health(lambda health: health["status"] == "degraded")
        assert entry_id in health["source"]["fault"]
        assert len(worker.page(cursor="earliest")["events"]) == 6
    answer = crowd.workers[0].post({"event_type": "a.b", "ticket": "T-1"})
    assert answer.status_code == 503
    assert answer.json()["error"]["outcome"] == "not_published"
    anyio.run(repair, redis_server.url, log.name)
    began = time.monotonic()
    assert crowd.publish(2)[0].sequence == 7
    crowd.finish()
    for worker in crowd.workers:
        worker.wait_for_health(lambda health: health["status"] == "ok")
    assert time.monotonic() - began < 5
    told = [record for record in caplog.records if "unnumbered_entry" in record.message]
    assert 1 <= len(told) <= len(crowd.workers)


@pytest.mark.anyio
async def test_many_entries_without_numbers_hide_nothing(redis_server: RedisServer, log: Log) -> None:
    """What lies before them is read, forward and back."""
    async with opened(redis_server, name=log.name) as source:
        await source.publish(entries(5))
        for _ in range(50):
            log.add("event", foreign("stray"), entry_id="*")
        assert sequences(await source.read(0, 100)) == [1, 2, 3, 4, 5]
        assert sequences(await source.read(3, 1)) == [4]
        assert sequences(await source.read_before(2**62, 2)) == [4, 5]
        assert (await source.read(2**62, 0)).end.sequence == 5


@pytest.mark.anyio
async def test_a_jump_in_the_numbers_is_passed_over(redis_server: RedisServer, log: Log) -> None:
    """A producer may number by itself: what it left out is like what was deleted."""
    async with opened(redis_server, name=log.name) as source:
        await source.publish(entries(2))
        log.add(foreign("theirs"), entry_id="0-1000")
        assert (await source.publish(entries(1)))[0].sequence == 1001
        assert sequences(await source.read(0, 10)) == [1, 2, 1000, 1001]
        assert sequences(await source.read(500, 10)) == [1000, 1001]
