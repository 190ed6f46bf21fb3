"""What a round is played on: a Redis, the networks, and the server with its processes, all of which can fail."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import redis

from tests.cli.command import COMMAND, Process, spawned
from tests.cli.processes import runs, workers
from tests.redis.proxy import Proxy, proxied
from tests.redis.servers import RedisServer, free_port, running, wait_until
from tests.soak.plans import Plan
from tests.soak.site import LIMITS

__all__ = ["Era", "Server", "Stage", "staged"]

AOF = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
LOG, META = "asgi_forum:{default}:log", "asgi_forum:{default}:meta"
ROOT = Path(__file__).parents[2]

STARTUP = 30.0


@dataclass(slots=True)
class Era:
    """
    One log, from when it took the place of the one before until another took its place.

    began, ended: the earliest and the latest time at which it may have been there. entries: those that it had in the end, where
    that could be seen.
    """

    epoch: str | None
    began: float = 0.0
    ended: float = float("inf")
    entries: Sequence[tuple[int, dict[str, Any] | None]] | None = None


class Server:
    """The server, through all its starts, on one port."""

    def __init__(self, command: Sequence[str], env: dict[str, str], port: int) -> None:
        """Say how it is started."""
        self.port = port
        self.log: list[str] = []
        self.stops: list[float] = []
        self.statuses: list[int] = []
        self.resident: dict[int, int] = {}
        self._command, self._env = command, env
        self._stack = ExitStack()
        self._process: Process | None = None
        self._stopped: set[int] = set()
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        """The forum's address."""
        return f"http://127.0.0.1:{self.port}/forum"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._lock:
            self._process = process = self._stack.enter_context(spawned(self._command, env=self._env))

        def answers() -> bool:
            assert process.popen.poll() is None, f"the server did not start: {process.stderr.rest()}"
            with suppress(httpx2.HTTPError):
                return httpx2.get(f"{self.url}/health", timeout=2).status_code == 200
            return False

        wait_until(answers, STARTUP)

    def stop(self) -> None:
        """Ask it to end, and note how long that takes."""
        self.resume()
        began = time.monotonic()
        self._end(signal.SIGTERM)
        self.stops.append(time.monotonic() - began)

    def kill(self) -> None:
        """End it as a crash does, and all its processes."""
        processes = self.processes()
        self._end(signal.SIGKILL)
        wait_until(lambda: not any(map(runs, processes)))

    def _end(self, number: signal.Signals) -> None:
        with self._lock:
            process = self._process
            assert process is not None
            status = process.stop(number)
            if number is signal.SIGTERM:
                self.statuses.append(status)
            self.log += process.stderr.rest()
            self._process = None
            self._stack.close()

    def processes(self) -> list[int]:
        """The processes that answer: the workers, where there are some."""
        with self._lock:
            if self._process is None:
                return []
            parent = self._process.popen.pid
            return (workers(parent) or [parent]) if runs(parent) else []

    def pause(self, target: int) -> None:
        """Stop a process where it is."""
        with self._lock:
            if processes := self.processes():
                chosen = processes[target % len(processes)]
                os.kill(chosen, signal.SIGSTOP)
                self._stopped.add(chosen)

    def resume(self) -> None:
        """Let all processes run again."""
        with self._lock:
            for each in self._stopped:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGCONT)
            self._stopped.clear()

    def kill_worker(self, target: int) -> None:
        """Kill one of several."""
        with self._lock:
            if processes := self.processes():
                os.kill(processes[target % len(processes)], signal.SIGKILL)

    def measure(self) -> None:
        """Note the most memory that each process has had, in KiB."""
        for each in self.processes():
            with suppress(OSError, StopIteration):
                lines = Path(f"/proc/{each}/status").read_text().splitlines()
                size = int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
                self.resident[each] = max(size, self.resident.get(each, 0))

    def open_files(self) -> int:
        """How many files, sockets among them, all processes have open."""
        return sum(len(os.listdir(f"/proc/{each}/fd")) for each in self.processes())

    def close(self) -> None:
        """End it, if it still runs."""
        self.resume()
        if self._process is not None:
            self.kill()


