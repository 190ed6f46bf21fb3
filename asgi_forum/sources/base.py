"""
What a source is: one log of events, read by position.

A source owes its readers this much:

- Sequences start at 1 and rise by 1 per entry. An entry that can't be decoded uses up its number and is left out of pages.
- A page is one consistent look: its epoch, both ends and its events belong together.
- The epoch names the log. A log that was emptied, restored or forked has another epoch.
- An event's cursor is the same whenever and wherever it is read.

Publishing and the live feed are abilities of their own (`WritableSource`, `LiveSource`); a source that only reads is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from asgi_forum.cursor import Cursor
from asgi_forum.entries import Entry, StoredEvent
from asgi_forum.models import Receipt

__all__ = ["EventSource", "LiveSource", "NearSource", "Page", "Receipt", "ReportingSource", "WritableSource"]


@dataclass(frozen=True, slots=True)
class Page:
    """
    One consistent look at a log.

    start: the position just before the earliest retained entry. end: the position of the log's end. Both are of one epoch.
    anchor: the cursor of the entry at the position that was asked for; None where that entry is not retained.
    events: what could be decoded, oldest first.
    position: up to where the page has looked: the last entry examined, or the position asked for where there was none.
    """

    start: Cursor
    end: Cursor
    anchor: str | None
    events: Sequence[StoredEvent]
    position: Cursor

    @property
    def epoch(self) -> str:
        """The log's name."""
        return self.end.epoch


@runtime_checkable
class EventSource(Protocol):
    """A log that can be read. Used from one event loop at a time; any number of calls may be under way at once."""

    @property
    def kind(self) -> str:
        """What it is, in a word, for health and logs: `memory`, `redis`."""
        ...

    async def open(self) -> None:
        """Get ready. Called before all else, and again after `close()`. Raises SourceUnavailable, ConfigurationError."""
        ...

    async def close(self) -> None:
        """Let go of connections. Harmless when closed, or never opened."""
        ...

    async def read(self, after: int, limit: int) -> Page:
        """
        Return the page of at most `limit` entries after the sequence `after`, oldest first; `limit` may be 0.

        A position before the earliest retained entry yields what is retained (the caller sees the gap by `start`); one past the
        end yields no events, `position` at the end and no anchor. Cancelling is safe. Raises SourceUnavailable.
        """
        ...

    async def read_before(self, before: int, limit: int) -> Page:
        """
        Return the page of the last `limit` entries up to and including the sequence `before` (past the end: of the last ones).

        Its events stand oldest first; `position` is just before the earliest entry examined. Raises SourceUnavailable.
        """
        ...


@runtime_checkable
class WritableSource(EventSource, Protocol):
    """A source that takes events."""

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """
        Append entries, all or none, with consecutive sequences; return a receipt for each, in order.

        An `event_id` that the log has (for at least an hour, whatever is retained), or that stands earlier in `entries`, is not
        appended again: its receipt is the first one's, marked `duplicate`; with other content it is an EventIdConflict, and
        nothing is appended. Returning means that the log has accepted them. Raises SourceUnavailable, with the outcome.
        """
        ...


@runtime_checkable
class LiveSource(EventSource, Protocol):
    """A source that can also push. Without it, streams carry history and heartbeats only."""

    async def follow(self, after: Cursor, deliver: Callable[[Page], None]) -> None:
        """
        Call `deliver` with each page of new entries after `after`, in order, until cancelled.

        The first page comes at once, if there is nothing new an empty one: it says that the feed works. Every page continues the
        one before it, and says so by its `anchor`. A log that was replaced is told by a page of the new epoch. `deliver` never
        waits and never raises. Raises SourceUnavailable where the feed is lost; it is then called again.
        """
        ...


@runtime_checkable
class NearSource(EventSource, Protocol):
    """A source whose entries lie in this process: who catches up need not wait, nor share reads."""

    def read_nowait(self, after: int, limit: int) -> Page:
        """Return what `read` does, at once. Never raises; its cost grows with `limit` only."""
        ...


@runtime_checkable
class ReportingSource(EventSource, Protocol):
    """A source that has more to say of how it is."""

    def report(self) -> Mapping[str, Any]:
        """
        Return what health shows beside `kind` and `available`: JSON values, without credentials. Never waits.

        `fault` (a text) is for what keeps it from taking events until somebody does something: health then is `degraded`.
        """
        ...
