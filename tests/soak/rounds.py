"""One round: everything is set up, everybody plays, all is healed, the fences are read; then it is judged."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from tests.properties.checker import Violation
from tests.redis.servers import wait_until
from tests.soak.book import Book
from tests.soak.clients import ClientLine
from tests.soak.faults import Faults
from tests.soak.lines import Line, PageLine, StreamLine
from tests.soak.plans import LinePlan, Plan
from tests.soak.publishers import Publisher, publish_all
from tests.soak.scene import Scene
from tests.soak.sockets import SocketLine
from tests.soak.stage import Stage, staged
from tests.wire.readers import Reader, Transport, open_reader

__all__ = ["Outcome", "play"]

HEALING = 60.0
"""Seconds after the last fault within which every reader has to be at the fence."""

RESIDENT = 400 * 1024
"""KiB that no process of the server may come to need: for a tail of 16 MiB, frames on their way, and, in memory, the log."""

EXPLAINED = (
    "ASGI callable returned without completing handshake.",
    "asgi_forum.worker_failed: a worker did not start: it ended by signal 9",
    "timeout graceful shutdown exceeded",
)
"""
What uvicorn says of each upgrade whose client leaves before it is accepted (`serve` leaves it out), of a kill in the start, and of clients
that read nothing when it stops: their streams have ended, but what was sent to them keeps their connections open.
"""

T = TypeVar("T")

TRANSPORTS: tuple[Transport, ...] = ("sse", "websocket", "socket")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round came to. problems: none, if all is well. story: the faults, as they came about."""

    problems: Sequence[str]
    story: Sequence[str]
    figures: dict[str, Any]


def play(plan: Plan) -> Outcome:
    """Play a round."""
    with staged(plan) as stage:
        scene = Scene(stage)
        before = _Held.by(stage)
        _perform(scene)
        with _noted(scene):
            stage.read_log()
            if not scene.aborted.is_set():
                _check_leavings(stage, before)
            if not scene.aborted.is_set():
                _check_ending(stage)
        if stage.server.processes():
            stage.server.stop()
    problems = scene.problems + _complaints(stage)
    try:
        Book(plan.settings, stage.eras, scene.requests, scene.records).judge()
    except Violation as violation:
        problems.append(str(violation))
    return Outcome(problems, scene.story, _figures(scene))


def _perform(scene: Scene) -> None:
    plan = scene.plan
    lines = [_line(scene, each) for each in plan.lines]
    readers = [scene.run(each.plan.name, each.run) for each in lines]
    publishers = [scene.run(each.name, Publisher(scene, each).run) for each in plan.publishers]
    for lane in Faults(scene).start():
        while lane.is_alive():
            lane.join(0.5)
            scene.stage.server.measure()
    scene.pause_until(plan.seconds)
    scene.over.set()
    scene.deadline = scene.now + HEALING
    for each in publishers:
        each.join(HEALING + 20)
    if not scene.aborted.is_set():
        with _noted(scene):
            _until_well(scene.stage)
            # A start that is not fixed yet would be fixed behind the fence.
            wait_until(lambda: scene.aborted.is_set() or all(each.begun for each in lines), HEALING)
            publish_all(scene, [dict(each) for each in plan.fences])
    for each in readers:
        each.join(HEALING + 30)
        if each.is_alive():
            scene.fail(f"{each.name}: the thread never came back")
    scene.stage.server.measure()


def _line(scene: Scene, plan: LinePlan) -> Line:
    if plan.kind == "socket":
        return SocketLine(scene, plan)
    if plan.kind in ("page", "poll"):
        return PageLine(scene, plan)
    return ClientLine(scene, plan) if plan.kind.startswith("client") else StreamLine(scene, plan)


def _until_well(stage: Stage) -> None:
    def well() -> bool:
        with suppress(httpx2.HTTPError):
            return httpx2.get(f"{stage.server.url}/health", params={"ready": ""}, timeout=5).status_code == 200
        return False

    wait_until(well, HEALING)


