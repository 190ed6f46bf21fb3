"""What a history may consist of, drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st

from tests.properties.checker import Keep, Logged

Kind = Literal["sse", "websocket", "socket", "page", "poll", "frames", "events"]
KINDS: tuple[Kind, ...] = ("sse", "websocket", "socket", "page", "poll", "frames", "events")

Params = Mapping[str, Any]

TICKETS = ("A", "B", "C")
TYPES = ("forum.thread.opened", "forum.threads", "deploy")

By = Literal["ticket", "run_id", "thread_id"]
FaultKind = Literal["leave", "come back", "cut", "hold back", "let flow", "lose", "replace"]


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish events in one request: a ticket and a type each. `elsewhere`: by another process."""

    events: tuple[tuple[str, str], ...]
    elsewhere: bool


@dataclass(frozen=True, slots=True)
class Open:
    """
    Open a reader. start: `latest`, `earliest`, a tail, or a part of the log in per cent, as a number or a cursor.

    Empty filters keep everything. by: the field by which it asks for tickets; an event names its ticket in each of them.
    """

    kind: Kind
    tickets: tuple[str, ...]
    types: tuple[str, ...]
    start: tuple[Literal["latest", "earliest", "tail", "number", "cursor"], int]
    limit: int
    by: By = "ticket"

    @property
    def keep(self) -> Keep:
        """The filter, as the judge has it."""
        return Keep(frozenset(self.tickets), frozenset(self.types))


@dataclass(frozen=True, slots=True)
class Take:
    """Let a reader take up to `count` messages, as many as are ready."""

    reader: int
    count: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Cut a reader's connection; `back`: it comes back from the last cursor that it saw."""

    reader: int
    back: bool


@dataclass(frozen=True, slots=True)
class Pass:
    """Let time pass, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Something happens to the source, or to the network before it. `lose`: what the feed holds back never comes."""

    kind: FaultKind


@dataclass(frozen=True, slots=True)
class Gap:
    """The live feed breaks off, another process publishes meanwhile, and the feed is there again."""

    publish: Publish


Step = Publish | Open | Take | Cut | Pass | Fault | Gap


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Settings, and what happens, in order.

    laps: turns of the event loop that a read of the source takes. patience: turns that pass after each step. page: the most entries
    that one read, one step, or one page of the live feed takes. lossy, rounds: whether the live feed loses something in the end, and
    how often all readers are sent something then. holes: whether each third entry can't be decoded. near: whether those who catch up read
    the log at once, as one in this process.
    """

    retain: int
    tail_bytes: int
    frame_bytes: int
    page_scan: int
    on_lag: Literal["resume", "skip", "disconnect"]
    max_lag: int | None
    heartbeat: float
    laps: int
    patience: int
    page: int
    lossy: bool
    rounds: int
    holes: bool
    near: bool
    steps: tuple[Step, ...]


FENCE = Publish(2 * tuple((ticket, kind) for kind in TYPES[:2] for ticket in TICKETS[:2]), elsewhere=True)
"""Events of which every filter that a plan may have keeps one at least, also where each third can't be decoded."""

NOISE = Publish((("C", "deploy"), ("C", "deploy")), elsewhere=True)
"""Events that no filter of a plan keeps, but the empty one."""


def fields_of(ticket: str, event_type: str) -> dict[str, str]:
    """What an event that is published says: its ticket in every field that a reader may ask by."""
    return {"ticket": ticket, "run_id": ticket, "thread_id": ticket, "event_type": event_type}


def params_of(opened: Open, log: Sequence[Logged]) -> Params:
    """What the reader asks for; a part of the log becomes a number, or the cursor of an event."""
    start, amount = opened.start
    params: dict[str, Any] = {"limit": opened.limit}
    if opened.tickets:
        params[opened.by] = list(opened.tickets)
    if opened.types:
        params["event_type"] = list(opened.types)
    sequence = len(log) * amount // 100
    if start == "tail":
        return {**params, "tail": amount}
    if start == "cursor" and sequence:
        return {**params, "cursor": log[sequence - 1].cursor}
    if start == "number":
        return {**params, "cursor": str(sequence)}
    return {**params, "cursor": "latest" if start == "latest" else "earliest"}


