"""Opening a stream: who is asked, and when it will end by itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from starlette.requests import HTTPConnection

from asgi_forum.auth import Subscription
from asgi_forum.cursor import EARLIEST, LATEST, Start
from asgi_forum.errors import AuthorizationExpired, Forbidden, ForumError, ShuttingDown
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame
from asgi_forum.sources import MemorySource
from asgi_forum.streams.opening import Door, ending_of
from asgi_forum.streams.request import Asked
from tests.events import entries, sequences
from tests.hub.bench import at_work
from tests.wire.sources import DistantSource

pytestmark = pytest.mark.anyio

ASKED = Asked(Filter.of(ticket="T-1"), EARLIEST, 10)


@pytest.mark.parametrize(
    ("expires_in", "age", "ends_in", "error"),
    [
        (None, None, None, None),
        (50.0, None, 50.0, AuthorizationExpired),
        (None, 70.0, 70.0, ShuttingDown),
        (50.0, 70.0, 50.0, AuthorizationExpired),
        (70.0, 50.0, 50.0, ShuttingDown),
    ],
)
async def test_a_stream_ends_at_what_comes_first(
    expires_in: float | None, age: float | None, ends_in: float | None, error: type[ForumError] | None
) -> None:
    """The end of its authorization, or the greatest age; by itself it has none."""
    async with at_work(max_stream_age=age) as running:
        granted = Subscription(Filter(), expires_at=None if expires_in is None else time.time() + expires_in)
        ending = ending_of(running, granted)
        if ends_in is None or error is None:
            assert ending is None
        else:
            assert ending is not None
            assert abs(ending.at - anyio.current_time() - ends_in) < 1.0
            assert type(ending.error) is error


async def test_an_end_may_be_a_datetime() -> None:
    """Unix seconds and aware datetimes say the same."""
    async with at_work() as running:
        ending = ending_of(running, Subscription(Filter(), expires_at=datetime.now(UTC) + timedelta(seconds=50)))
        assert ending is not None
        assert abs(ending.at - anyio.current_time() - 50.0) < 1.0


async def test_a_stream_delivers_what_was_granted() -> None:
    """Not what was asked for: the app may have narrowed it."""
    async with at_work() as running:
        await running.source.publish(entries(1, run_id="a") + entries(1, run_id="b"))  # type: ignore[attr-defined]  # a log in memory
        door = Door(running, lambda _, asked: asked.narrow(run_id="b"))
        granted = await door.grant(HTTPConnection({"type": "http", "headers": []}), ASKED)
        stream = door.open(ASKED, granted)
        assert sequences(await stream.next()) == [2]
        stream.close()


@pytest.mark.parametrize(("start", "first"), [(LATEST, []), (Start(tail=1), [2, 3]), (EARLIEST, [1, 2, 3])])
async def test_latest_and_tail_are_fixed_when_the_stream_is_opened(start: Start, first: list[int]) -> None:
    """What is published after that is news, though the client has not got a frame yet; other starts need no look."""
    source = MemorySource()
    await source.publish(entries(2))
    async with at_work(source) as running:
        stream = await Door(running, None).opened(Asked(Filter(), start, 10), Subscription(Filter()), {})
        await source.publish(entries(1))
        frame = await stream.next()
        assert (sequences(frame) if isinstance(frame, EventsFrame) else []) == first
        stream.close()


async def test_opening_may_be_cancelled() -> None:
    """While the source does not answer: the reader leaves nothing behind."""
    source = DistantSource()
    async with at_work(source) as running:
        await wait_all_tasks_blocked()
        source.fall_mute()
        with anyio.move_on_after(0.01) as scope:
            await Door(running, None).opened(Asked(Filter(), LATEST, 10), Subscription(Filter()), {})
        assert scope.cancelled_caught
        assert running.hub._members == set()  # pyright: ignore[reportPrivateUsage]  # nobody else can tell
        source.speak()


async def test_who_is_refused_gets_no_stream() -> None:
    """The app's word comes before anything is opened."""
    async with at_work() as running:
        with pytest.raises(Forbidden):
            await Door(running, lambda _, asked: False).grant(HTTPConnection({"type": "http", "headers": []}), ASKED)
        assert len(running.hub.channels) == 0
