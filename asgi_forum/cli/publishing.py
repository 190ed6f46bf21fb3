"""How `asgi-forum publish` gets events to a forum: repeated safely, and counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from asgi_forum.cli.ndjson import Line, LineError, line_of, lines_of
from asgi_forum.cli.targets import Target
from asgi_forum.client.backoff import Backoff
from asgi_forum.errors import ForumError, PayloadTooLarge, Unavailable
from asgi_forum.models import ForumEvent, Receipt

__all__ = ["Publisher", "Totals"]


@dataclass(slots=True)
class Totals:
    """What was published so far. `made_ids`: events that had no `event_id`, which a rerun would publish again."""

    new: int = 0
    duplicates: int = 0
    made_ids: int = 0

    @property
    def events(self) -> int:
        """All events that the forum has taken, or had already."""
        return self.new + self.duplicates

    def count(self, batch: Sequence[Line], receipts: Sequence[Receipt]) -> None:
        """Add a batch. An id that was made here can be a duplicate only of this command's own try, whose answer was lost."""
        pairs = zip(batch, receipts, strict=True)
        duplicates = sum(receipt.duplicate and not line.made_id for line, receipt in pairs)
        self.duplicates += duplicates
        self.new += len(receipts) - duplicates
        self.made_ids += sum(line.made_id for line in batch)

    def __str__(self) -> str:
        return f"{_count(self.events, 'event')}: {self.new} new, {_count(self.duplicates, 'duplicate')}"

    def so_far(self) -> str:
        """Say what stays after an error, and whether a rerun is safe."""
        if not self.events:
            return "nothing was published"
        again = (
            f"a rerun would publish {self.made_ids} without an event_id again" if self.made_ids else "a rerun is safe"
        )
        return f"published before it: {self}; {again}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Publisher:
    """Sends events to one target. What got lost, or was refused for now, is repeated for at most `retry_for` seconds."""

    def __init__(self, target: Target, retry_for: float, tell: Callable[[str], None]) -> None:
        self.totals: Totals = Totals()
        self.under_way: Sequence[Line] = ()
        self._open = False
        self._target = target
        self._retry_for = retry_for
        self._tell = tell

    async def send(self, events: Sequence[ForumEvent]) -> list[Receipt]:
        """Publish events that have ids (so that none is published twice); raise what the forum refuses with."""
        backoff = Backoff(first=0.5, ceiling=5.0)
        until = time.monotonic() + self._retry_for
        while True:
            before, self._open = self._open, True
            try:
                receipts = await self._target.publish(events)
                self._open = False
                return receipts
            except Unavailable as error:
                self._open = before or error.outcome != "not_published"
                delay = backoff.next_delay(error.retry_after)
                if time.monotonic() + delay > until:
                    raise
                if backoff.failures == 1:
                    self._tell(f"{error}; trying again for up to {self._retry_for:g} s")
            await anyio.sleep(delay)

    async def send_lines(self, batch: Sequence[Line]) -> None:
        """
        Publish a batch, and count it. LineError names the line that the forum refuses, or the lines whose outcome
        is not known.

        A batch that is too large for the forum as a whole is halved.
        """
        self.under_way = batch
        try:
            self.totals.count(batch, await self.send([line.event for line in batch]))
            self.under_way = ()
        except PayloadTooLarge as error:
            if error.index is not None or len(batch) == 1:
                raise _refused(error, batch) from error
            middle = len(batch) // 2
            await self.send_lines(batch[:middle])
            await self.send_lines(batch[middle:])
        except ForumError as error:
            raise _refused(error, batch) from error

    def interrupted(self) -> str:
        """Say what is published when a batch may just be under way."""
        batch = self.under_way if self._open else ()
        open_end = f"; {lines_of(batch)} may have been published too" if batch else ""
        return f"interrupted; {self.totals.so_far()}{open_end}"

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._target.aclose()


def _refused(error: ForumError, batch: Sequence[Line]) -> LineError:
    unknown = isinstance(error, Unavailable) and error.outcome == "unknown"
    message = f"{error}{' (they may have been published all the same)' if unknown else ''}"
    return line_of(error, batch) or LineError(lines_of(batch), message)
