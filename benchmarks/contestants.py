"""The applications that are compared, and one of them on trial: running on a server, with clients of the load generator."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.load import Load
from benchmarks.servers import Served, serve

__all__ = ["COLUMNS", "INSIDE", "App", "Failed", "Trial", "missing", "trial"]


class Failed(Exception):
    """An application did not do what is measured: events were lost, came twice, or never came."""


@dataclass(frozen=True, slots=True)
class App:
    """
    An application of `benchmarks.apps`.

    needs: distributions, the first of which names its column. until: what it sends when a client is subscribed, for each kind; where
    there is nothing, its head says so. prepare: a path that is asked for once what is stored is there.
    """

    name: str
    module: str
    title: str
    needs: tuple[str, ...] = ()
    until: Mapping[str, str] = field(default_factory=lambda: {"sse": "hello"})
    prepare: str | None = None


_LIVE = {"sse": "forum.live", "ws": "forum.live"}

COLUMNS = {
    each.name: each
    for each in (
        App("floor", "floor:app", "floor"),
        App("ours", "ours:app", "asgi_forum", until=_LIVE),
        App("naive", "naive:app", "naive (sse-starlette {}, Starlette)", ("sse-starlette", "starlette")),
        App("broadcaster", "broadcaster_app:app", "broadcaster {}", ("broadcaster", "sse-starlette", "starlette")),
        App("litestar", "litestar_channels:app", "Litestar channels {}", ("litestar",)),
    )
}
"""The columns of the table: the yardstick comes first."""

INSIDE = {
    each.name: each
    for each in (
        App("bare", "ours:bare", "asgi_forum, served bare", until=_LIVE),
        App("replay", "replay:app", "the same bytes in one loop", prepare="/record"),
    )
}
"""What takes the place of a column in some scenarios."""


def missing(app: App) -> str | None:
    """Return the first distribution that it needs and that is not installed."""
    for name in app.needs:
        try:
            version(name)
        except PackageNotFoundError:
            return name
    return None


@dataclass(slots=True)
class Trial:
    """An application that is running, its clients, and how far each ticket's numbers have come."""

    app: App
    served: Served
    load: Load
    last: int = 0

    def open(self, group: str, kind: str, count: int, path: str = "/stream?ticket=T-0", keys: str = "") -> None:
        """Connect clients, and wait until each is subscribed."""
        until = self.app.until.get(kind)
        found = self.load(f"open {group} {count} {kind} {path} inflight=64 {f'until={until}' if until else ''} {keys}")
        if found["open"] != count:
            raise Failed(f"{found['open']} of {count} clients were connected: {found}")

    def publish(self, count: int, *, tickets: int = 1, batch: int = 1, rate: float = 0) -> None:
        """Have events published: so many in all, spread over the tickets."""
        self.served.get(f"/publish?count={count}&tickets={tickets}&batch={batch}&rate={rate}")
        self.last += count // tickets

    def deliver(self, group: str, count: int, **how: Any) -> dict[str, Any]:
        """
        Have events published, and wait until each client of the group has each one of its ticket. Return what was counted.

        `seconds` is the time from the request to the last delivery, `cpu` what the server used for it.
        """
        each = count // how.get("tickets", 1)
        self.load(f"reset {group}")
        cpu = self.served.cpu()
        self.load.send(f"wait {group} {self.last + each} 180000")
        self.publish(count, **how)
        came = self.load.answer()
        used = self.served.cpu() - cpu
        return {**self.judged(group, came["of"] * each), "cpu": used, "seconds": came["seconds"]}

    def judged(self, group: str, deliveries: int) -> dict[str, Any]:
        """Return what a group has counted. Raises Failed unless each of the deliveries came once, in order."""
        stats = self.load(f"stats {group}")
        wrong = [f"{stats[what]} {what}" for what in ("gaps", "duplicates") if stats[what]]
        if stats["deliveries"] != deliveries:
            wrong.append(f"{stats['deliveries']} of {deliveries} deliveries")
        if wrong:
            raise Failed(", ".join(wrong))
        return stats


@contextmanager
def trial(app: App, server: str, environment: Mapping[str, str] | None = None) -> Generator[Trial]:
    """Run an application on core 0, and a load generator on core 1."""
    with serve(app.module, server, environment=environment) as served, Load(served.port, core=1) as load:
        yield Trial(app, served, load)
