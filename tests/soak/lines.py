"""Readers of all kinds, each through all its connections: what it gets is recorded, what it does is in its plan."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

import httpx2
from websockets.exceptions import InvalidStatus, WebSocketException

from tests.properties.checker import Violation
from tests.soak.plans import LinePlan, Move
from tests.soak.scene import PATIENCE, Document, Record, Scene
from tests.wire.readers import Ended, Reader, Refused, SseReader, WebSocketReader, stream_url

__all__ = ["GOODBYES", "Line", "PageLine", "StreamLine"]

GOODBYES = ("shutting_down", "too_slow", "source_unavailable")
"""Codes that a stream of this soak may end with."""

_NARROW = 4096
_AGAIN = 0.2


class Line(ABC):
    """A reader. It is done when each of its subscriptions has got its fence."""

    quiet: ClassVar[bool] = False

    def __init__(self, scene: Scene, plan: LinePlan) -> None:
        """Begin nowhere."""
        self.scene = scene
        self.plan = plan
        self.url = scene.stage.url(front=plan.front)
        self.chance = random.Random(plan.name)
        self.cursors: list[str | None] = [None for _ in plan.asks]
        self.records: list[Record | None] = [None for _ in plan.asks]
        self._moves = deque(plan.moves)
        self._well_at = time.monotonic()

    def run(self) -> None:
        """Read to the fence, come back whenever the connection ends."""
        self.scene.pause_until(self.plan.opens_at)
        self._well_at = time.monotonic()
        while not self.done and not self.scene.aborted.is_set():
            self.connection()
            if not self.done:
                self.check_time()
                self.scene.pause(_AGAIN)

    @property
    def done(self) -> bool:
        """Whether it has read all to the fence."""
        return all(record is not None and record.whole for record in self.records)

    @property
    def begun(self) -> bool:
        """Whether each subscription has been told a position."""
        return all(self.cursors)

    @property
    def last(self) -> str:
        """What it got last."""
        return "last: " + "; ".join(each.last for each in self.records if each)

    @abstractmethod
    def connection(self) -> None:
        """Connect, and read until the connection ends; harmless where there is none."""

    def begin(self, index: int, asked: Mapping[str, Any] | None = None) -> Record:
        """Begin to record a subscription that asks for its last cursor, or what it began with."""
        ask, cursor = self.plan.asks[index], self.cursors[index]
        given = asked or ({"cursor": cursor} if cursor else self.scene.start_of(ask))
        record = self.records[index] = self.scene.record(self.plan.name, ask, given, quiet=self.quiet)
        return record

    def take(self, index: int, frame: Document) -> None:
        """Record a frame; those that end a stream have to name a reason that there is."""
        record = self.records[index]
        assert record is not None
        self._well_at = time.monotonic()
        record.seen.append((self._well_at, frame))
        self.cursors[index] = frame.get("next_cursor", self.cursors[index])
        if frame.get("type") == "forum.error" and frame["code"] not in GOODBYES:
            raise Violation(f"ended with {frame}")
        fence = record.ask.fence
        if any(event["envelope"]["event_id"] == fence for event in frame.get("events", ())):
            record.whole = True

    def move(self) -> Move | None:
        """Return what the plan has the reader do by now; a stall is over then. What it did not come to in time is left out."""
        if self.scene.now > self.scene.plan.seconds:
            self._moves.clear()
        if not self._moves or self._moves[0].at > self.scene.now:
            return None
        move = self._moves.popleft()
        if move.kind in ("stall", "away"):
            self.scene.pause(move.lasting)
            self._well_at = time.monotonic()
        elif move.kind == "rewind":
            for index in range(len(self.cursors)):
                self.rewind(index)
        return move

    def rewind(self, index: int) -> None:
        """Go back to a cursor that it had on this connection."""
        record = self.records[index]
        cursors = [frame["next_cursor"] for _, frame in record.seen if "next_cursor" in frame] if record else []
        if cursors:
            self.cursors[index] = self.chance.choice(cursors)

    def judge_refusal(self, refused: InvalidStatus) -> None:
        """An upgrade may be refused for a reason that passes; uvicorn itself answers 500 to one that it ends with."""
        status, body = refused.response.status_code, bytes(refused.response.body or b"")
        ending = status == 500 and body == b"Internal Server Error" and self.scene.stage.server_down.locked()
        if status not in (429, 503) and not ending:
            raise Violation(f"refused: {status} {body!r:.1000}") from refused

    def check_time(self) -> None:
        """Say so where nothing has come for longer than any fault lasts, or the fence does not come."""
        if time.monotonic() - self._well_at > PATIENCE + 10:
            raise Violation(f"no frame, and no connection, for {time.monotonic() - self._well_at:.0f} s")
        if self.scene.now > self.scene.deadline:
            missing = [
                ask.fence for ask, each in zip(self.plan.asks, self.records, strict=True) if not each or not each.whole
            ]
            raise Violation(f"never came to {missing}; {self.last}")


class StreamLine(Line):
    """Over SSE or a WebSocket, with one subscription."""

    def connection(self) -> None:
        """Connect, and read."""
        record = self.begin(0)
        try:
            reader = self._open(record)
        except Refused as refused:
            if refused.status not in (429, 503):
                raise Violation(f"refused: {refused}") from refused
            return
        except InvalidStatus as refused:
            self.judge_refusal(refused)
            return
        except (OSError, EOFError, WebSocketException):
            return
        try:
            self._read(reader)
        except TimeoutError as error:
            raise Violation(f"hung: nothing for {PATIENCE} s {self.last}") from error
        except (Ended, OSError, WebSocketException):
            pass  # by the server, or by a fault: it comes back
        finally:
            reader.close()

    def _open(self, record: Record) -> Reader:
        params = {**record.ask.params, **record.asked}
        narrow = _NARROW if self.plan.narrow else None
        if self.plan.kind == "websocket":
            return WebSocketReader(stream_url(self.url, params), receive_buffer=narrow)
        record.limit = 1
        headers: list[tuple[str | bytes, str | bytes]] = []
        if self.cursors[0] is not None:
            headers = [("Last-Event-ID", str(params.pop("cursor")))]
        return SseReader(stream_url(self.url, params), headers=headers, receive_buffer=narrow)

    def _read(self, reader: Reader) -> None:
        while not self.done and not self.scene.aborted.is_set():
            self.take(0, reader.receive(PATIENCE))
            self.check_time()
            if self.plan.pace and self.scene.now < self.scene.plan.seconds:
                self.scene.pause(self.plan.pace)
            if (move := self.move()) is not None and move.kind != "stall":
                if move.kind == "rst":
                    reader.cut()
                return


class PageLine(Line):
    """Page after page; with `wait` it is long polling."""

    quiet = True

    def connection(self) -> None:
        """Ask for pages, until there is a reason to begin again elsewhere."""
        self.begin(0)
        with httpx2.Client(timeout=PATIENCE + 5, trust_env=False) as http:
            while not self.done and not self.scene.aborted.is_set():
                try:
                    found = self._page(http)
                except httpx2.TimeoutException as error:
                    raise Violation("hung: no page") from error
                except httpx2.HTTPError:
                    found = None
                self.check_time()
                if found is None:
                    self.scene.pause(_AGAIN)
                else:
                    self.take(0, found)
                if (move := self.move()) is not None and move.kind != "stall":
                    return

    def _page(self, http: httpx2.Client) -> Document | None:
        record = self.records[0]
        assert record is not None
        start = {"cursor": self.cursors[0]} if record.seen else record.asked
        wait = 0 if self.plan.kind == "page" else self.chance.choice([0.3, 2.0, 5.0])
        answer = http.get(f"{self.url}/events", params={**record.ask.params, **start, "wait": wait})
        document: Document = answer.json()
        if answer.status_code == 410:
            error = document["error"]
            return {"type": "page", "reason": error["reason"], "next_cursor": error["earliest_cursor"]}
        if answer.status_code == 503:
            self._well_at = time.monotonic()  # it is an answer, as often as the source is away
            return None
        if answer.status_code != 200:
            raise Violation(f"a page was answered {answer.status_code}: {document}")
        if self.plan.kind == "page" and not document["events"]:
            self.scene.pause(_AGAIN)
        return document
