"""The time and the id that an event gets when it is made."""

from __future__ import annotations

import os
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from asgi_forum.stamps import new_event_id, rfc3339, utc_text


def test_now_is_in_utc_and_in_milliseconds() -> None:
    """As `sent_at` and `occurred_at` are written."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    text = utc_text()
    assert len(text) == len("2026-02-10T12:56:00.123Z")
    assert before <= datetime.fromisoformat(text) <= datetime.now(UTC)
    assert rfc3339(datetime.fromisoformat(text)) == text


@pytest.mark.parametrize("at", ["2026-02-10T12:56:00.000Z", "2026-12-31T23:59:59.999Z", "1999-01-01T00:00:00.007Z"])
def test_every_moment_is_written_as_it_is(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that follows another of the same second, or of another."""
    moment = datetime.fromisoformat(at)
    for shift in (0, 1, -1, 1000, -1000, 0):
        then = moment + timedelta(milliseconds=shift)
        nanoseconds = int(then.timestamp()) * 10**9 + then.microsecond * 1000 + 999
        monkeypatch.setattr(time, "time_ns", lambda found=nanoseconds: found)
        assert utc_text() == rfc3339(then)


def test_ids_are_uuids_of_version_7() -> None:
    """So a log's ids are nearly in its order; and no two are the same."""
    ids = [new_event_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert {(UUID(each).version, UUID(each).variant) for each in ids} == {(7, UUID(ids[0]).variant)}
    assert all(str(UUID(each)) == each for each in ids)
    times = [UUID(each).int >> 80 for each in ids]
    assert times == sorted(times)
    assert abs(times[0] / 1000 - time.time()) < 60


def test_ids_differ_where_the_host_repeats_its_experiments() -> None:
    """It seeds Python's random numbers, not ours."""
    random.seed(1)
    one = new_event_id()
    random.seed(1)
    assert new_event_id()[-17:] != one[-17:]


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_ids_differ_in_a_process_that_was_forked() -> None:
    """It begins with a random state of its own."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, new_event_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode()[-17:] != new_event_id()[-17:]
    os.close(reading)
    os.close(writing)
