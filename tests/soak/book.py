"""What is known of the log after a round, from all who saw some of it; and how it is judged with the judge of all histories."""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from asgi_forum.cursor import Cursor
from tests.properties.checker import Logged, Run, Seen, Session, Violation, check_delivery
from tests.properties.starts import starts_of
from tests.soak.plans import Settings
from tests.soak.scene import Attempt, Document, Record, Request, shown
from tests.soak.stage import Era

__all__ = ["Book"]


@dataclass(slots=True)
class _Entry:
    """One entry: its id and content, its cursor as far as somebody was told it, and when it was known to be there at the latest."""

    event_id: str
    cursor: str | None = None
    known_at: float = float("inf")


@dataclass(slots=True)
class _Log:
    """One log: its entries by sequence, and the sequence that each id has."""

    era: Era
    entries: dict[int, _Entry] = field(default_factory=dict[int, _Entry])
    sequences: dict[str, int] = field(default_factory=dict[str, int])
    begin: int = 0

    @property
    def end(self) -> int:
        """The last sequence that is known."""
        return max(max(self.entries, default=0), self.era.entries[-1][0] if self.era.entries else 0)


class Book:
    """
    All logs of a round.

    Whatever anybody was told of an entry must be what all others were told: the same event, once, at one place. Raises Violation.
    """

    def __init__(
        self, settings: Settings, eras: Sequence[Era], requests: Sequence[Request], records: Sequence[Record]
    ) -> None:
        """Put together what is known."""
        self._settings = settings
        self._requests = requests
        self._records = records
        self._drafts = {event["event_id"]: event for each in requests if not each.conflicts for event in each.events}
        self._tried = _first_tries(requests)
        self._logs = {str(era.epoch): _Log(era) for era in eras if era.epoch is not None}
        self._gather()
        begin = 0
        for log in self._logs.values():
            log.begin = begin
            begin += log.end

    def judge(self) -> None:
        """Judge the log itself, then what publishers were told, then what every reader got. Raises Violation."""
        for log in self._logs.values():
            self._judge_final(log)
        for request in self._requests:
            self._judge_request(request)
        run = self.run()
        check_delivery(replace(run, sessions=()))
        for record, session in zip(self._records, run.sessions, strict=True):
            try:
                check_delivery(replace(run, sessions=[session]))
            except Violation as violation:
                raise Violation(f"{violation}; {_around(record, str(violation))}") from None

    def run(self) -> Run:
        """Return the run as the judge of all histories takes it: all logs numbered through."""
        logs = list(self._logs.values())
        entries = [self._logged(log, number) for log in logs for number in range(1, log.end + 1)]
        trims = {log.begin: log.begin + self._most_trimmed(log) for log in logs}
        resets = {
            "trimmed": any(self._most_trimmed(log) for log in logs),
            "skipped": self._settings.on_lag == "skip",
            "replaced": self._settings.wipes,
        }
        sessions = [self._session(entries, record) for record in self._records]
        return Run(
            entries,
            sessions,
            trims[logs[-1].begin],
            {name for name, may in resets.items() if may},
            [log.begin for log in logs[1:]],
            trims,
        )

    # What is known

    def _gather(self) -> None:
        for log in list(self._logs.values()):
            for sequence, document in log.era.entries or ():
                if document is not None:
                    self._note(log, sequence, document, None, log.era.ended)
        for request in self._requests:
            for attempt in request.attempts:
                for receipt in attempt.answer.get("events", ()):
                    cursor, event_id = receipt["cursor"], receipt["event_id"]
                    entry = self._at(self._log_of(cursor), receipt["sequence"], event_id, cursor)
                    entry.known_at = min(entry.known_at, attempt.ended)
        for record in self._records:
            for at, frame in record.seen:
                for event in frame.get("events", ()):
                    self._note(self._log_of(event["cursor"]), event["sequence"], event, event["cursor"], at)

    def _log_of(self, cursor: str) -> _Log:
        log = self._logs.get(Cursor.parse(cursor).epoch)
        if log is None:
            raise Violation(f"the cursor {cursor} is of a log that never was; there were {list(self._logs)}")
        return log

    def _note(self, log: _Log, sequence: int, event: Document, cursor: str | None, at: float) -> None:
        envelope = event["envelope"]
        entry = self._at(log, sequence, envelope["event_id"], cursor)
        entry.known_at = min(entry.known_at, at)
        told, draft = {**envelope, "payload": event["payload"]}, self._drafts[envelope["event_id"]]
        if _content(told) != _content(draft):
            raise Violation(f"an event is another than was published: {told!r:.500}, not {draft!r:.500}")

    def _at(self, log: _Log, sequence: int, event_id: str, cursor: str | None) -> _Entry:
        entry = log.entries.setdefault(sequence, _Entry(event_id))
        if event_id not in self._drafts:
            raise Violation(f"nobody has published {event_id}, which is number {sequence}")
        if entry.event_id != event_id or log.sequences.setdefault(event_id, sequence) != sequence:
            also = log.sequences.get(event_id)
            raise Violation(f"number {sequence} is {entry.event_id} and {event_id}, which is number {also} too")
        if cursor is not None and Cursor.parse(cursor).checked:  # a duplicate's, whose entry is gone, is not
            if Cursor.parse(cursor).sequence != sequence or (entry.cursor or cursor) != cursor:
                raise Violation(f"number {sequence} has the cursors {cursor} and {entry.cursor}")
            entry.cursor = cursor
        return entry

    def _logged(self, log: _Log, sequence: int) -> Logged:
        entry = log.entries.get(sequence)
        if entry is None:  # it can't be decoded, or nobody has seen it before it was gone
            return Logged(log.begin + sequence, "", "", "", lost=True)
        return _logged(self._drafts[entry.event_id], log.begin + sequence, entry.cursor or "")

    def _most_trimmed(self, log: _Log) -> int:
        """As many as are retained must be left; of a log that is gone, some may have come that nobody was told of."""
        unseen = 0 if log.era.entries is not None else 200
        return max(log.end + unseen - self._settings.retain, 0)

    # The log, and publishers

    def _judge_final(self, log: _Log) -> None:
        entries = log.era.entries
        if entries is None:
            return
        numbers = [sequence for sequence, _ in entries]
        first = numbers[0] if numbers else log.end + 1
        if numbers != list(range(first, log.end + 1)):
            raise Violation(f"the log has a gap, or has lost what was there: {_gaps(numbers, first, log.end)}")
        if first - 1 > max(log.end - self._settings.retain, 0):
            raise Violation(f"{len(numbers)} entries of {log.end} are left, fewer than {self._settings.retain}")
        if len(numbers) > self._settings.retain + 1300:
            raise Violation(f"{len(numbers)} entries are left, though {self._settings.retain} are enough")

    def _judge_request(self, request: Request) -> None:
        for number, attempt in enumerate(request.attempts):
            if attempt.status == 503:
                self._judge_outcome(request, attempt)
            if request.conflicts and attempt.status in (200, 201):
                raise Violation(f"other content was accepted for a known id: {attempt}")
            if not request.conflicts and attempt.status == 409:
                raise Violation(f"what is the same was called a conflict: {request.events!r:.300}, {attempt}")
            if attempt.status in (200, 201):
                self._judge_receipts(request, request.attempts[:number], attempt)

    def _judge_outcome(self, request: Request, attempt: Attempt) -> None:
        error = attempt.answer["error"]
        if error.get("outcome") not in ("not_published", "unknown"):
            raise Violation(f"a 503 that does not say whether it was published: {error}")
        if error.get("event_ids") != [each["event_id"] for each in request.events]:
            raise Violation(f"a 503 that names other events: {error}")

    def _judge_receipts(self, request: Request, before: Sequence[Attempt], attempt: Attempt) -> None:
        receipts = attempt.answer["events"]
        if [each["event_id"] for each in receipts] != [each["event_id"] for each in request.events]:
            raise Violation(f"receipts of other events: {receipts!r:.500}")
        duplicates = [each["duplicate"] for each in receipts]
        if (attempt.status == 200) != all(duplicates):
            raise Violation(f"{attempt.status} for {duplicates}")
        fresh = [each["sequence"] for each in receipts if not each["duplicate"]]
        if fresh and fresh != list(range(fresh[0], fresh[0] + len(fresh))):
            raise Violation(f"one request has the numbers {fresh}")
        unsure = any(_may_be_in(each) for each in before)
        for receipt in receipts:
            tried = self._tried[receipt["event_id"]]
            first = tried[0] is attempt or not any(_may_be_in(each) for each in tried[: _index(tried, attempt)])
            if receipt["duplicate"] and first and not unsure:
                raise Violation(f"{receipt} was never published before; tries before it: {before!r:.1000}")
            epoch = Cursor.parse(receipt["cursor"]).epoch
            if not receipt["duplicate"] and any(_accepted(each, receipt, epoch, attempt.began) for each in tried):
                raise Violation(f"{receipt} was published a second time")

    # Readers

    def _session(self, entries: Sequence[Logged], record: Record) -> Session:
        seen = [self._seen(frame) for _, frame in record.seen]
        told = next((at for at, frame in record.seen if "next_cursor" in frame), None)
        starts = () if told is None else self._starts(entries, record, told)
        about = f"{record.line}, {record.ask}, from {record.asked}"
        return Session(record.ask.keep, starts, seen, record.whole, about=about, quiet=record.quiet, limit=record.limit)

    def _seen(self, frame: Document) -> Seen:
        cursor = frame.get("next_cursor")
        return Seen(
            frame.get("type", "page"),
            tuple(self._got(event) for event in frame.get("events", ())),
            None if cursor is None else self._log_of(cursor).begin + Cursor.parse(cursor).sequence,
            frame.get("reason"),
        )

    def _got(self, event: Document) -> Logged:
        number = self._log_of(event["cursor"]).begin + event["sequence"]
        return _logged({**event["envelope"], "payload": event["payload"]}, number, event["cursor"])

    def _starts(self, entries: Sequence[Logged], record: Record, told: float) -> Sequence[int]:
        """Return where it may have begun: in each log that was there, at each end that it had, from the request to the first word."""
        keep, asked = record.ask.keep, record.asked
        begun = {epoch: log.begin for epoch, log in self._logs.items()}
        found: set[int] = set()
        for log in self._logs.values():
            if log.era.began <= told and log.era.ended >= record.sent_at:
                low = max((each for each, it in log.entries.items() if it.known_at <= record.sent_at), default=0)
                high = max((each for each, it in log.entries.items() if self._begun(it.event_id) <= told), default=0)
                ends = range(log.begin + low, log.begin + max(low, high) + 1)
                firsts = range(log.begin, log.begin + self._most_trimmed(log) + 1)
                found.update(starts_of(entries, keep, asked, ends, firsts, begun))
        return sorted(found)

    def _begun(self, event_id: str) -> float:
        return self._tried[event_id][0].began


