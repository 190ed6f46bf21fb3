"""What a round consists of, drawn from a seed: settings, readers, publishers, and what happens to them. The same seed, the same plan."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from tests.properties.checker import Keep, Logged

__all__ = ["SCENARIOS", "Ask", "Fault", "LinePlan", "Move", "Plan", "PublisherPlan", "Scenario", "Settings", "draw"]

Scenario = Literal["workers", "memory", "mount"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

Kind = Literal["sse", "websocket", "socket", "page", "poll", "client sse", "client ws"]
KINDS: tuple[Kind, ...] = get_args(Kind)

StartKind = Literal["latest", "earliest", "tail", "number", "cursor"]
Lane = Literal["redis", "network", "server", "front", "crowd"]

TICKETS = ("T-1", "T-2", "T-3", "T-4")
RUNS = ("R-1", "R-2", "R-3")
THREADS = ("X-1", "X-2", "X-3")
TYPES = ("forum.post.added", "forum.thread.opened", "forum.thread.closed", "forum.threads", "deploy.done")
ASKED_TYPES = {"forum": TYPES[0], "forum.thread": TYPES[1], "forum.threads": TYPES[3], "deploy": TYPES[4]}
"""What a reader may ask for, and a type that it then gets."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one reader, or one subscription, asks for. start: `latest`, `earliest`, a tail, or a place of the log in per cent."""

    tickets: tuple[str, ...]
    runs: tuple[str, ...]
    threads: tuple[str, ...]
    types: tuple[str, ...]
    start: tuple[StartKind, int]
    limit: int
    fence: str

    @property
    def keep(self) -> Keep:
        """The filter, as the judge has it."""
        return Keep(*(frozenset(each) for each in (self.tickets, self.types, self.runs, self.threads)))

    @property
    def params(self) -> dict[str, Any]:
        """The filter and the limit, as a request has them."""
        named = (
            ("ticket", self.tickets),
            ("run_id", self.runs),
            ("thread_id", self.threads),
            ("event_type", self.types),
        )
        return {"limit": self.limit, **{name: list(values) for name, values in named if values}}


@dataclass(frozen=True, slots=True)
class Move:
    """
    What a reader does at a time.

    `stall`: reads nothing for a while. `rst`: cuts its connection and comes back. `away`: leaves, and comes back after a while.
    `rewind`: comes back from a cursor that it had before.
    """

    at: float
    kind: Literal["stall", "rst", "away", "rewind"]
    lasting: float


@dataclass(frozen=True, slots=True)
class LinePlan:
    """
    One reader through all its connections: one subscription, on a socket several.

    pace: seconds that it takes over each frame. narrow: whether its kernel holds next to nothing. front: whether there is a network
    before it that fails.
    """

    name: str
    kind: Kind
    asks: tuple[Ask, ...]
    opens_at: float
    pace: float
    narrow: bool
    front: bool
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class PublisherPlan:
    """One publisher; what it publishes is drawn from `seed` as it goes on. pause: seconds between two requests, about."""

    name: str
    seed: int
    pause: float
    front: bool
    client: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is done to the servers, to a network, or by strangers. Those of one lane don't overlap."""

    lane: Lane
    at: float
    kind: str
    lasting: float
    target: int


