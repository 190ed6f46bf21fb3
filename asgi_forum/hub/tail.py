"""The tail: the newest events of the log, shared by every reader that keeps up."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice

from asgi_forum.cursor import Cursor
from asgi_forum.entries import StoredEvent
from asgi_forum.filters import Filter

__all__ = ["Tail", "cost"]

OVERHEAD = 1024
"""Bytes of Python objects around an event's JSON, generously (measured: 700 to 900 on CPython 3.11 to 3.13)."""


_Index = defaultdict[str, list[int]]
"""Sequences by a value that events have, in order; for a while also those of events that have left."""

_FEW = 100


def _empty() -> tuple[_Index, _Index, _Index]:
    return defaultdict(list), defaultdict(list), defaultdict(list)


EVERYTHING = Filter()


def cost(event: StoredEvent) -> int:
    """Return what an event counts in the tail, in bytes."""
    return len(event.sse) + OVERHEAD


class Tail:
    """
    The newest events of the log, bounded in bytes. Never waits; for the event loop's thread only.

    It is complete from the position `start` to the position `end`; both are None until the source was first reached. `retained` is
    the sequence just before the log's own earliest entry, as last heard of.
    """

    __slots__ = ("_dropped", "_events", "_gone", "_index", "_max_bytes", "_size", "end", "retained", "start")

    def __init__(self, max_bytes: int, dropped: Callable[[StoredEvent], None]) -> None:
        self._max_bytes = max_bytes
        self._dropped = dropped
        self._size = 0
        # Not a plain dictionary, which would look for its first item among all that went before.
        self._events: OrderedDict[int, StoredEvent] = OrderedDict()
        self._index: tuple[_Index, _Index, _Index] = _empty()
        self._gone = 0
        self.retained: int = 0
        self.start: Cursor | None = None
        self.end: Cursor | None = None

    @property
    def size(self) -> int:
        """What its events count together, in bytes."""
        return self._size

    def restart(self, at: Cursor) -> None:
        """Forget all; from now on the tail is complete after `at`."""
        self._events.clear()
        self._index = _empty()
        self._size = self._gone = 0
        self.start = self.end = at

    def extend(self, events: Sequence[StoredEvent], end: Cursor) -> None:
        """Append what follows `end`, up to a new end; the oldest events go where the bound is reached, the newest one stays."""
        tickets, runs, threads = self._index
        for event in events:
            sequence = event.sequence
            self._events[sequence] = event
            self._size += len(event.sse) + OVERHEAD
            ticket, run_id, thread_id, _ = event.keys.folded
            tickets[ticket].append(sequence)
            if run_id is not None:
                runs[run_id].append(sequence)
            if thread_id is not None:
                threads[thread_id].append(sequence)
        self.end = end
        dropped: StoredEvent | None = None
        while self._size > self._max_bytes and len(self._events) > 1:
            _, dropped = self._events.popitem(last=False)
            self._size -= cost(dropped)
            self._dropped(dropped)
            self._gone += 1
        if dropped is not None:
            if self._gone > len(self._events) + _FEW:
                self._forget(dropped.sequence)
            # Every number below the first kept one is behind us: a hole in the log leaves none to wait for.
            self.start = Cursor(end.epoch, dropped.sequence, dropped.cursor.rpartition(".")[2])

    def _forget(self, through: int) -> None:
        """Take what has left the tail out of the index too: in strides, for each alone would cost as much as appending it."""
        self._gone = 0
        for index in self._index:
            for value, sequences in tuple(index.items()):
                del sequences[: bisect_right(sequences, through)]
                if not sequences:
                    del index[value]

    def belongs(self, position: Cursor) -> bool:
        """Whether a position is one of the log that the tail is of."""
        return self.end is not None and position.epoch == self.end.epoch

    def covers(self, position: Cursor) -> bool:
        """Whether all that follows a position, as far as this process knows, lies in the tail."""
        return self.start is not None and self.belongs(position) and self.start.sequence <= position.sequence

    def knows(self, position: Cursor) -> bool:
        """
        Whether a cursor is this log's own and still retained, proven by the tail alone: no source has to be asked.

        The tail may hold more than the log. Readers that are on their way get it; who comes back is judged by the log.
        """
        if self.covers(position) and position.sequence >= self.retained:
            event = self._events.get(position.sequence)
            return position in (self.start, self.end) or (event is not None and event.cursor == str(position))
        return False

    def scan(self, after: int, through: int, limit: int, keep: Filter = EVERYTHING) -> list[StoredEvent]:
        """
        Return the first `limit` events after one sequence, up to and including another, oldest first.

        Of those that a filter leaves out only some are among them: it is asked for its tickets, runs or threads, whichever are rarest.
        So thousands of clients that come back, each for its own ticket, need not look at all events each.
        """
        events = self._events
        found: Iterable[int] = range(after + 1, through + 1)
        rarest = through - after
        for index, values in zip(self._index, _named(keep), strict=True):
            if values is not None:
                lists = [index[value] for value in values if value in index]
                if (count := sum(map(len, lists))) < rarest:
                    rarest = count
                    cuts = [each[bisect_right(each, after) : bisect_right(each, through)] for each in lists]
                    found = cuts[0] if len(cuts) == 1 else sorted(chain.from_iterable(cuts))
        return list(islice((events[sequence] for sequence in found if sequence in events), limit))


def _named(keep: Filter) -> tuple[frozenset[str] | None, ...]:
    """Return the tickets, runs and threads that events can have that pass, folded; None where any will do."""
    allowed = keep.allowed
    pairs = (
        (keep.tickets, allowed.tickets),
        (keep.run_ids, allowed.run_ids),
        (keep.thread_ids, allowed.thread_ids),
    )
    return tuple(
        asked or (None if may is None else frozenset(value.casefold() for value in may)) for asked, may in pairs
    )
