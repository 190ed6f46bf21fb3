"""Where a reader begins: what its starting point stands for, and the search for the start of `tail=N`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio.lowlevel

from asgi_forum.cursor import Cursor, Start
from asgi_forum.errors import ResetReason
from asgi_forum.filters import Filter
from asgi_forum.sources.base import Page

__all__ = ["FAR", "LookBack", "judge"]

FAR = 2**62
"""A sequence past the end of every log: what lies before it are the newest entries."""

_PAGE = 1000
"""The most entries that are looked at before other tasks get their turn."""


def judge(start: Start, page: Page) -> Cursor | ResetReason:
    """
    Hold a starting point against the page that was read after it: the position it stands for, or why it can't be served.

    A cursor of another log, past the end, or of another entry than the one that lies there is `replaced`. One whose own entry is
    no longer retained counts on its epoch alone where nothing after it was trimmed.
    """
    if start.replaced:
        return "replaced"
    if start.earliest:
        return page.start
    cursor = start.cursor
    sequence = cursor.sequence if cursor else start.sequence or 0
    if cursor is not None and (cursor.epoch != page.epoch or sequence > page.end.sequence):
        return "replaced"
    if sequence > page.end.sequence:
        return "ahead"
    if page.anchor is None:
        return "trimmed" if sequence < page.start.sequence else cursor or Cursor(page.epoch, sequence)
    if cursor is None:
        return Cursor.parse(page.anchor)
    return cursor if page.anchor == str(cursor) else "replaced"


class LookBack:
    """
    Looks back for the position from which the last `count` matching events follow, over `lookback` entries at most.

    How far it has come is kept: waiting for a page may be cancelled for a heartbeat, and `run` called again.
    """

    __slots__ = ("_at", "_count", "_end", "_keep", "_left", "_lookback", "_missing")

    def __init__(self, keep: Filter, count: int, lookback: int) -> None:
        self._keep = keep
        self._count = count
        self._lookback = lookback
        self._end: Cursor | None = None
        self._at: Cursor = Cursor("", 0)
        self._missing: int = count
        self._left: int = lookback

    async def run(
        self, newest: Callable[[], Awaitable[Page]], before: Callable[[int, int], Awaitable[Page]]
    ) -> tuple[Cursor, Cursor]:
        """
        Return the position, and the log's end as it was when the search began.

        `newest()` reads no entries, only where the log ends; `before(sequence, limit)` reads those up to a sequence. Raises theirs.
        """
        if self._end is None:
            self._end = self._begin((await newest()).end)
        end = self._end
        while self._missing and self._left > 0 and self._at.sequence > 0:
            page = await before(self._at.sequence, min(_PAGE, self._left))
            if page.epoch != end.epoch:  # replaced meanwhile: what was counted is gone
                end = self._end = self._begin(page.end)
                continue
            self._left -= max(self._at.sequence - page.position.sequence, 1)
            self._at = self._counted(page)
            if self._at.sequence <= page.start.sequence:
                break
            await anyio.lowlevel.checkpoint()
        return self._at, end

    @property
    def gave_up(self) -> bool:
        """Whether it did not look at all there is, and did not find what was asked for."""
        return self._left <= 0 < self._missing and self._at.sequence > 0

    def _begin(self, end: Cursor) -> Cursor:
        self._at, self._missing, self._left = end, self._count, self._lookback
        return end

    def _counted(self, page: Page) -> Cursor:
        """Count matches from the end of a page; return the position before the last one that was counted."""
        for index in range(len(page.events) - 1, -1, -1):
            if self._keep.matches(page.events[index].keys):
                self._missing -= 1
                if self._missing == 0:
                    return page.events[index - 1].position if index else page.position
        return page.position