class Stage:
    """All that can fail, and what became of the log."""

    def __init__(self, plan: Plan, server: Server, front: Proxy, database: RedisServer | None, network: Proxy | None):
        """Begin with one log."""
        self.plan = plan
        self.server = server
        self.front = front
        self.database = database
        self.network = network
        self.eras = [Era(None)]
        self.server_down = threading.Lock()

    def url(self, *, front: bool) -> str:
        """The forum's address, as such or behind the network that fails."""
        return f"http://127.0.0.1:{self.front.port if front else self.server.port}/forum"

    def note_epoch(self) -> None:
        """Learn the name of the present log, which may not be known before it is asked for."""
        answer = httpx2.get(f"{self.server.url}/events", params={"cursor": "latest"}, timeout=10)
        self.eras[-1].epoch = answer.json()["next_cursor"].split(".")[0]

    def wipe(self) -> None:
        """Lose the log, and all that is known of it; what it was is kept here."""
        assert self.database is not None
        began = time.monotonic()
        with _asking(self.database) as client:
            pipe = client.pipeline(transaction=True)
            entries, epoch, _ = pipe.xrange(LOG).hget(META, "epoch").flushall().execute()
        self.eras[-1].entries = _documents(entries)
        self.eras[-1].epoch = epoch.decode() if epoch else None
        self._next_era(began)

    def append(self, *bodies: str) -> None:
        """Append entries as any other program may, whatever they say."""
        assert self.database is not None
        with _asking(self.database) as client:
            for body in bodies:
                client.xadd(LOG, {"event": body}, id="0-*")

    def read_log(self) -> None:
        """Read what the log is in the end."""
        era = self.eras[-1]
        if self.database is not None:
            with _asking(self.database) as client:
                era.epoch = client.hget(META, "epoch").decode()
                era.entries = _documents(client.xrange(LOG))
            return
        events: list[dict[str, Any]] = []
        page: dict[str, Any] = {"next_cursor": "earliest", "has_more": True}
        while page["has_more"]:
            asked = {"cursor": page["next_cursor"], "limit": 1000}
            page = httpx2.get(f"{self.server.url}/events", params=asked, timeout=10).json()
            events += page["events"]
        era.epoch = page["next_cursor"].split(".")[0]
        era.entries = [(each["sequence"], each) for each in events]

    def restart(self, lasting: float, *, kill: bool) -> None:
        """End the server in one way or another, and start it again after a while; a log in memory is then another one."""
        began = time.monotonic()
        with self.server_down:
            self.server.kill() if kill else self.server.stop()
            threading.Event().wait(lasting)
            self.server.start()
        if self.database is None:
            self._next_era(began)
            self.note_epoch()

    def _next_era(self, began: float) -> None:
        self.eras[-1].ended = time.monotonic()
        self.eras.append(Era(None, began))


@contextmanager
def _asking(database: RedisServer) -> Generator[Any]:
    """A client; redis-py's answers have no types that would help."""
    with redis.Redis(port=database.port, socket_timeout=10) as client:
        yield client


def _documents(entries: Any) -> list[tuple[int, dict[str, Any] | None]]:
    found: list[tuple[int, dict[str, Any] | None]] = []
    for each, fields in entries:
        try:
            document = json.loads(fields[b"event"])
        except ValueError:
            document = None
        found.append((int(each.split(b"-")[1]), document))
    return found


@contextmanager
def staged(plan: Plan) -> Generator[Stage]:
    """Set everything up; it is gone when the block ends."""
    with ExitStack() as stack:
        database = network = None
        source = "memory://"
        if plan.scenario != "memory":
            database = stack.enter_context(running(*AOF))
            network = stack.enter_context(proxied(database.port))
            source = f"{network.url}?timeout=1"
        port = free_port()
        server = Server(_command(plan, port), _environment(plan, source), port)
        stack.callback(server.close)
        server.start()
        front = stack.enter_context(proxied(port))
        stage = Stage(plan, server, front, database, network)
        stage.note_epoch()
        yield stage


def _command(plan: Plan, port: int) -> Sequence[str]:
    listen = ("--host", "127.0.0.1", "--port", str(port))
    if plan.scenario == "mount":
        options = ("--timeout-graceful-shutdown", "3", "--ws-per-message-deflate", "false", "--log-level", "warning")
        return (sys.executable, "-m", "uvicorn", "tests.soak.site:app", *listen, *options)
    count = ("--workers", "2") if plan.scenario == "workers" else ()
    return (*COMMAND, "serve", *listen, *count)


def _environment(plan: Plan, source: str) -> dict[str, str]:
    settings = plan.settings
    return {
        "ASGI_FORUM_SOURCE": source,
        "ASGI_FORUM_HEARTBEAT": str(settings.heartbeat),
        "ASGI_FORUM_RETAIN": str(settings.retain),
        "ASGI_FORUM_ON_LAG": settings.on_lag,
        "ASGI_FORUM_ALLOW_PUBLISH": "true",
        LIMITS: json.dumps(settings.limits),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
