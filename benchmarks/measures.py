"""How each thing is measured: one application, one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.contestants import Trial

__all__ = [
    "FULL",
    "QUICK",
    "Figures",
    "Measure",
    "Scale",
    "catch_up",
    "fan_out",
    "idle",
    "memory",
    "publish",
    "steady",
    "tickets",
    "unmatched",
]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    subscribers: int = 500
    events: int = 400
    paced: int = 250
    idle: int = 2000
    many_idle: int = 10_000
    idle_seconds: float = 10.0
    tickets: int = 500
    ticket_events: int = 20_000
    published: int = 50_000
    stored: int = 100_000
    stored_shared: int = 20_000
    readers: int = 100


FULL = Scale()
QUICK = Scale(20, 40, 25, 50, 200, 0.5, 10, 200, 2000, 2000, 1000, 5)


Figures = dict[str, float]
Measure = Callable[[Trial, Scale], Figures]


def fan_out(kind: str, *, burst: bool) -> Measure:
    """Many subscribers of one ticket, and events as fast as they can be published."""

    def measure(on: Trial, scale: Scale) -> Figures:
        on.open("all", kind, scale.subscribers)
        batch = scale.events if burst else 1
        on.deliver(
            "all", scale.events if burst else 20, batch=batch
        )  # what is made once is made then: buffers of the kernel too
        runs = [on.deliver("all", scale.events, batch=batch) for _ in range(3 if burst else 1)]
        return {"cpu": sum(each["cpu"] for each in runs) / sum(each["deliveries"] for each in runs) * 1e6}

    return measure


def steady(kind: str) -> Measure:
    """Many subscribers of one ticket, and 50 events a second: nothing to gather."""

    def measure(on: Trial, scale: Scale) -> Figures:
        on.open("all", kind, scale.subscribers)
        on.deliver("all", 20)
        stats = on.deliver("all", scale.paced, rate=50)
        return {"cpu": stats["cpu"] / stats["deliveries"] * 1e6, "p50": stats["p50"], "p99": stats["p99"]}

    return measure


def tickets(kind: str, *, batch: int) -> Measure:
    """Two subscribers for each of many tickets."""

    def measure(on: Trial, scale: Scale) -> Figures:
        on.open("all", kind, 2 * scale.tickets, "/stream?ticket=T-{m}", f"modulo={scale.tickets}")
        on.deliver("all", scale.tickets, tickets=scale.tickets)
        stats = on.deliver("all", scale.ticket_events, tickets=scale.tickets, batch=batch)
        return {"rate": scale.ticket_events / stats["seconds"]}

    return measure


def memory(kind: str) -> Measure:
    """What a connection takes that has nothing to do."""

    def measure(on: Trial, scale: Scale) -> Figures:
        on.open("first", kind, 50)  # what is made once is not theirs
        on.deliver("first", 20)
        on.served.get("/stats")
        before = on.served.memory()
        on.open("all", kind, scale.idle)
        on.served.get("/stats")
        return {"memory": (on.served.memory() - before) / scale.idle / 1024}

    return measure


def idle(kind: str) -> Measure:
    """What thousands of connections cost between two heartbeats."""

    def measure(on: Trial, scale: Scale) -> Figures:
        on.open("all", kind, scale.many_idle)
        on.served.get("/stats")
        cpu, began = on.served.cpu(), time.monotonic()
        time.sleep(scale.idle_seconds)
        return {"cpu": (on.served.cpu() - cpu) / (time.monotonic() - began) * 100}

    return measure


def unmatched(on: Trial, scale: Scale) -> Figures:
    """What an event costs that none of the subscribers wants."""

    def cost() -> float:
        cpu = on.served.cpu()
        on.publish(scale.published)
        return (on.served.cpu() - cpu) / scale.published * 1e6

    few = max(scale.many_idle // 100, 1)
    on.open("few", "sse", few, "/stream?ticket=U-{i}")
    cost()
    with_few = cost()
    on.open("many", "sse", scale.many_idle - few, "/stream?ticket=V-{i}")
    with_many = cost()
    return {"few": with_few, "many": with_many, "growth": with_many / with_few}


def publish(on: Trial, scale: Scale) -> Figures:
    """What an event costs that nobody reads."""
    figures: Figures = {}
    for name, batch in (("one", 1), ("batches", 100)):
        on.publish(scale.published // 10, batch=batch)
        cpu = on.served.cpu()
        on.publish(scale.published, batch=batch)
        figures[name] = (on.served.cpu() - cpu) / scale.published * 1e6
    return figures


def catch_up(*, shared: bool) -> Measure:
    """Readers from the beginning on, of a log that holds much."""

    def measure(on: Trial, scale: Scale) -> Figures:
        stored, readers = (scale.stored_shared, scale.readers) if shared else (scale.stored, 1)
        on.publish(stored, batch=1000)
        if on.app.prepare:
            on.served.get(on.app.prepare)
        cpu, began = on.served.cpu(), time.perf_counter()
        on.load(f"open all {readers} sse /stream?ticket=T-0&cursor=earliest")
        on.load(f"wait all {on.last} 180000")
        took, used = time.perf_counter() - began, on.served.cpu() - cpu
        on.judged("all", stored * readers)
        return {"rate": stored * readers / took, "cpu": used / (stored * readers) * 1e6}

    return measure
