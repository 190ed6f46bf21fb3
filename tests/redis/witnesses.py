"""Readers over all transports on forums in Redis, whatever happens to it; and the judge of what they got."""

from __future__ import annotations

import asyncio
import json
import queue
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import httpx2

from asgi_forum.errors import ForumClosed
from asgi_forum.models import Receipt
from asgi_forum.streams.subscription import ForumSubscription
from tests.redis.judge import judge
from tests.wire.host import Board, Draft
from tests.wire.readers import Ended, Event, Frame, Reader, open_reader

__all__ = ["Crowd", "Witness", "Worker", "open_any"]

DEADLINE = 20.0
"""Seconds for what must happen after a fault; never waited in full unless the test fails."""


class PythonReader(Reader):
    """`forum.subscribe(...)`, in the loop of the forum."""

    def __init__(self, board: Board, **params: Any) -> None:
        """Subscribe."""
        super().__init__()
        self._board = board
        self._queue: queue.Queue[Frame | None] = queue.Queue()
        self._subscription = board.forum.subscribe(**params)
        self._task: asyncio.Task[None] = board.host.run(self._start(self._subscription))

    async def _start(self, subscription: ForumSubscription) -> asyncio.Task[None]:
        return asyncio.create_task(self._read(subscription))

    async def _read(self, subscription: ForumSubscription) -> None:
        try:
            async with subscription:
                async for frame in subscription.frames():
                    self._queue.put(json.loads(frame.text))
        except ForumClosed:
            pass
        finally:
            self._queue.put(None)

    def receive(self, timeout: float) -> Frame:
        """Return the next frame."""
        try:
            frame = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if frame is None:
            raise Ended
        return frame

    def close(self) -> None:
        """Leave."""

        async def leave() -> None:
            self._task.cancel()
            await asyncio.wait([self._task])

        self._board.host.run(leave())


class PageReader(Reader):
    """`GET events`, again and again: what is 410 comes as the reset that it says, and a 503 as a degraded heartbeat."""

    def __init__(self, board: Worker, *, cursor: str, **params: Any) -> None:
        """Begin at a cursor."""
        super().__init__()
        self._board = board
        self._params = params
        self._cursor = cursor

    def receive(self, timeout: float) -> Frame:
        """Ask for one page."""
        answer = self._board.get(cursor=self._cursor, wait=0.1, **self._params)
        document = answer.json()
        if answer.status_code == 503:
            return {"type": "heartbeat", "degraded": True}
        if answer.status_code == 410:
            self._cursor = document["error"]["earliest_cursor"]
            return {"type": "forum.reset", "reason": document["error"]["reason"], "next_cursor": self._cursor}
        assert answer.status_code == 200, answer.text
        self._cursor = document["next_cursor"]
        kind = "forum.events" if document["events"] else "heartbeat"
        return {"type": kind, "events": document["events"], "next_cursor": self._cursor}

    def close(self) -> None:
        """Nothing is held."""


class Worker(Protocol):
    """A forum that is served somewhere: a Board, or one in another process."""

    @property
    def url(self) -> str:
        """Its address."""
        ...

    def keep(self, reader: Reader) -> Reader:
        """Leave this reader when the test ends."""
        ...

    def get(self, path: str = "/events", headers: Mapping[str, str] | None = None, **params: Any) -> httpx2.Response:
        """Send a GET."""
        ...


def open_any(board: Worker, transport: str, **params: Any) -> Reader:
    """Open a stream over a transport of the wire, over pages (`page`), or in Python (`python`); it is left when the test ends."""
    if transport == "python":
        assert isinstance(board, Board), "only within the process"
        return board.keep(PythonReader(board, **params))
    if transport == "page":
        return board.keep(PageReader(board, **params))
    return board.keep(open_reader(transport, board.url, params))  # type: ignore[arg-type]  # one of the three


