"""The process's signals: streams leave first, then the server hears that it has to stop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from asgi_forum.hub.streams import OpenStreams

__all__ = ["GRACE", "Signals"]

GRACE = 1.0
"""Seconds that a signal is held back at most, for streams that are open: a client that reads nothing does not leave."""


class Signals:
    """
    Learns of SIGINT and SIGTERM by chaining the process's own handlers, never replacing them.

    Servers call the lifespan's shutdown only when all streams are closed, which would be never; or cut them at once. So while streams
    are open, they are told to end, and the handler that was there is called as soon as they have left, at most GRACE seconds later; at
    once where the signal comes again. Handlers that belong to an event loop (`add_signal_handler`) are told by the kernel meanwhile. A
    signal that nobody handles keeps its default action, and only the main thread may set handlers: elsewhere nothing is done.
    """

    def __init__(self) -> None:
        self._turn: _Turn | None = None
        self._set: dict[int, _Handler] = {}

    def chain(self, loop: asyncio.AbstractEventLoop, streams: OpenStreams, drain: Callable[[], None]) -> None:
        """Stand before the handlers that are there now; `drain` ends the streams, and is called in the loop."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._turn = _Turn(loop, streams, drain)
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.getsignal(number)
            if callable(previous):
                handler = self._set[number] = _Handler(self._turn, previous)
                signal.signal(number, handler)

    def restore(self) -> None:
        """Let go of a signal that is held back, and put the former handlers back, where ours are still the ones that are set."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._set.items():
                previous = handler.previous
                if signal.getsignal(number) is handler:
                    signal.signal(number, signal.default_int_handler if _of_finished_run(previous) else previous)
        self._set.clear()
        if self._turn is not None:
            self._turn.release()


class _Turn:
    """One forum's turn at a stop, and the signals that wait for its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, streams: OpenStreams, drain: Callable[[], None]) -> None:
        self._loop = loop
        self._streams = streams
        self._drain = drain
        self._held: list[Callable[[], object]] = []
        self._begun = False
        self._over = False

    def take(self, deliver: Callable[[], object], begin: Callable[[], None]) -> None:
        """Take a signal, between any two steps of the loop's own thread: deliver it once the streams have left."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(begin)
        if self._over or not self._streams.count or not self._loop.is_running():
            deliver()
            return
        again = bool(self._held)
        self._held.append(deliver)
        if again:
            self.release()

    def begin(self) -> None:
        """End the streams, and see to it that signals are not held back for long. In the loop; harmless when begun."""
        if not self._begun:
            self._begun = True
            self._drain()
            self._streams.when_left(self.release)
            self._loop.call_later(GRACE, self.release)

    def release(self) -> None:
        """Deliver what is held back, and hold back nothing more."""
        self._over = True
        held, self._held = self._held, []
        for deliver in held:
            deliver()


class _Handler:
    """Stands before another handler of one signal."""

    def __init__(self, turn: _Turn, previous: Callable[[int, FrameType | None], Any]) -> None:
        self._turn = turn
        self.previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take the signal."""
        self._turn.take(partial(self.previous, number, frame), self._begin)

    def _begin(self) -> None:
        self._turn.begin()
        if isinstance(self.previous, _Handler):  # of another forum: their streams leave at the same time
            self.previous._begin()


def _of_finished_run(handler: object) -> bool:
    """Whether a handler is that of an `asyncio.run` which is over: it puts Python's own back, but not where it finds ours."""
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    task = getattr(handler, "keywords", {}).get("main_task")
    return isinstance(runner, asyncio.Runner) and isinstance(task, asyncio.Task) and task.done()
