"""The book of a round: it acquits what is right, and finds what no reader could: an event that is there twice, or no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.properties.checker import Violation
from tests.soak.book import Book
from tests.soak.plans import Ask, Settings
from tests.soak.scene import Attempt, Document, Record, Request
from tests.soak.stage import Era

SETTINGS = Settings(retain=100, wipes=False, on_lag="resume", heartbeat=1.0, limits={})
ASK = Ask((), (), (), (), ("earliest", 0), 100, "id-3")


def draft(number: int) -> Document:
    """What was published as this number."""
    return {"event_id": f"id-{number}", "event_type": "a.b", "ticket": "T-1", "payload": {"n": number}}


def stored(number: int, *, sequence: int | None = None, **changed: object) -> Document:
    """The event as a reader, or the log, shows it."""
    envelope, payload = {**draft(number)}, {"n": number}
    del envelope["payload"]
    at = sequence or number
    return {"sequence": at, "cursor": f"e.{at}.c{at}", "envelope": envelope, "payload": payload, **changed}


def receipt(number: int, *, sequence: int | None = None, duplicate: bool = False) -> Document:
    """What its publisher was told."""
    at = sequence or number
    return {"event_id": f"id-{number}", "sequence": at, "cursor": f"e.{at}.c{at}", "duplicate": duplicate}


def accepted(*receipts: Document, began: float = 1.0, status: int = 201) -> Attempt:
    """A try that was accepted."""
    return Attempt(began, began + 0.5, status, {"events": list(receipts)})


def unavailable(outcome: str, *numbers: int, began: float = 0.0) -> Attempt:
    """A try that was answered 503."""
    error = {"code": "source_unavailable", "outcome": outcome, "event_ids": [f"id-{number}" for number in numbers]}
    return Attempt(began, began + 0.5, 503, {"error": error})


class Told:
    """A round in which all went well, to be changed: three events, of which two were published together, and one reader."""

    def __init__(self) -> None:
        """Say what happened."""
        self.entries = [stored(number) for number in (1, 2, 3)]
        self.requests = [
            Request([draft(1)], attempts=[unavailable("unknown", 1), accepted(receipt(1, duplicate=True), status=200)]),
            Request([draft(2), draft(3)], attempts=[accepted(receipt(2), receipt(3), began=2.0)]),
        ]
        self.read: list[Sequence[Document]] = [[stored(1)], [stored(2), stored(3)]]

    def judge(self) -> None:
        """Put it together, and judge."""
        frames = [(9.0, {"type": "forum.events", "events": it, "next_cursor": it[-1]["cursor"]}) for it in self.read]
        record = Record("a reader", ASK, 100, {"cursor": "earliest"}, 0.0, seen=frames, whole=True)
        era = Era("e", entries=[(each["sequence"], each) for each in self.entries])
        Book(SETTINGS, [era], self.requests, [record]).judge()


def test_a_round_that_went_well_is_acquitted() -> None:
    """Nothing to say."""
    Told().judge()


def _lost(told: Told) -> None:
    told.entries.pop()


def _lost_within(told: Told) -> None:
    del told.entries[1]


def _twice(told: Told) -> None:
    told.entries.append(stored(2, sequence=4))


def _foreign(told: Told) -> None:
    told.entries.append(stored(4))


def _changed(told: Told) -> None:
    told.entries[2] = stored(3, payload={"n": 4})


def _not_read(told: Told) -> None:
    told.read[1] = [stored(2)]


def _read_changed(told: Told) -> None:
    told.read[1] = [stored(2), stored(3, payload={})]


def _other_cursor(told: Told) -> None:
    told.read[1] = [stored(2), stored(3, cursor="e.3.other")]


def _other_log(told: Told) -> None:
    told.read[1] = [stored(2), stored(3, cursor="f.3.c3")]


def _accepted_twice(told: Told) -> None:
    told.requests.append(Request([draft(2)], attempts=[accepted(receipt(2), began=5.0)]))


def _other_number(told: Told) -> None:
    again = accepted(receipt(2, sequence=3, duplicate=True), began=5.0, status=200)
    told.requests.append(Request([draft(2)], attempts=[again]))


def _never_published(told: Told) -> None:
    told.requests[0].attempts[0] = unavailable("not_published", 1)


def _torn(told: Told) -> None:
    told.requests[1].attempts[0] = accepted(receipt(1), receipt(3), began=2.0)


def _no_outcome(told: Told) -> None:
    told.requests[0].attempts[0] = unavailable("", 1)


def _other_ids(told: Told) -> None:
    told.requests[0].attempts[0] = unavailable("unknown", 2)


def _no_conflict(told: Told) -> None:
    told.requests.append(
        Request([draft(2)], conflicts=True, attempts=[accepted(receipt(2, duplicate=True), began=5.0)])
    )


def _conflict(told: Told) -> None:
    told.requests.append(Request([draft(2)], attempts=[Attempt(5.0, 5.5, 409, {"error": {}})]))


def _wrong_status(told: Told) -> None:
    told.requests[0].attempts[1] = accepted(receipt(1, duplicate=True), status=201)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_lost, id="an accepted event is gone"),
        pytest.param(_lost_within, id="an accepted event is gone between others"),
        pytest.param(_twice, id="an event is there twice"),
        pytest.param(_foreign, id="an event is there that nobody published"),
        pytest.param(_changed, id="an event is not what was published"),
        pytest.param(_not_read, id="a reader missed an event"),
        pytest.param(_read_changed, id="a reader got another event"),
        pytest.param(_other_cursor, id="an event has two cursors"),
        pytest.param(_other_log, id="a reader was told of a log that never was"),
        pytest.param(_accepted_twice, id="an id was accepted a second time"),
        pytest.param(_other_number, id="a repeated event has another number"),
        pytest.param(_never_published, id="what was not published is a duplicate"),
        pytest.param(_torn, id="receipts of other events"),
        pytest.param(_no_outcome, id="a 503 without an outcome"),
        pytest.param(_other_ids, id="a 503 of other events"),
        pytest.param(_no_conflict, id="other content was accepted"),
        pytest.param(_conflict, id="the same content was refused"),
        pytest.param(_wrong_status, id="a 201 for duplicates alone"),
    ],
)
def test_whatever_is_wrong_is_found(change: Callable[[Told], None]) -> None:
    """Each of these must not pass."""
    told = Told()
    change(told)
    with pytest.raises(Violation):
        told.judge()


@pytest.mark.parametrize(("left", "right"), [(100, True), (101, True), (99, False), (1500, False)])
def test_what_is_retained_is_what_was_asked_for(left: int, right: bool) -> None:
    """At least so many as are retained, and not a lot more."""
    end = 2000
    events = [draft(number) for number in range(1, end + 1)]
    told = Request(events, attempts=[accepted(*(receipt(number) for number in range(1, end + 1)))])
    era = Era("e", entries=[(number, stored(number)) for number in range(end - left + 1, end + 1)])
    book = Book(SETTINGS, [era], [told], [])
    if right:
        book.judge()
    else:
        with pytest.raises(Violation):
            book.judge()