@dataclass(frozen=True, slots=True)
class Settings:
    """
    How the forum is set up. wipes: whether the log may be lost in this round, which is the only cause of a reset `replaced`.

    limits: those of the mounted forum, which is the only one that takes any.
    """

    retain: int
    wipes: bool
    on_lag: Literal["resume", "skip", "disconnect"]
    heartbeat: float
    limits: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole round. fences: what is published in the end; each subscription gets one of them at least."""

    scenario: Scenario
    seed: int
    seconds: float
    settings: Settings
    lines: tuple[LinePlan, ...]
    publishers: tuple[PublisherPlan, ...]
    faults: tuple[Fault, ...]
    fences: tuple[Mapping[str, Any], ...]


_FAULTS: Mapping[Lane, tuple[str, ...]] = {
    "redis": ("kill", "pause", "foreign", "kill", "pause", "foreign", "wipe"),
    "network": ("cut", "refuse", "swallow", "delay", "lose"),
    "server": ("kill", "stop", "restart"),
    "front": ("cut", "swallow", "delay", "lose"),
    "crowd": ("stranger", "stranger", "burst", "storm"),
}

_PAUSES: Mapping[Lane, float] = {"redis": 4.0, "network": 4.0, "server": 6.0, "front": 4.0, "crowd": 0.7}
"""Seconds between two faults of a lane, on the average."""


def draw(scenario: Scenario, seed: int, seconds: float) -> Plan:
    """Draw a plan."""
    chance = random.Random(f"{scenario} {seed}")
    settings = _settings(scenario, chance)
    asks = _Asks(chance, numbers=not settings.wipes)
    lines = tuple(_line(chance, asks, index, seconds) for index in range(chance.randint(11, 16)))
    publishers = tuple(
        PublisherPlan(
            f"publisher {index}",
            chance.randrange(2**32),
            chance.choice([0.05, 0.15, 0.4]),
            front=chance.random() < 0.5,
            client=index == 0,
        )
        for index in range(3)
    )
    lines = tuple(replace(each, asks=tuple(asks.fenced(ask) for ask in each.asks)) for each in lines)
    faults = tuple(fault for lane in _FAULTS for fault in _lane(lane, scenario, settings, chance, seconds))
    return Plan(scenario, seed, seconds, settings, lines, publishers, faults, tuple(asks.fences))


def _settings(scenario: Scenario, chance: random.Random) -> Settings:
    limits: dict[str, float] = {}
    if scenario == "mount":
        limits = {
            "tail_bytes": chance.choice([20_000, 300_000, 2**24]),
            "frame_bytes": chance.choice([50_000, 2**20]),
            "page_scan": chance.choice([50, 20_000]),
            "send_timeout": chance.choice([2.0, 60.0]),
        }
        if chance.random() < 0.3:
            limits["max_stream_age"] = 4.0
    return Settings(
        retain=chance.choice([60, 250, 3000, 3000]),
        wipes=chance.random() < 0.4,
        on_lag=chance.choice(["resume", "resume", "resume", "skip", "disconnect"]),
        heartbeat=chance.choice([0.5, 1.0, 2.0]),
        limits=limits,
    )


class _Asks:
    """Draws what readers ask for, and the fences that they will get."""

    LIMITS = (1, 3, 20, 100, 1000)

    def __init__(self, chance: random.Random, *, numbers: bool) -> None:
        self._chance = chance
        self._starts: tuple[StartKind, ...] = ("latest", "earliest", "tail", "cursor")
        if numbers:
            self._starts += ("number",)
        self.fences: list[dict[str, Any]] = []

    def draw(self, kind: Kind) -> Ask:
        """
        Draw one. Each page is a request, and single events would be too many of them. A number is no start where another log may
        take the place of this one: it could be of either.
        """
        chance, fields = self._chance, dict[str, tuple[str, ...]](tickets=(), runs=(), threads=(), types=())
        by = chance.choice(["", "", "tickets", "tickets", "runs", "threads"])
        if by:
            fields[by] = self._some({"tickets": TICKETS, "runs": RUNS, "threads": THREADS}[by])
        if chance.random() < 0.3:
            fields["types"] = self._some(tuple(ASKED_TYPES))
        start = chance.choice(self._starts)
        amount = chance.randrange(0, 60) if start == "tail" else chance.randrange(101)
        fence = f"fence-{len(self.fences)}"
        event: dict[str, Any] = {
            "event_id": fence,
            "event_type": ASKED_TYPES[fields["types"][0]] if fields["types"] else TYPES[0],
            "ticket": (fields["tickets"] or TICKETS)[0],
            "payload": {"fence": len(self.fences)},
        }
        event |= {name: fields[key][0] for name, key in (("run_id", "runs"), ("thread_id", "threads")) if fields[key]}
        self.fences.append(event)
        limit = chance.choice(self.LIMITS[2:] if kind in ("page", "poll") else self.LIMITS)
        return Ask(**fields, start=(start, amount), limit=limit, fence=fence)

    def fenced(self, ask: Ask) -> Ask:
        """Return it with the last of all fences that it gets."""
        return replace(ask, fence=[each["event_id"] for each in self.fences if ask.keep.matches(_logged(each))][-1])

    def _some(self, values: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._chance.sample(values, self._chance.randint(1, 2)))


def _logged(event: Mapping[str, Any]) -> Logged:
    return Logged(0, event["ticket"], event["event_type"], "", False, event.get("run_id"), event.get("thread_id"))


def _line(chance: random.Random, asks: _Asks, index: int, seconds: float) -> LinePlan:
    kind = KINDS[index] if index < len(KINDS) else chance.choice(KINDS)
    count = chance.randint(2, 5) if kind == "socket" else 1
    slow = chance.random() < 0.2
    moves: list[Move] = []
    at = chance.uniform(0, seconds / 2)
    opens_at = 0.0 if chance.random() < 0.5 else at
    while (at := at + chance.expovariate(1 / 5)) < seconds:
        moves.append(Move(at, chance.choice(["stall", "rst", "away", "rewind"]), chance.choice([0.2, 1.0, 4.0])))
    return LinePlan(
        f"{index} ({kind})",
        kind,
        tuple(asks.draw(kind) for _ in range(count)),
        opens_at,
        pace=chance.choice([0.02, 0.1]) if slow else 0.0,
        narrow=slow or chance.random() < 0.2,
        front=chance.random() < 0.5,
        moves=tuple(moves),
    )


def _lane(lane: Lane, scenario: Scenario, settings: Settings, chance: random.Random, seconds: float) -> Sequence[Fault]:
    kinds: Sequence[str] = _FAULTS[lane]
    if scenario == "memory" and lane in ("redis", "network"):
        return ()
    if not settings.wipes:
        kinds = [each for each in kinds if each != "wipe"]
        if scenario == "memory" and lane == "server":
            kinds = ["stop"]  # what ends the process ends the log
    faults: list[Fault] = []
    at = chance.uniform(0.5, 3.0)
    while at < seconds:
        lasting = chance.choice([0.1, 0.5, 1.0, 3.0])
        faults.append(Fault(lane, at, chance.choice(kinds), lasting, chance.randrange(2**16)))
        at += chance.expovariate(1 / _PAUSES[lane])
    return faults
