"""Lines: whatever a client, its server and the forum do at the same time, it gets each event once, in order, or the stream ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import anyio
import anyio.lowlevel
import pytest

from asgi_forum.frames import EventsFrame, Frame
from tests.streams.takers import Behaviour, publish, stage

pytestmark = pytest.mark.anyio


def for_events(way: Behaviour) -> Behaviour:
    """Take all but events at once."""
    return lambda frame: way(frame) if isinstance(frame, EventsFrame) else None


class Gate:
    """A client that takes events only while the gate is open; `waiting` counts what stands before it."""

    def __init__(self) -> None:
        """Begin closed."""
        self._opened = anyio.Event()
        self.waiting = 0

    def __call__(self, frame: Frame) -> Awaitable[None] | None:
        """Wait, where these are events."""
        return self._pass() if isinstance(frame, EventsFrame) and not self._opened.is_set() else None

    def open(self) -> None:
        """Take all from now on."""
        self._opened.set()

    async def _pass(self) -> None:
        self.waiting += 1
        try:
            await self._opened.wait()
        finally:
            self.waiting -= 1


# What a send raises


async def _cancelled(frame: Frame) -> None:
    raise asyncio.CancelledError


async def _cancelled_later(frame: Frame) -> None:
    await anyio.lowlevel.checkpoint()
    raise asyncio.CancelledError


@pytest.mark.parametrize("way", [_cancelled, _cancelled_later])
@pytest.mark.parametrize("alone", [False, True])
async def test_a_send_that_is_cancelled_by_the_server_ends_its_stream(way: Behaviour, alone: bool) -> None:
    """It was not sent, so nothing may follow it: whichever task sends. The others are served."""
    async with stage() as made:
        if alone:  # what is history is sent by the stream's own task
            await publish(made)
        broken = await made.enter(for_events(way))
        sound = await made.enter()
        await publish(made)
        await broken.ended.wait()
        assert isinstance(broken.result, RuntimeError)
        assert broken.events == []
        await publish(made)
        assert sound.events == ([1, 2, 3] if alone else [1, 2])


@pytest.mark.parametrize("alone", [False, True])
async def test_a_send_that_cancels_its_own_task_ends_its_stream(alone: bool) -> None:
    """Middleware may take it for the connection's. What was being sent is not known to have arrived; the others are served."""

    async def cancels(frame: Frame) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.lowlevel.checkpoint()

    async with stage() as made:
        if alone:
            await publish(made)
        broken = await made.enter(for_events(cancels))
        sound = await made.enter()
        await publish(made)
        await broken.ended.wait()
        assert isinstance(broken.result, RuntimeError)
        await publish(made)
        assert sound.events == ([1, 2, 3] if alone else [1, 2])


@pytest.mark.parametrize("alone", [False, True])
async def test_a_send_that_cancels_its_own_task_and_returns_was_sent(alone: bool) -> None:
    """The stream goes on, in another task."""

    async def cancels(frame: Frame) -> None:
        task = asyncio.current_task()
        assert task is not None
        if alone:
            await anyio.lowlevel.checkpoint()
        task.cancel()

    async with stage() as made:
        taker = await made.enter(for_events(cancels))
        for _ in range(7):
            await publish(made, 2)
        assert taker.events == list(range(1, 15))
