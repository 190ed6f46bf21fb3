"""The judge: a recorded run keeps the guarantee of section 2 of the protocol, or it does not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Reason = Literal["trimmed", "replaced", "ahead", "skipped"]


class Violation(AssertionError):
    """A promise that a run broke."""


@dataclass(frozen=True, slots=True)
class Logged:
    """
    One event of the log, or one event as a reader got it.

    lost: it can't be decoded, so nobody gets it. content: what stands for all else that it says.
    """

    sequence: int
    ticket: str
    event_type: str
    cursor: str = field(repr=False)
    lost: bool = False
    run_id: str | None = None
    thread_id: str | None = None
    content: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Keep:
    """What a reader asked for: tickets, runs, threads, and event types with what is below them. Empty keeps everything."""

    tickets: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    threads: frozenset[str] = frozenset()

    def matches(self, event: Logged) -> bool:
        """Whether the reader must get this event."""
        kept = not self.types or any(f"{event.event_type}.".startswith(f"{kind}.") for kind in self.types)
        named = ((self.tickets, event.ticket), (self.runs, event.run_id), (self.threads, event.thread_id))
        return not event.lost and kept and all(not asked or value in asked for asked, value in named)


@dataclass(frozen=True, slots=True)
class Seen:
    """
    One frame, or one page, as a client got it.

    position: the sequence that its cursor stands for; None where it has none. reset: the reason, where it is a reset.
    """

    kind: str
    events: tuple[Logged, ...] = ()
    position: int | None = None
    reset: Reason | None = None


@dataclass(slots=True)
class Session:
    """
    What one client got on one connection.

    starts: the positions at which it may have begun: one for a cursor, several for `latest` where events came meanwhile.
    whole: whether it was read to the end of the log. ended: whether the server ended it. quiet: whether this kind of client does
    not hear that it is live. limit: the most events of a frame or page.
    """

    keep: Keep
    starts: Collection[int]
    seen: list[Seen] = field(default_factory=list[Seen])
    whole: bool = False
    ended: bool = False
    about: str = ""
    quiet: bool = False
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class Run:
    """
    A whole run. trimmed: up to this sequence the log retains nothing in the end. resets: the reasons that the run may have.

    log: every event that was ever published, in order of sequence, from 1 on. beginnings: where logs begin that took the place
    of the one before; all are numbered through. trims: by its beginning, up to where a log was trimmed, where not all were alike.
    """

    log: Sequence[Logged]
    sessions: Sequence[Session]
    trimmed: int = 0
    resets: Collection[str] = ("trimmed",)
    beginnings: Collection[int] = ()
    trims: Mapping[int, int] = field(default_factory=dict[int, int])


def check_delivery(run: Run) -> None:
    """
    Raise Violation unless each session is in order, has every match once, and nothing is missing but what a reset announced.

    No position that was handed out, a heartbeat's included, may lie behind a match that was not delivered before.
    """
    for number, event in enumerate(run.log, 1):
        if event.sequence != number:
            raise Violation(f"the log has a gap: {event} is number {number}")
    for session in run.sessions:
        _check_session(run, session)


def _check_session(run: Run, session: Session) -> None:
    at = set(session.starts)
    if not at:
        if session.whole or any(frame.events or frame.reset for frame in session.seen):
            raise Violation(f"{session.about}: never came to a position")
        return
    live = session.quiet
    for index, frame in enumerate(session.seen):
        where = f"{session.about}: frame {index}, {frame}, from {sorted(at)[:5]}"
        live = live or frame.kind == "forum.live"
        if len(frame.events) > session.limit:
            raise Violation(f"{where}: more than {session.limit} events")
        if frame.reset is not None:
            if frame.reset == "skipped" and not live:
                raise Violation(f"{where}: skipped before it was live")
            live = session.quiet
            at = {_after_reset(run, at, frame, where)}
        elif frame.position is None:
            if frame.events:
                raise Violation(f"{where}: events without a position")
        else:
            if not any(_matching(run, session.keep, start, frame.position) == frame.events for start in at):
                missing = [event.sequence for event in _matching(run, session.keep, min(at), frame.position)]
                raise Violation(f"{where}: got {[e.sequence for e in frame.events]}, expected {missing}")
            at = {frame.position}
    if session.whole:
        left = _matching(run, session.keep, min(at), len(run.log))
        if left:
            raise Violation(f"{session.about}: never got {left}, was at {sorted(at)}")


def _after_reset(run: Run, at: Collection[int], frame: Seen, where: str) -> int:
    """Judge a reset: it has a reason, and it announces no loss where there was none."""
    if frame.reset not in run.resets:
        raise Violation(f"{where}: nothing in this run leads to that reset")
    if frame.position is None:
        raise Violation(f"{where}: a reset without a position")
    if frame.position < min(at) or (frame.position == min(at) and frame.reset != "replaced"):
        raise Violation(f"{where}: a reset that leads back")
    if frame.reset == "replaced" and not any(
        begun <= frame.position <= run.trims.get(begun, begun) for begun in run.beginnings
    ):
        raise Violation(f"{where}: no log begins there, but at {sorted(run.beginnings)}")
    begun = max((each for each in run.beginnings if each <= frame.position), default=0)
    trimmed = run.trims.get(begun, run.trimmed)
    if frame.reset == "trimmed" and frame.position > trimmed:
        raise Violation(f"{where}: passes over retained events; trimmed up to {trimmed}")
    return frame.position


def _matching(run: Run, keep: Keep, after: int, to: int) -> tuple[Logged, ...]:
    return tuple(event for event in run.log[after:to] if keep.matches(event))