@dataclass(frozen=True, slots=True)
class _Held:
    """What the server's processes hold: open files, sockets among them, and the names of tasks, where it tells."""

    files: int
    tasks: Sequence[str]

    @classmethod
    def by(cls, stage: Stage) -> _Held:
        """Look."""
        tasks: Sequence[str] = ()
        if stage.plan.scenario == "mount":
            tasks = httpx2.get(stage.server.url.replace("/forum", "/tasks"), timeout=5).json()
        return cls(stage.server.open_files(), tasks)


def _check_leavings(stage: Stage, before: _Held) -> None:
    """Nothing is left of those who have gone: no stream, no socket, no task."""

    def left() -> Mapping[str, int]:
        streams: Mapping[str, int] = httpx2.get(f"{stage.server.url}/health", timeout=5).json()["streams"]
        return streams

    for _ in range(4 * len(stage.server.processes())):  # whichever worker answers
        _until("streams are left", left, lambda streams: not any(streams.values()))
    most = before.files + 12 * len(stage.server.processes())  # connections to Redis that were not needed before
    _until("files are left open", lambda: _Held.by(stage).files, lambda files: files <= most)
    _until("tasks are left", lambda: _Held.by(stage).tasks, lambda tasks: len(tasks) <= len(before.tasks))


def _until(what: str, look: Callable[[], T], right: Callable[[T], bool]) -> None:
    """Look again and again, until it is right."""
    found: list[T] = []

    def enough() -> bool:
        found.append(look())
        return right(found[-1])

    try:
        wait_until(enough, 15)
    except AssertionError:
        raise Violation(f"{what}, though everybody has left: {found[-1]!r:.3000}") from None


def _check_ending(stage: Stage) -> None:
    """SIGTERM with open streams: each is told, and the server ends soon and well."""
    readers: list[Reader] = [open_reader(TRANSPORTS[index % 3], stage.server.url, {}) for index in range(9)]
    try:
        for each in readers:
            each.until("forum.live")
        stage.server.stop()
        for index, each in enumerate(readers):
            code = None
            with suppress(OSError):
                code = each.to_the_end().code
            # To a WebSocket a stopping uvicorn may say so itself before the forum can.
            if not each.of("forum.error") and code != 1012:
                raise Violation(f"{TRANSPORTS[index % 3]} ended with {code}, without a word: {each.frames[-3:]}")
    finally:
        for each in readers:
            each.close()


def _complaints(stage: Stage) -> list[str]:
    """What the servers' logs, their memory and their ends tell."""
    server, found = stage.server, list[str]()
    signs = ("Traceback", " ERROR ", "ERROR:", "Exception", "Internal Server Error", '" 500')
    wrong = [
        at
        for at, line in enumerate(server.log)
        if any(sign in line for sign in signs) and not any(sign in line for sign in EXPLAINED)
    ]
    if wrong:
        around = server.log[max(wrong[0] - 3, 0) : wrong[0] + 40]
        found.append(f"the server's log has {len(wrong)} lines of errors, the first ones:\n  " + "\n  ".join(around))
    found += [f"the server took {each:.1f} s to end" for each in server.stops if each > 5]
    # uvicorn, where nobody has another wish, ends by the signal that stopped it.
    right = (0, -signal.SIGTERM) if stage.plan.scenario == "mount" else (0,)
    found += [f"the server ended with status {each}" for each in server.statuses if each not in right]
    found += [f"a process took {each // 1024} MiB" for each in server.resident.values() if each > RESIDENT]
    return found


def _figures(scene: Scene) -> dict[str, Any]:
    server = scene.stage.server
    frames = [frame for record in scene.records for _, frame in record.seen]
    resets = [frame["reason"] for frame in frames if "reason" in frame]
    return {
        "requests": len(scene.requests),
        "tries": sum(len(each.attempts) for each in scene.requests),
        "sessions": len(scene.records),
        "events": sum(len(frame.get("events", ())) for frame in frames),
        "resets": {each: resets.count(each) for each in sorted(set(resets))},
        "stops": [round(each, 1) for each in server.stops],
        "mib": max(server.resident.values(), default=0) // 1024,
        "seconds": round(scene.now),
    }


@contextmanager
def _noted(scene: Scene) -> Generator[None]:
    """A block whose violation, or any other error, is a problem of the round."""
    try:
        yield
    except Exception as error:
        scene.fail(f"in the end: {error!r:.2000}")
