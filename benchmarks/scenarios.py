"""What is measured, for which applications, and with what goals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.contestants import App, trial
from benchmarks.measures import (
    Figures,
    Measure,
    Scale,
    catch_up,
    fan_out,
    idle,
    memory,
    publish,
    steady,
    tickets,
    unmatched,
)

__all__ = ["SCENARIOS", "Row", "Scenario"]

ALL = ("floor", "ours", "naive", "broadcaster", "litestar")
OURS = ("floor", "ours")
KINDS = {"sse": "SSE", "ws": "WebSocket"}

DELIVERY = "µs of CPU a delivery"
CONNECTION = "KiB a connection"
QUIET = {"BENCHMARK_HEARTBEAT": "600"}
"""So that no heartbeat falls into what is measured."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. The goal is a ratio to the yardstick, or, where `absolute`, a figure; at most that, or at least."""

    name: str
    unit: str = DELIVERY
    goal: float | None = None
    at_least: bool = False
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    A measurement of each application, on a server of its own each time.

    apps: the columns that it is for. instead: what takes the place of a column. The figures are by the keys of `rows`.
    """

    name: str
    rows: Mapping[str, Row]
    measure: Measure
    apps: tuple[str, ...] = ALL
    instead: Mapping[str, str] = field(default_factory=dict[str, str])
    server: str = "uvicorn"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def run(self, app: App, scale: Scale) -> Figures:
        """Measure one application once. Raises Failed where an event was lost or came twice."""
        with trial(app, self.server, self.environment) as running:
            return self.measure(running, scale)


def on_server(server: str | None = None) -> list[Scenario]:
    """Return those of fan-out: on uvicorn for all, on another server for asgi_forum and its yardstick there."""
    found: list[Scenario] = []
    for kind, says in KINDS.items():
        goals = {"step": 1.0, "burst": 1.0} if server else {"step": {"sse": 0.35, "ws": 0.25}[kind], "burst": 0.05}
        names = {"step": f"{says}, one event at a time", "burst": f"{says}, burst of 400"}
        calm = f"{says}, 50 events/s"
        rows = {
            "cpu": Row(calm, goal=1.0),
            "p50": Row(calm, "ms, p50", 1.0),
            "p99": Row(calm, "ms, p99", 1.0),
        }
        parts: list[tuple[str, Mapping[str, Row], Measure]] = [
            (how, {"cpu": Row(names[how], goal=goals[how])}, fan_out(kind, burst=how == "burst")) for how in names
        ]
        for how, lines, measure in [*parts, ("steady", rows, steady(kind))]:
            if server is None:
                found.append(Scenario(f"{kind}-{how}", lines, measure))
                continue
            named = {key: Row(f"{server}: {row.name}", row.unit, row.goal) for key, row in lines.items()}
            found.append(Scenario(f"{server}-{kind}-{how}", named, measure, OURS, server=server))
    return found


def elsewhere() -> list[Scenario]:
    """Return those of many tickets, of memory, of idle connections, of publishing, and of catching up."""
    found: list[Scenario] = []
    for kind, says in KINDS.items():
        for how, batch, goal in (("step", 1, 0.9), ("burst", 400, 2.0)):
            name = (
                f"{says}, 1,000 subscribers of 500 tickets, {'one event at a time' if batch == 1 else 'bursts of 400'}"
            )
            rows = {"rate": Row(name, "events/s", goal, at_least=True)}
            found.append(Scenario(f"{kind}-tickets-{how}", rows, tickets(kind, batch=batch)))
        name, goal = f"{says}, an idle connection", {"sse": 1.3, "ws": 1.15}[kind]
        mounted, bare = Row(name, CONNECTION, goal), Row(f"{name}, served bare", CONNECTION, 1.0)
        found += [
            Scenario(f"{kind}-memory", {"memory": mounted}, memory(kind), environment=QUIET),
            Scenario(f"{kind}-memory-bare", {"memory": bare}, memory(kind), OURS, {"ours": "bare"}, environment=QUIET),
        ]
        idlers = Row(f"{says}, 10,000 idle connections", "% of a core", 1.0, absolute=True)
        found.append(Scenario(f"{kind}-idle", {"cpu": idlers}, idle(kind), OURS, environment=QUIET))
    each = "µs of CPU an event"
    others = {
        "few": Row("an event that none of 100 subscribers wants", each),
        "many": Row("an event that none of 10,000 subscribers wants", each),
        "growth": Row("10,000 against 100 subscribers", "times", 1.1, absolute=True),
    }
    nobody = {
        "one": Row("published one by one, no subscriber", each, 15.0, absolute=True),
        "batches": Row("published in batches of 100, no subscriber", each, 6.0, absolute=True),
    }
    return [
        *found,
        # A log that trims as much as it takes all the time, and not only from some event on.
        Scenario("unmatched", others, unmatched, OURS, environment={**QUIET, "BENCHMARK_RETAIN": "5000"}),
        Scenario("publish", nobody, publish, OURS),
        *(caught_up(shared=shared) for shared in (False, True)),
    ]


def caught_up(*, shared: bool) -> Scenario:
    """Return that of one reader, or of many at once; the yardstick sends the same bytes, recorded, in one loop."""
    name = "catching up, 100 readers of 20,000 events at once" if shared else "catching up, 1 reader of 100,000 events"
    rows = {"rate": Row(name, "deliveries/s", 0.5, at_least=True), "cpu": Row(name, DELIVERY)}
    which = "catch-up-shared" if shared else "catch-up"
    return Scenario(which, rows, catch_up(shared=shared), OURS, {"floor": "replay"})


SCENARIOS = [*on_server(), *elsewhere(), *on_server("granian"), *on_server("hypercorn")]
"""All, in the order of the table."""