def _first_tries(requests: Iterable[Request]) -> Mapping[str, Sequence[Attempt]]:
    """All tries of each id, in order of their beginning."""
    tried: dict[str, list[Attempt]] = {}
    for request in requests:
        if not request.conflicts:
            for event in request.events:
                tried.setdefault(event["event_id"], []).extend(request.attempts)
    return {event_id: sorted(tries, key=lambda each: each.began) for event_id, tries in tried.items()}


def _index(tried: Sequence[Attempt], attempt: Attempt) -> int:
    return bisect_right([each.began for each in tried], attempt.began) - 1


def _may_be_in(attempt: Attempt) -> bool:
    """Whether a try may have been carried out, whatever was answered."""
    return attempt.status in (0, 200, 201) or attempt.answer.get("error", {}).get("outcome") == "unknown"


def _accepted(attempt: Attempt, receipt: Document, epoch: str, before: float) -> bool:
    """Whether a try had been told, before a time, that an event is in a log."""
    return attempt.ended < before and any(
        each["event_id"] == receipt["event_id"] and Cursor.parse(each["cursor"]).epoch == epoch
        for each in attempt.answer.get("events", ())
    )


def _content(event: Document) -> str:
    names = ("event_id", "event_type", "ticket", "run_id", "thread_id", "payload")
    told = json.dumps({name: event.get(name) for name in names}, sort_keys=True)
    return hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()


def _logged(event: Document, number: int, cursor: str) -> Logged:
    fields = (event["event_type"], cursor, False, event.get("run_id"), event.get("thread_id"), _content(event))
    return Logged(number, event["ticket"], *fields)


def _gaps(numbers: Sequence[int], first: int, end: int) -> str:
    missing = sorted(set(range(first, end + 1)) - set(numbers))
    return f"{len(missing)} of {first} to {end} are missing: {missing[:20]}"


def _around(record: Record, violation: str) -> str:
    """Show the frames around the one that a violation names, as they came."""
    named = re.search(r": frame (\d+), ", violation)
    at = int(named[1]) if named else len(record.seen)
    lines = [f"\n    {when:.2f} {shown(frame)}" for when, frame in record.seen[max(at - 4, 0) : at + 3]]
    return f"asked at {record.sent_at:.2f}; frame {max(at - 4, 0)} on:" + "".join(lines)
