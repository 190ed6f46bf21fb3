"""Several processes that do the same work on one listening socket: started, watched, replaced, and ended together."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

from asgi_forum.errors import ForumError
from asgi_forum.logs import EventLogger, event_logger

__all__ = ["Supervisor", "WorkerFailed", "end_with_parent"]

logger: EventLogger = event_logger("asgi_forum.workers")

_spawn = multiprocessing.get_context("spawn")

_AGAIN = 1.0
"""Seconds before a worker that could not start is tried again, once the others serve."""


class WorkerFailed(ForumError):
    """A worker ended before it was ready, when the first ones were started."""


class _Worker:
    """One process, and the pipe through which it says that it is ready."""

    def __init__(self, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.ready: bool = False
        self.told, tell = _spawn.Pipe(duplex=False)
        self.process: SpawnProcess = _spawn.Process(target=work, args=(*arguments, tell))
        with _interrupts_blocked():
            self.process.start()
        tell.close()

    def hear(self) -> None:
        """Take what it said; nothing more comes."""
        try:
            self.ready = bool(self.told.recv())
        except EOFError:
            pass
        self.told.close()


class Supervisor:
    """
    Runs `work(*arguments, tell)` in `count` processes: it has to send True by the connection `tell` once it is ready.

    ready: called once, when all are. patience: seconds that workers get to end after SIGTERM, before they are killed. A worker that
    ends is replaced; one that ends before it was ready, and before `ready` was called, is a start that failed.

    It is not uvicorn's: that one's interface is private and changed from version to version, it does not tell when all workers
    are ready, and its older ones start a worker that can't start again and again.
    """

    def __init__(
        self,
        work: Callable[..., None],
        arguments: tuple[Any, ...],
        *,
        count: int,
        ready: Callable[[], None],
        patience: float,
    ) -> None:
        self._work = work
        self._arguments = arguments
        self._count = count
        self._ready: Callable[[], None] | None = ready
        self._patience = patience
        self._workers: list[_Worker] = []
        self._due = 0.0

    def run(self) -> int:
        """Work until SIGINT or SIGTERM, for the main thread only; return which of them it was. Raises WorkerFailed."""
        with _signals() as woken:
            try:
                while True:
                    self._fill()
                    happened = self._wait(woken, None if len(self._workers) == self._count else _AGAIN)
                    if woken in happened:
                        return woken.recv(1)[0]
                    self._hear(happened)
                    self._bury()
            finally:
                self._end(woken)

    def _fill(self) -> None:
        """Start what is missing, but not sooner than it is due."""
        while len(self._workers) < self._count and time.monotonic() >= self._due:
            self._workers.append(_Worker(self._work, self._arguments))

    def _wait(self, woken: socket.socket, timeout: float | None) -> list[Any]:
        alive: list[Any] = [each.process.sentinel for each in self._workers]
        starting = [each.told for each in self._workers if not each.told.closed]
        return multiprocessing.connection.wait([woken, *alive, *starting], timeout)

    def _hear(self, happened: list[Any]) -> None:
        for worker in self._workers:
            if worker.told in happened:
                worker.hear()
        if self._ready is not None and sum(each.ready for each in self._workers) == self._count:
            self._ready()
            self._ready = None

    def _bury(self) -> None:
        """Let go of workers that have ended."""
        for worker in [each for each in self._workers if not each.process.is_alive()]:
            self._workers.remove(worker)
            worker.told.close()
            status = worker.process.exitcode or 0
            ended = f"by signal {-status}" if status < 0 else f"with status {status}"
            if worker.ready:
                logger.warning("asgi_forum.worker_lost: worker %s ended %s; it is replaced", worker.process.pid, ended)
            elif self._ready is not None:
                raise WorkerFailed(f"a worker did not start (it ended {ended}); the log says why")
            else:
                self._due = time.monotonic() + _AGAIN
                logger.error("asgi_forum.worker_failed: a worker did not start: it ended %s; trying again", ended)

    def _end(self, woken: socket.socket) -> None:
        """End all: by SIGTERM, and those that are still there after `patience`, or at another signal, by SIGKILL."""
        for worker in self._workers:
            worker.process.terminate()
        until = time.monotonic() + self._patience
        while alive := [each.process.sentinel for each in self._workers if each.process.is_alive()]:
            left = until - time.monotonic()
            if left <= 0 or woken in multiprocessing.connection.wait([woken, *alive], left):
                break
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.told.close()


def end_with_parent() -> None:
    """In a worker: be ended as by SIGTERM when the parent is gone, which would else leave the port in use."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def _signals() -> Generator[socket.socket]:
    """Yield a socket that brings the number of each SIGINT and SIGTERM as a byte."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ExitStack() as stack:
        theirs.setblocking(False)
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False))
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, _noted))
        yield ours


def _noted(number: int, frame: FrameType | None) -> None:
    """Nothing: the socket brings it."""


@contextmanager
def _interrupts_blocked() -> Generator[None]:
    """Have a process that is started meanwhile leave Ctrl-C, which a terminal sends to all of them, to this one."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # where it has to be started, it unblocks SIGINT afterwards
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