def _subsets(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sampled_from([(), *((value,) for value in values), values[:2]])


_events = st.lists(st.tuples(st.sampled_from(TICKETS), st.sampled_from(TYPES)), min_size=1, max_size=6).map(tuple)
_publish = st.builds(Publish, _events, elsewhere=st.booleans())
_gap = st.builds(Gap, st.builds(Publish, _events, elsewhere=st.just(True)))
_named = (
    st.just(("latest", 0)),
    st.just(("earliest", 0)),
    st.tuples(st.just("tail"), st.integers(0, 5)),
    st.tuples(st.just("cursor"), st.integers(0, 100)),
)
_start = st.one_of(*_named, st.tuples(st.just("number"), st.integers(0, 100)))
_faults: tuple[FaultKind, ...] = ("leave", "come back", "cut", "hold back", "let flow", "lose")
_readers = st.integers(0, 7)


def steps(kinds: tuple[Kind, ...], *, faults: bool, narrow: bool, replaced: bool) -> st.SearchStrategy[Step]:
    """What may happen: with readers of these kinds, and with or without faults of the source."""
    opened = st.builds(
        Open,
        kind=st.sampled_from(kinds),
        tickets=_subsets(TICKETS[:2]),
        types=_subsets(("forum.thread", "forum", *TYPES[:2])),
        start=st.one_of(*_named) if replaced else _start,
        limit=st.sampled_from([1, 2, 5, 100]),
        by=st.sampled_from(["ticket", "run_id", "thread_id"]),
    )
    taken = st.builds(Take, _readers, st.integers(1, 6))
    some: list[st.SearchStrategy[Step]] = [
        st.just(Pass(0.0)),  # what a step that does not matter shrinks to
        _publish,
        _publish,
        _publish,
        opened,
        taken,
        taken,
        taken,
        st.builds(Cut, _readers, st.booleans()),
        st.builds(Pass, st.sampled_from([0.1, 1.0, 5.0])),
    ]
    if narrow:
        some += [st.just(NOISE), st.just(NOISE), taken]
    if faults:
        some += [st.builds(Fault, st.sampled_from(_faults)), _gap]
    if replaced:
        some.append(st.just(Fault("replace")))
    return st.one_of(some)


def plans(
    kinds: tuple[Kind, ...] = KINDS,
    *,
    faults: bool = False,
    retain: tuple[int, ...] = (1000,),
    on_lag: tuple[Literal["resume", "skip", "disconnect"], ...] = ("resume",),
    narrow: bool = False,
    replaced: bool = False,
) -> st.SearchStrategy[Plan]:
    """
    Plans of 20 to 60 steps; small tails, so that the seam is crossed again and again.

    narrow: tails of an event or two, and no heartbeat that would wake who sleeps over an event. replaced: another log may take
    the place of the present one; a number, which could be of either, is then no start.
    """
    return st.builds(
        Plan,
        retain=st.sampled_from(retain),
        tail_bytes=st.sampled_from([1, 3000, 8000, 2**24][: 2 if narrow else 4]),
        frame_bytes=st.sampled_from([1, 700, 2**20]),
        page_scan=st.sampled_from([1, 3, 20_000]),
        on_lag=st.sampled_from(on_lag),
        max_lag=st.sampled_from([None, 1, 3]),
        heartbeat=st.just(100_000.0) if narrow else st.sampled_from([2.0, 100_000.0]),
        laps=st.sampled_from([1, 2, 4, 15]),
        patience=st.sampled_from([24, 0, 1, 2, 3, 6]),
        page=st.sampled_from([1000, 8, 2]),
        lossy=st.booleans(),
        rounds=st.sampled_from([3, 1]),
        holes=st.booleans(),
        near=st.booleans(),
        steps=st.lists(steps(kinds, faults=faults, narrow=narrow, replaced=replaced), min_size=20, max_size=60).map(
            tuple
        ),
    )
