"""Sources that are wrong in one thing each: in what they read, and in what they publish."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from anyio.lowlevel import checkpoint

from asgi_forum.cursor import Cursor
from asgi_forum.entries import Entry
from asgi_forum.errors import EventIdConflict, SourceUnavailable
from asgi_forum.models import Receipt
from asgi_forum.sources import MemorySource, Page, SourceOptions
from tests.testing.sound import Shelf, Sound

__all__ = ["Broken"]

PAGES_AFTER = "test_a_page_holds_what_follows_a_position[1000]"


class Broken(Sound):
    """What is wrong with it stands in the name of each; `caught_by` names the tests that see it."""

    caught_by: ClassVar[tuple[str, ...]]


# Pages


class LosesAnEvent(Broken):
    """One event is in no page."""

    caught_by = ("test_page_after_page_holds_every_event_once[7]", PAGES_AFTER)

    async def read(self, after: int, limit: int) -> Page:
        """Leave out the third."""
        page = await super().read(after, limit)
        return replace(page, events=[event for event in page.events if event.sequence != 3])


class LosesAnEventAtHand(Broken):
    """One event is in no page that is read at once."""

    caught_by = (PAGES_AFTER,)

    def read_nowait(self, after: int, limit: int) -> Page:
        """Leave out the third."""
        page = self.log.read_nowait(after, limit)
        return replace(page, events=[event for event in page.events if event.sequence != 3])


class RepeatsAnEvent(Broken):
    """A page begins with the last event of the one before."""

    caught_by = ("test_page_after_page_holds_every_event_once[7]", PAGES_AFTER)

    async def read(self, after: int, limit: int) -> Page:
        """Read from one too early."""
        page = await super().read(after, limit)
        return replace(page, events=(await super().read(max(after - 1, 0), limit)).events)


class ReadsTooMuch(Broken):
    """It takes `limit` for the number of the last one."""

    caught_by = ("test_a_page_holds_what_follows_a_position[0]", "test_a_page_holds_what_follows_a_position[2]")

    async def read(self, after: int, limit: int) -> Page:
        """Read one more."""
        return await super().read(after, limit + 1)


class Renumbers(Broken):
    """Numbers begin with what is retained."""

    caught_by = ("test_numbers_and_cursors_outlast_the_trimming",)

    async def read(self, after: int, limit: int) -> Page:
        """Count from the start on."""
        page = await super().read(after, limit)
        start = page.start.sequence
        return replace(page, events=[replace(each, sequence=each.sequence - start) for each in page.events])


class NamesAWrongAnchor(Broken):
    """The anchor is that of the page's own position."""

    caught_by = (PAGES_AFTER, "test_a_cursor_is_the_same_wherever_it_is_seen")

    async def read(self, after: int, limit: int) -> Page:
        """Take the end of the page for its beginning."""
        page = await super().read(after, limit)
        return replace(page, anchor=str(page.position) if page.anchor else None)


class NamesNoAnchor(Broken):
    """Whether the entry is still the same can't be seen."""

    caught_by = (PAGES_AFTER,)

    async def read(self, after: int, limit: int) -> Page:
        """Leave it out."""
        return replace(await super().read(after, limit), anchor=None)


class HasAStaleEnd(Broken):
    """The end is of a look before."""

    caught_by = ("test_a_page_is_one_look_while_others_publish", "test_a_cursor_does_not_change_when_the_log_grows")

    _end: Cursor | None = None

    async def read(self, after: int, limit: int) -> Page:
        """Give the end of the last page."""
        page = await super().read(after, limit)
        end, self._end = self._end or page.end, page.end
        return replace(page, end=end)


class ReadsBackwardsBackwards(Broken):
    """What leads up to a position comes newest first."""

    caught_by = ("test_a_page_holds_what_leads_up_to_a_position[5]",)

    async def read_before(self, before: int, limit: int) -> Page:
        """Turn it round."""
        page = await super().read_before(before, limit)
        return replace(page, events=page.events[::-1])


class AnswersTheCallBefore(Broken):
    """A call that was cancelled leaves its answer to the next, as a connection does that is used again."""

    caught_by = ("test_a_read_that_is_cancelled_leaves_nothing_open",)

    def __init__(self, shelf: Shelf, options: SourceOptions) -> None:
        super().__init__(shelf, options)
        self._answers: deque[Page] = deque()

    async def read(self, after: int, limit: int) -> Page:
        """Ask, wait, take the first answer that is there."""
        self._answers.append(await super().read(after, limit))
        await checkpoint()
        return self._answers.popleft()


# Publishing


class PublishesOneByOne(Broken):
    """A batch is not one step."""

    caught_by = (
        "test_a_conflict_leaves_nothing_behind[stored-2]",
        "test_publishers_that_come_at_once_get_whole_blocks",
        "test_a_publish_that_is_cancelled_is_whole_or_not_there",
    )

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Append each by itself."""
        return [receipt for entry in entries for receipt in await super().publish([entry])]


class ForgetsWhatIsTrimmed(Broken):
    """An id is known as long as its event is retained."""

    caught_by = ("test_an_id_is_known_after_its_event_is_gone",)

    def make_log(self) -> MemorySource:
        """Remember for no time."""
        return MemorySource(retain=self.options.retain, remember=0.0)


class OverlooksTheBatch(Broken):
    """An id is looked for in the log, not in the batch."""

    caught_by = ("test_an_id_that_comes_twice_in_one_batch_is_a_duplicate",)

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Give the second one another id."""
        seen: set[str] = set()
        others: list[Entry] = []
        for entry in entries:
            others.append(replace(entry, event_id=f"{entry.event_id}'") if entry.event_id in seen else entry)
            seen.add(entry.event_id)
        return await super().publish(others)


class KnowsItsOwnIdsOnly(Broken):
    """Each source of a log remembers what it has published itself."""

    caught_by = ("test_publishers_of_the_same_ids_append_each_once",)

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Know an id by who published it."""
        receipts = await super().publish([replace(each, event_id=f"{each.event_id}{id(self)}") for each in entries])
        return [replace(each, event_id=entry.event_id) for each, entry in zip(receipts, entries, strict=True)]


class ComparesDefaults(Broken):
    """A field that was left out counts as given."""

    caught_by = ("test_only_what_was_given_is_compared[first0-second0]",)

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Give all fields."""
        everything: dict[str, Any] = {"run_id": None, "payload": {}}
        return await super().publish([replace(each, given={**everything, **each.given}) for each in entries])


class NamesOneField(Broken):
    """A conflict does not say in what, nor where."""

    caught_by = (
        "test_a_conflict_leaves_nothing_behind[stored-2]",
        "test_a_conflict_names_the_fields_that_differ[first0-second0-fields0]",
    )

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Say the same of every conflict."""
        try:
            return await super().publish(entries)
        except EventIdConflict as error:
            raise EventIdConflict(error.event_id, ["ticket"]) from error


class TakesCancellingForLoss(Broken):
    """A call that is cancelled ends with an error of the source's."""

    caught_by = ("test_a_publish_that_is_cancelled_is_whole_or_not_there",)

    async def publish(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Catch everything."""
        try:
            return await super().publish(entries)
        except BaseException as error:
            raise SourceUnavailable(outcome="unknown") from error
