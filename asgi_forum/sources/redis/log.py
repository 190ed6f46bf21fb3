"""One log in Redis, as its scripts show it: replies in, pages and verdicts out. Nothing here waits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from asgi_forum.cursor import Cursor, CursorKey
from asgi_forum.sources.base import Page
from asgi_forum.sources.redis.entries import Decoder, RawEntry

__all__ = ["Look", "forked", "live_entries", "numbered", "raw_entries", "unnumbered_message"]

_NUMBERED = re.compile(rb"0-([0-9]{1,19})")


def numbered(entry_id: bytes) -> int | None:
    """Return the sequence of an entry's id; None where it is not `0-SEQUENCE`."""
    found = _NUMBERED.fullmatch(entry_id)
    return int(found[1]) if found else None


def raw_entries(reply: Sequence[Any]) -> list[RawEntry]:
    """Return the entries of an XRANGE or of one stream of an XREAD; those that are not numbered are left out."""
    found: list[RawEntry] = []
    for entry_id, fields in reply:
        sequence = numbered(entry_id)
        if sequence and fields is not None:
            found.append(RawEntry(sequence, fields))
    return found


def live_entries(reply: Any) -> dict[bytes, list[tuple[bytes, Sequence[bytes]]]]:
    """Return the entries of an XREAD by stream, whichever shape the protocol gives it; nothing where it timed out."""
    if not reply:
        return {}
    # RESP3: {stream: [[id, fields], ...]}; RESP2: [[stream, [[id, fields], ...]], ...]
    streams = cast("Mapping[bytes, Sequence[Any]]", reply).items() if isinstance(reply, Mapping) else reply
    return {stream: [(entry[0], entry[1]) for entry in entries] for stream, entries in streams}


@dataclass(frozen=True, slots=True)
class Look:
    """
    What read.lua found, in one step.

    last: the sequence of the log's end. unnumbered: the id of an entry that Redis can't number on from, if there is one.
    appended: up to where forums have appended: a log that ends before that is not the one they appended to.
    """

    key: CursorKey
    last: int
    first: int
    unnumbered: str | None
    appended: int
    newest: RawEntry | None
    anchor: RawEntry | None
    entries: Sequence[RawEntry]
    whole: bool

    @classmethod
    def of(cls, reply: Sequence[Any], key: CursorKey) -> Look:
        """Read the script's reply."""
        _, _, appended, last_id, first_id, newest, anchor, entries, whole = reply
        newest_entries, anchors = raw_entries([newest] if newest else []), raw_entries([anchor] if anchor else [])
        last = numbered(last_id)
        unnumbered = None
        if last is None:
            unnumbered = last_id.decode("ascii", "replace")
            last = newest_entries[0].sequence if newest_entries else int(appended)
        return cls(
            key=key,
            last=last,
            first=numbered(first_id) or 0,
            unnumbered=unnumbered,
            appended=int(appended),
            newest=newest_entries[0] if newest_entries else None,
            anchor=anchors[0] if anchors else None,
            entries=raw_entries(entries),
            whole=bool(whole),
        )

    @property
    def behind(self) -> bool:
        """Whether forums have appended more than there is: the log was deleted, or emptied, and its identity was not."""
        return self.last < self.appended

    @property
    def end(self) -> Cursor:
        """The position of the log's end."""
        return self._cursor(self.last, self.newest)

    @property
    def start(self) -> Cursor:
        """The position just before the earliest retained entry."""
        return self.key.bare(self.first - 1 if self.first else self.last)

    def page_after(self, after: int, decoder: Decoder) -> Page:
        """Return the page of a look that was made after a sequence."""
        reached = min(after, self.last)
        position = self.end if reached == self.last else self._cursor(reached, self.anchor)
        if self.entries:
            position = self._cursor(self.entries[-1].sequence, self.entries[-1])
        if self.whole:
            position = self.end
        return self._page(after, position, self.entries, decoder)

    def page_before(self, before: int, decoder: Decoder) -> Page:
        """Return the page of a look that was made back from a sequence."""
        entries = self.entries[::-1]
        reached = entries[0].sequence - 1 if entries else min(before, self.last)
        if self.whole and self.first:
            reached = min(reached, self.first - 1)
        position = self.end if reached == self.last else self._cursor(reached, self.anchor)
        return self._page(reached, position, entries, decoder)

    def _page(self, asked: int, position: Cursor, entries: Sequence[RawEntry], decoder: Decoder) -> Page:
        anchor = self.anchor if self.anchor is not None and self.anchor.sequence == asked else None
        return Page(
            start=self.start,
            end=self.end,
            anchor=str(self._cursor(asked, anchor)) if anchor else None,
            events=decoder.events(entries, self.key),
            position=position,
        )

    def _cursor(self, sequence: int, entry: RawEntry | None) -> Cursor:
        if entry is None or entry.sequence != sequence:
            return self.key.bare(sequence)
        return self.key.cursor(sequence, entry.raw)


def forked(after: Cursor, page: Page) -> bool:
    """
    Whether a page shows another log than the one that the position `after` was seen in, though both have one epoch.

    The log ends before it, or another entry lies there: it was deleted, restored from an old copy, or forked by a failover.
    """
    if page.epoch != after.epoch:
        return False
    return after.sequence > page.end.sequence or (
        page.anchor is not None and page.anchor != str(after) and after.checked
    )


def unnumbered_message(entry_id: str, url: str = "URL") -> str:
    """Say what an entry does that Redis can't number on from, and the way out."""
    return (
        f"the log holds the entry {entry_id}, whose id is not 0-SEQUENCE (a plain XADD ... *): nothing can be published until"
        f" `asgi-forum repair {url}` has removed it"
    )