class Witness:
    """One client, through all its connections: it goes on from its last cursor wherever it comes back."""

    def __init__(self, name: str, transport: str, **params: Any) -> None:
        """Begin at the log's beginning, nowhere yet."""
        self.name = name
        self.frames: list[Frame] = []
        self._transport = transport
        self._params = params
        self._reader: Reader | None = None

    @property
    def cursor(self) -> str:
        """Its last position."""
        return next((frame["next_cursor"] for frame in reversed(self.frames) if "next_cursor" in frame), "earliest")

    def keeps(self, event: Event) -> bool:
        """Whether it asked for this event."""
        return self._params.get("ticket") in (None, event["envelope"]["ticket"])

    def come(self, board: Worker) -> None:
        """Connect."""
        self.leave()
        self._reader = open_any(board, self._transport, cursor=self.cursor, **self._params)

    def leave(self) -> None:
        """Be gone."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def next(self, timeout: float = DEADLINE) -> Frame:
        """Return the next frame, and keep it."""
        assert self._reader is not None
        frame = self._reader.receive(timeout)
        self.frames.append(frame)
        return frame

    def until(self, condition: Callable[[Frame], object], timeout: float = DEADLINE) -> Frame:
        """Read up to a frame that meets a condition, and return it."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"{self.name}: {self.frames[-5:]}"
            try:
                frame = self.next(left)
            except TimeoutError:
                raise AssertionError(f"{self.name}: nothing in {timeout} s after {self.frames[-5:]}") from None
            if condition(frame):
                return frame

    def until_event(self, event_id: str) -> None:
        """Read up to an event."""
        self.until(lambda frame: event_id in [event["envelope"]["event_id"] for event in frame.get("events", ())])

    def resets(self) -> list[str]:
        """The reasons of the resets that it got."""
        return [frame["reason"] for frame in self.frames if frame["type"] == "forum.reset"]


class Crowd:
    """
    Readers over all transports on two workers of one log: some stay, some are away while something happens, one filters.

    What the tests publish goes through here: what was acknowledged is kept.
    """

    def __init__(self, *workers: Board) -> None:
        """Let all connect, from the log's beginning."""
        self.workers = workers
        self.acknowledged: list[str] = []
        self.staying = [
            Witness("SSE", "sse"),
            Witness("WebSocket", "websocket"),
            Witness("a socket", "socket"),
            Witness("Python", "python"),
            Witness("Python, filtered", "python", ticket="T-2"),
        ]
        self.leaving = [Witness("SSE, away", "sse"), Witness("WebSocket, away", "websocket"), Witness("pages", "page")]
        for index, witness in enumerate(self.staying + self.leaving):
            witness.come(workers[index % len(workers)])

    def publish(self, count: int, *, worker: int = 0) -> list[Receipt]:
        """Publish so many events with ticket T-1, and one with T-2, in one request."""
        drafts: list[Draft] = [*[{"ticket": "T-1"}] * count, {"ticket": "T-2"}]
        receipts = self.workers[worker % len(self.workers)].publish(*drafts)
        self.acknowledged += [receipt.event_id for receipt in receipts]
        return receipts

    def see(self, count: int) -> None:
        """Publish some events, which all read; then those who leave are gone."""
        fence = self.publish(count)[-1].event_id
        for witness in self.staying + self.leaving:
            witness.until_event(fence)
        for witness in self.leaving:
            witness.leave()

    def until_degraded(self) -> None:
        """Wait until all are told that the source can't be reached; and health says so, though not that streams must end."""
        for witness in self.staying:
            witness.until(lambda frame: frame.get("degraded"))
        for worker in self.workers:
            assert worker.get("/health").json()["status"] == "degraded"
            assert worker.get("/health").status_code == 200
            assert worker.get("/health", ready="").status_code == 503

    def until_well(self) -> None:
        """Wait until all are told, in time, that it can be reached again; health and pages say so too."""
        for witness in self.staying:
            witness.until(lambda frame: frame["type"] != "heartbeat" or not frame.get("degraded"))
        for worker in self.workers:
            worker.wait_for_health(lambda health: health["status"] == "ok")

    def finish(self, *, resets: Collection[str] = (), lost: bool = False, passed_over: Collection[int] = ()) -> None:
        """
        Let all come back and read to the end, then judge them. `resets`: the reasons that are good, each of which somebody got.

        `lost`: whether acknowledged events may be gone. `passed_over`: sequences without an event.
        """
        for index, witness in enumerate(self.leaving):
            witness.come(self.workers[(index + 1) % len(self.workers)])  # hardly ever where it was before
        fence = self.publish(1)
        for witness in self.staying + self.leaving:
            witness.until_event(fence[-1].event_id)
        log = self.log()
        if not lost:
            assert set(self.acknowledged) <= {event["envelope"]["event_id"] for event in log}
        for witness in self.staying + self.leaving:
            judge(
                witness.name,
                witness.frames,
                log,
                keeps=witness.keeps,
                filtered="filtered" in witness.name,
                resets=resets,
                passed_over=passed_over,
            )
        if resets:
            assert {reason for witness in self.staying for reason in witness.resets()} == set(resets)

    def log(self) -> Sequence[Event]:
        """The log as it is now: all that is retained."""
        events: list[Event] = []
        cursor = "earliest"
        while True:
            page = self.workers[0].page(cursor=cursor, limit=1000)
            events += page["events"]
            cursor = page["next_cursor"]
            if not page["has_more"]:
                return events
