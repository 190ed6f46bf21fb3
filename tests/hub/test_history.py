"""What readers share that catch up: a step is kept for who comes next, and many steps only where somebody comes."""

from __future__ import annotations

import time

import pytest

from asgi_forum.cursor import Cursor
from asgi_forum.filters import Filter
from asgi_forum.frames import EventsFrame
from asgi_forum.hub.history import OVERHEAD, History, Step
from tests.events import stored
from tests.hub.bench import bench
from tests.wire.sources import HalfNearSource

ALL = Filter()


def at(sequence: int) -> Cursor:
    """A position."""
    return Cursor("epoch", sequence, "x")


def step(sequence: int) -> Step:
    """A step over one event, taken just now."""
    event = stored(sequence)
    return Step(EventsFrame([event], event.cursor), event.position, sequence, 1, time.monotonic())


def taken(history: History, count: int) -> None:
    """Let somebody take so many steps, one event each."""
    for sequence in range(count):
        history.taken(ALL, at(sequence), 1, 100, step(sequence + 1))


def kept(history: History, count: int) -> list[int]:
    """The positions among the first so many from which there is a step."""
    return [sequence for sequence in range(count) if history.step(ALL, at(sequence), 1, 100)]


def test_a_step_is_for_the_same_position_filter_and_bounds() -> None:
    """For nobody else."""
    history = History(10**6)
    history.taken(ALL, at(1), 1, 100, step(2))
    assert history.step(ALL, at(1), 1, 100)
    for other in ((Filter.of(ticket="a"), at(1), 1, 100), (ALL, at(2), 1, 100), (ALL, at(1), 2, 100)):
        assert history.step(*other) is None
    assert history.step(ALL, at(1), 1, 200) is None
    assert history.step(ALL, Cursor("epoch", 1, "y"), 1, 100) is None


def test_who_reads_alone_leaves_few_steps_behind() -> None:
    """Nobody has come for one."""
    history = History(10**6)
    taken(history, 100)
    assert kept(history, 100) == list(range(92, 100))


def test_as_many_steps_are_kept_as_there_is_room_for_once_somebody_comes() -> None:
    """The oldest go; the same step taken again counts once."""
    history = History(sum(len(stored(sequence).sse) + OVERHEAD for sequence in range(1, 51)))
    taken(history, 1)
    assert history.step(ALL, at(0), 1, 100)
    taken(history, 50)
    assert kept(history, 50) == list(range(50))
    taken(history, 51)
    assert kept(history, 51) == list(
        range(2, 51)
    )  # the newest one is larger than the oldest: its number has another digit


def test_frames_that_are_not_full_are_bounded_in_bytes_too() -> None:
    """A page is one, of a megabyte; the newest stays."""
    events = [stored(sequence, payload={"text": "x" * 10_000}) for sequence in range(1, 11)]
    history = History(3 * (len(events[0].sse) + OVERHEAD))
    made = [EventsFrame([event], event.cursor) for event in events]
    for each in made:
        assert history.frame(ALL, each) is each
    again = [
        history.frame(ALL, EventsFrame([event], event.cursor)) is each for event, each in zip(events, made, strict=True)
    ]
    assert not any(again[:3])
    small = History(1)
    assert small.frame(ALL, made[0]) is made[0]
    assert small.frame(ALL, EventsFrame([events[0]], events[0].cursor)) is made[0]


@pytest.mark.anyio
@pytest.mark.parametrize("near", [True, False])
async def test_a_hundred_readers_that_catch_up_share_every_frame(near: bool) -> None:
    """From the log's beginning, and however far one is ahead of another: each frame is made once, and so encoded once."""
    async with bench(1000, source=HalfNearSource() if near else None) as made:
        readers = [made.reader("earliest") for _ in range(100)]
        came: list[bytes] = []
        for turn in range(70):
            for index, reader in enumerate(readers):
                if turn >= index // 2 and not reader.live:
                    frame = await reader.step(100)
                    came += [frame.sse] if isinstance(frame, EventsFrame) else []
        assert [reader.sequence for reader in readers] == [1000] * 100
        assert (len(came), len(set(map(id, came)))) == (1000, 10)
