"""Opening a stream: who is asked, and when it will end by itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from starlette.requests import HTTPConnection

from asgi_forum.auth import Subscription
from asgi_forum.cursor import EARLIEST, LATEST, Start
from asgi_forum.errors import AuthorizationExpired, Forbidden, ForumError, ShuttingDown
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame
from asgi_forum.settings import Limits
from asgi_forum.sources import MemorySource
from asgi_forum.streams.feed import BEGIN, Ending
from asgi_forum.streams.opening import Door, lifetime, of_age, of_authorization
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
        (None, 0.0, 0.0, ShuttingDown),
        (50.0, 100.0, 50.0, AuthorizationExpired),
        (100.0, 50.0, 50.0, ShuttingDown),
    ],
)
async def test_a_stream_ends_at_what_comes_first(
    expires_in: float | None, age: float | None, ends_in: float | None, error: type[ForumError] | None
) -> None:
    """The end of its authorization, or another; by itself it has none."""
    async with at_work() as running:
        granted = Subscription(Filter(), expires_at=None if expires_in is None else time.time() + expires_in)
        ending = None if age is None else Ending(anyio.current_time() + age, ShuttingDown())
        stream = Door(running, None).open(ASKED, granted, ending)
        begun = anyio.current_time()
        if ends_in is not None and error is not None:
            stream.check(begun + ends_in - 1.0)
            if ends_in:
                await stream.next()  # it goes on
            stream.check(begun + ends_in + 1.0)
            with pytest.raises(error):
                await stream.next()
        else:
            stream.check(begun + 10**9)
            await stream.next()
        stream.close()


@pytest.mark.parametrize("kind", ["seconds", "datetime"])
async def test_an_authorization_ends_when_it_says(kind: str) -> None:
    """Unix seconds and aware datetimes say the same; nothing is spread."""
    at = time.time() + 50.0 if kind == "seconds" else datetime.now(UTC) + timedelta(seconds=50)
    ending = of_authorization(Subscription(Filter(), expires_at=at))
    assert ending is not None
    assert abs(ending.at - anyio.current_time() - 50.0) < 1.0
    assert isinstance(ending.error, AuthorizationExpired)
    assert of_authorization(Subscription(Filter())) is None


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 3600.0), (0.5, 3420.0), (1.0, 3240.0)])
async def test_an_age_is_never_exceeded_and_nearly_reached(draw: float, seconds: float) -> None:
    """What is drawn decides about the last tenth."""
    assert lifetime(3600.0, draw) == pytest.approx(seconds)


async def test_what_begins_together_does_not_end_together() -> None:
    """A thousand streams end one after the other, all of them in the last tenth of the greatest age."""
    begun = anyio.current_time()
    found = [of_age(Limits(max_stream_age=3600.0)) for _ in range(1000)]
    ends = sorted(each.at - begun for each in found if each is not None)
    assert len(ends) == 1000
    assert ends[0] >= 3240.0
    assert ends[-1] <= 3600.0 + 5.0  # the time that this took
    assert max(later - earlier for earlier, later in pairwise(ends)) < 36.0
    assert of_age(Limits()) is None


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
        with running.streams.granted("sse") as place:
            asked = Asked(Filter(), start, 10)
            stream = await Door(running, None).opened(asked, Subscription(Filter()), {}, place)
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
        with anyio.move_on_after(0.01) as scope, running.streams.granted("sse") as place:
            await Door(running, None).opened(Asked(Filter(), LATEST, 10), Subscription(Filter()), {}, place)
        assert scope.cancelled_caught
        assert running.hub._members == set()  # pyright: ignore[reportPrivateUsage]  # nobody else can tell
        source.speak()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_opening_ends_when_the_forum_stops(when: str) -> None:
    """Though the source does not answer: at once, with the error that the stream would end with, and nothing is left behind."""
    source = DistantSource()
    async with at_work(source) as running:
        await wait_all_tasks_blocked()
        source.fall_mute()
        with running.streams.admitted("sse") as place, anyio.fail_after(BEGIN / 2):
            async with anyio.create_task_group() as tasks:
                if when == "meanwhile":

                    async def stop() -> None:
                        await wait_all_tasks_blocked()
                        running.streams.end_all(ShuttingDown())

                    tasks.start_soon(stop)
                else:
                    running.streams.end_all(ShuttingDown())
                with pytest.raises(ShuttingDown):
                    await Door(running, None).opened(Asked(Filter(), LATEST, 10), Subscription(Filter()), {}, place)
        assert running.hub._members == set()  # pyright: ignore[reportPrivateUsage]  # nobody else can tell
        assert running.stats()["endings"] == {}  # it never was a stream: whoever asked is refused
        source.speak()


async def test_who_is_refused_gets_no_stream() -> None:
    """The app's word comes before anything is opened."""
    async with at_work() as running:
        with pytest.raises(Forbidden):
            await Door(running, lambda _, asked: False).grant(HTTPConnection({"type": "http", "headers": []}), ASKED)
        assert len(running.hub.channels) == 0
