"""Publishing to a source that is away: repeated while the caller waits, never twice, and told honestly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from asgi_forum import Forum, ForumEvent, SourceUnavailable
from asgi_forum.entries import Entry
from asgi_forum.errors import EventIdConflict, InvalidWait, Outcome
from asgi_forum.models import Receipt
from asgi_forum.publishing import publish
from tests.events import draft, entries
from tests.wire.sources import DistantSource

pytestmark = pytest.mark.anyio


class Failing(DistantSource):
    """A log that fails as often as a test says, each time with an outcome, or with a bug of its own."""

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        super().__init__()
        self.outcomes = list(outcomes)
        self.tries = 0

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Fail, or publish; where the outcome is unknown, it got in."""
        self.tries += 1
        if not self.outcomes:
            return await super().publish(entries)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "unknown":
            await super().publish(entries)
        raise SourceUnavailable("away", outcome=outcome)


async def test_it_fails_at_once_by_default() -> None:
    """Whoever wants to wait says so."""
    source = Failing("not_published")
    with pytest.raises(SourceUnavailable) as caught:
        await publish(source, entries(1), wait=0)
    assert source.tries == 1
    assert caught.value.outcome == "not_published"


async def test_it_is_repeated_while_there_is_time() -> None:
    """An answer that got lost is no second event."""
    source = Failing("not_published", "unknown", "not_published")
    batch = entries(2)
    with anyio.fail_after(10):
        receipts = await publish(source, batch, wait=30)
    assert source.tries == 4
    assert [receipt.sequence for receipt in receipts] == [1, 2]
    assert (await source.log.read(0, 10)).end.sequence == 2


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["not_published", "not_published"], "not_published"),
        (["unknown", "not_published"], "unknown"),
        (["not_published", "unknown"], "unknown"),
        ([ZeroDivisionError("the secret"), "not_published"], "unknown"),
    ],
)
async def test_what_one_try_may_have_done_the_last_does_not_undo(outcomes: list[Any], expected: Outcome) -> None:
    """The outcome is that of all tries together, and the ids are told to repeat them with."""
    rest: list[Outcome] = ["not_published"] * 100
    source = Failing(*outcomes, *rest)
    batch = entries(2)
    with pytest.raises(SourceUnavailable) as caught:
        await publish(source, batch, wait=0.2)
    assert source.tries >= 2
    assert caught.value.outcome == expected
    assert caught.value.event_ids == tuple(entry.event_id for entry in batch)
    assert "secret" not in str(caught.value)


async def test_what_is_wrong_is_not_repeated() -> None:
    """Time does not mend it."""
    source = Failing(EventIdConflict("a", ["ticket"]))
    with pytest.raises(EventIdConflict):
        await publish(source, entries(1), wait=30)
    assert source.tries == 1


async def test_a_forum_waits_for_its_caller() -> None:
    """One event or many."""
    source = Failing("not_published", "unknown")
    async with Forum(source) as forum:
        with anyio.fail_after(10):
            receipt = await forum.publish(event_type="a.b", ticket="T-1", event_id="x", wait=30)
            (again,) = await forum.publish_many([draft(event_type="a.b", event_id="x")], wait=30)
    assert (receipt.sequence, again.sequence, again.duplicate) == (1, 1, True)


@pytest.mark.parametrize("wait", [-1, float("nan"), float("inf"), True, "1"])
async def test_a_wait_that_is_off_is_refused(wait: Any) -> None:
    """Before anything is published."""
    async with Forum() as forum:
        with pytest.raises(InvalidWait, match="wait: got"):
            await forum.publish_many([ForumEvent(event_type="a.b", ticket="T-1")], wait=wait)
        assert (await forum.read()).events == []


class Faulty(DistantSource):
    """A log that has something to report."""

    def report(self) -> dict[str, Any]:
        """A fault, and a figure."""
        return {"undecodable": 3, "fault": "the log holds the entry 17-0"}


async def test_health_shows_what_a_source_reports() -> None:
    """A fault is `degraded`: publishing is refused, though streams go on."""
    async with Forum(Faulty()) as forum:
        health = await forum.health()
    assert health["status"] == "degraded"
    assert health["source"] == {
        "kind": "distant",
        "available": True,
        "undecodable": 3,
        "fault": "the log holds the entry 17-0",
    }


async def test_a_wait_bounds_all_tries_together() -> None:
    """A source that does not answer is not waited for any longer: the outcome is open then."""

    class Silent(DistantSource):
        async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
            await anyio.sleep_forever()
            return []

    async with Forum(Silent(), handle_signals=False) as forum:
        with anyio.fail_after(5), pytest.raises(SourceUnavailable, match=r"not answered within 0\.05 s") as caught:
            await forum.publish(event_type="a.b", ticket="T-1", wait=0.05)
    assert caught.value.outcome == "unknown"
    assert caught.value.event_ids
