"""Reads of the source, shared: a thousand clients that come back to one position must not mean a thousand reads."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc

from asgi_forum.errors import ForumError, SourceUnavailable
from asgi_forum.sources.base import EventSource, Page

__all__ = ["Read", "SharedReads"]

logger: logging.Logger = logging.getLogger("asgi_forum.reads")

_Key = tuple[str, int, int]


class Read:
    """One read, asked for by any number of readers. Waiting for it may be cancelled, and taken up again: the read goes on."""

    __slots__ = ("_done", "_error", "_page")

    def __init__(self) -> None:
        self._done = anyio.Event()
        self._page: Page | None = None
        self._error: ForumError | None = None

    async def page(self) -> Page:
        """Wait for the answer. Raises what the source raised."""
        await self._done.wait()
        if self._page is None:
            raise self._error or SourceUnavailable()
        return self._page

    def fail(self, error: ForumError) -> None:
        """Answer with an error; who has an answer keeps it."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    async def run(self, read: Callable[[], Awaitable[Page]]) -> None:
        """Read, and tell all who wait."""
        try:
            self._page = await read()
        except ForumError as error:
            self._error = error
        except Exception:
            logger.exception("asgi_forum.read_failed")
            self._error = SourceUnavailable("the source failed; the server's log has the cause")
        finally:
            self._done.set()


class SharedReads:
    """
    The reads that are under way, by what they ask for.

    A read that has begun is too old for who asks now: it may have missed what was just published. So for each position there is at
    most one that runs, and one that waits for it to end and serves all who asked meanwhile.
    """

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._tasks: anyio.abc.TaskGroup | None = None
        self._running: set[_Key] = set()
        self._waiting: dict[_Key, Read] = {}
        self._open: set[Read] = set()

    def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Say whose tasks the reads are."""
        self._tasks = tasks

    def close(self) -> None:
        """Begin no more, and end those that nobody will answer any more: their tasks are gone."""
        self._tasks = None
        for read in tuple(self._open):
            read.fail(SourceUnavailable("the forum is stopping"))

    def read(self, after: int, limit: int) -> Read:
        """Ask for the page after a sequence."""
        return self._ask(("after", after, limit))

    def read_before(self, before: int, limit: int) -> Read:
        """Ask for the page up to a sequence."""
        return self._ask(("before", before, limit))

    def _ask(self, key: _Key) -> Read:
        if (waiting := self._waiting.get(key)) is not None:
            return waiting
        if self._tasks is None:
            raise SourceUnavailable("the forum is starting")
        read = self._waiting[key] = Read()
        self._open.add(read)
        if key not in self._running:
            self._running.add(key)
            self._tasks.start_soon(self._serve, key)
        return read

    async def _serve(self, key: _Key) -> None:
        """Run what is asked for at one position, one read after the other, until nobody asks."""
        kind, sequence, limit = key
        call = self._source.read if kind == "after" else self._source.read_before
        try:
            while (read := self._waiting.pop(key, None)) is not None:
                await read.run(lambda: call(sequence, limit))
                self._open.discard(read)
        finally:
            self._running.discard(key)
