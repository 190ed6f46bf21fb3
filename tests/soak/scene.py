"""What all who take part in a round share: the clock, what is known, what was recorded, and what went wrong."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.properties.checker import Violation
from tests.soak.plans import Ask
from tests.soak.stage import Stage

__all__ = ["PATIENCE", "Attempt", "Document", "Record", "Request", "Scene", "shown"]

Document = dict[str, Any]

PATIENCE = 15.0
"""Seconds without a frame, or without a connection, that no fault of a plan explains."""


@dataclass(slots=True)
class Record:
    """
    What one subscription got on one connection, and when.

    asked: where it asked to begin. whole: whether it was read to the fence.
    """

    line: str
    ask: Ask
    limit: int
    asked: Mapping[str, Any]
    sent_at: float
    quiet: bool = False
    seen: list[tuple[float, Document]] = field(default_factory=list[tuple[float, Document]])
    whole: bool = False

    @property
    def last(self) -> str:
        """The last frames, in a few words."""
        return ", ".join(shown(frame) for _, frame in self.seen[-2:]) or "nothing"


@dataclass(slots=True)
class Attempt:
    """One try to publish: from when to when, and what was answered. status: 0 where no answer came."""

    began: float
    ended: float
    status: int
    answer: Document


@dataclass(slots=True)
class Request:
    """Events that were published in one request, with all tries; the last one tells. conflicts: whether it has to be refused."""

    events: Sequence[Document]
    conflicts: bool = False
    attempts: list[Attempt] = field(default_factory=list[Attempt])


class Scene:
    """A round that is being played."""

    def __init__(self, stage: Stage) -> None:
        """Begin now."""
        self.stage = stage
        self.plan = stage.plan
        self.records: list[Record] = []
        self.requests: list[Request] = []
        self.acknowledged: list[tuple[int, str]] = []
        self.problems: list[str] = []
        self.story: list[str] = []
        self.over = threading.Event()
        """Whether publishers have to come to an end."""
        self.aborted = threading.Event()
        """Whether everybody has to: something is wrong."""
        self.deadline = float("inf")
        self._began = time.monotonic()

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def pause(self, seconds: float) -> None:
        """Do nothing for a while, unless the round is aborted."""
        self.aborted.wait(max(seconds, 0.0))

    def pause_until(self, at: float) -> None:
        """Do nothing until a time of the plan."""
        self.pause(at - self.now)

    def record(self, line: str, ask: Ask, asked: Mapping[str, Any], **options: Any) -> Record:
        """Begin to record what a subscription gets."""
        record = Record(line, ask, options.pop("limit", ask.limit), asked, time.monotonic(), **options)
        self.records.append(record)
        return record

    def start_of(self, ask: Ask) -> Mapping[str, Any]:
        """Return the start that a subscription asks for; a part of the log is a number, or the cursor of an event."""
        kind, amount = ask.start
        if kind == "tail":
            return {"tail": amount}
        known = self.acknowledged
        if kind in ("number", "cursor") and known:
            sequence, cursor = known[(len(known) - 1) * amount // 100]
            return {"cursor": cursor if kind == "cursor" else str(sequence)}
        return {"cursor": "latest" if kind == "latest" else "earliest"}

    def run(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Let somebody take part, in a thread; an error of theirs ends the round."""

        def guarded() -> None:
            try:
                work()
            except Violation as violation:
                self.fail(f"{name}: {violation}")
            except Exception:
                self.fail(f"{name}: {traceback.format_exc()}")

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def fail(self, problem: str) -> None:
        """Note what is wrong, and let everybody come to an end."""
        self.problems.append(f"at {self.now:.1f} s: {problem}")
        self.aborted.set()


def shown(frame: Document) -> str:
    """Return a frame in a few words."""
    numbers = [event["sequence"] for event in frame.get("events", ())]
    rest = {name: value for name, value in frame.items() if name != "events"}
    return f"{rest} with {numbers[:3]}{'...' if len(numbers) > 3 else ''}" if numbers else f"{rest}"
