"""One client of each kind, driven message by message; what it gets becomes `Seen`."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any

from asgi_forum import Forum, ForumReset
from asgi_forum.cursor import Cursor
from asgi_forum.errors import ForumClosed, TooSlow
from asgi_forum.streams.subscription import ForumSubscription
from tests.properties.checker import Logged, Seen
from tests.properties.driver import Connection, Offers, turns
from tests.properties.plans import Kind, Params
from tests.wire.sse import Decoder

__all__ = ["Client", "connect", "seen_of"]


def seen_of(document: Mapping[str, Any]) -> Seen:
    """Read a frame, or a page, as a client does."""
    cursor = document.get("next_cursor")
    return Seen(
        kind=document.get("type", "page"),
        events=tuple(logged_of(event) for event in document.get("events", ())),
        position=None if cursor is None else Cursor.parse(cursor).sequence,
        reset=document.get("reason"),
    )


def logged_of(event: Mapping[str, Any]) -> Logged:
    """Read an event."""
    envelope = event["envelope"]
    return Logged(event["sequence"], envelope["ticket"], envelope["event_type"], event["cursor"])


class Client(ABC):
    """cursor: the last one that was seen, if any. ended: whether the server has ended it."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.cursor: str | None = None
        self.ended = False

    async def step(self, patience: int) -> Seen | None:
        """Let the others go on for some turns, then take what is ready: a frame, or None where there is none."""
        await turns(patience)
        while not self.ended and (document := self.take()) is not None:
            self.cursor = document.get("next_cursor", self.cursor)
            if document.get("type") == "forum.error":
                self.ended = True
            elif document.get("type") not in ("pong", None) or "events" in document or "reason" in document:
                return seen_of(document)
        return None

    @abstractmethod
    def take(self) -> dict[str, Any] | None:
        """Return the next frame that is ready, or None."""

    @abstractmethod
    async def cut(self) -> None:
        """Leave, in the middle of whatever it is, and see that nothing of it stays behind."""


class SseClient(Client):
    """`GET stream`."""

    def __init__(self, forum: Forum, params: Params, last_event_id: str | None) -> None:
        """Connect; a browser comes back with its old address and the last id."""
        super().__init__()
        headers = {} if last_event_id is None else {"last-event-id": last_event_id}
        self._connection = Connection(forum, "http", "/stream", params, headers)
        self._decoder = Decoder()
        self._ready: deque[dict[str, Any]] = deque()

    def take(self) -> dict[str, Any] | None:
        """Take a chunk if there is no frame left from the last one."""
        while not self._ready:
            message = self._connection.take()
            if message is None:
                self.ended = self._connection.lost
                return None
            if message["type"] == "http.response.start":
                assert message["status"] == 200, message
                continue
            self.ended = not message.get("more_body", False)
            for block in self._decoder.feed(message["body"]):
                if block.data:
                    self._ready.append(_frame(block.event, block.id, json.loads(block.text)))
            if self.ended:
                return None
        return self._ready.popleft()

    async def cut(self) -> None:
        """Cut the connection."""
        self._connection.cut()
        await self._connection.over()


def _frame(event: str | None, cursor: str | None, document: dict[str, Any]) -> dict[str, Any]:
    if event is not None:
        assert document.get("next_cursor") == cursor
        return document
    return {"type": "forum.events", "events": [document], "next_cursor": cursor}


class WebSocketClient(Client):
    """`stream` or `socket` over WebSocket."""

    def __init__(self, forum: Forum, path: str, params: Params) -> None:
        """Connect; on `socket`, subscribe as soon as it is accepted."""
        super().__init__()
        self._command = {"type": "subscribe", "id": "s", **params} if path == "/socket" else None
        self._connection = Connection(forum, "websocket", path, {} if self._command else params, {})

    def take(self) -> dict[str, Any] | None:
        """Take a message."""
        while (message := self._connection.take()) is not None:
            if message["type"] == "websocket.accept":
                if self._command:
                    self._connection.say(self._command)
            elif message["type"] == "websocket.close":
                self.ended = True
                return None
            else:
                frame: dict[str, Any] = json.loads(message["text"])
                self.ended = frame["type"] == "unsubscribed"
                return None if self.ended else frame
        self.ended = self._connection.lost
        return None

    async def cut(self) -> None:
        """Cut the connection."""
        self._connection.cut()
        await self._connection.over()


class PageClient(Client):
    """`GET events`, one page after the other; with `wait` it is long polling."""

    def __init__(self, forum: Forum, params: Params, wait: float) -> None:
        """Ask for the first page."""
        super().__init__()
        self._forum = forum
        self._params = {**params, "wait": wait}
        self._connection: Connection | None = self._ask()
        self._status = 0

    def take(self) -> dict[str, Any] | None:
        """Take the answer, or ask again where the last one was taken."""
        if self._connection is None:
            self._connection = self._ask()
        while (message := self._connection.take()) is not None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                continue
            self._connection = None
            return self._answer(json.loads(message["body"]))
        if self._connection.lost:
            self._connection = self._ask()  # it did not take the answer in time, and so that has no end
        return None

    async def cut(self) -> None:
        """Leave without waiting for the answer."""
        if self._connection is not None:
            self._connection.cut()
            await self._connection.over()

    def _ask(self) -> Connection:
        return Connection(self._forum, "http", "/events", self._params, {})

    def _answer(self, document: dict[str, Any]) -> dict[str, Any] | None:
        if self._status == 503:
            self._connection = self._ask()
            return None
        if self._status == 410:
            error = document["error"]
            document = {"type": "page", "reason": error["reason"], "next_cursor": error["earliest_cursor"]}
        else:
            assert self._status == 200, document
        rest = {name: value for name, value in self._params.items() if name not in ("cursor", "tail")}
        self._params = {**rest, "cursor": document["next_cursor"]}
        return document


class PythonClient(Client):
    """`Forum.subscribe`: every frame, or (`events`) event by event, with resets raised."""

    def __init__(self, forum: Forum, params: Params, kind: Kind) -> None:
        """Begin a task that iterates, and waits each time until the plan takes what it got."""
        super().__init__()
        self._offers = Offers()
        self._task = asyncio.get_running_loop().create_task(self._iterate(forum, params, kind))

    def take(self) -> dict[str, Any] | None:
        """Take what was iterated last."""
        if self._task.done():
            self._task.result()
            self.ended = True
        taken: dict[str, Any] | None = self._offers.take()
        return taken

    async def cut(self) -> None:
        """Cancel the task."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _iterate(self, forum: Forum, params: Params, kind: Kind) -> None:
        events = forum.subscribe(**params)
        try:
            async with events:
                await (self._frames(events) if kind == "frames" else self._events(events))
        except (ForumClosed, TooSlow):
            self.cursor = events.cursor or self.cursor

    async def _frames(self, events: ForumSubscription) -> None:
        async for frame in events.frames():
            await self._offers.put(json.loads(frame.text))

    async def _events(self, events: ForumSubscription) -> None:
        while True:
            try:
                event = await anext(events)
            except ForumReset as reset:
                found = {"type": "forum.reset", "reason": reset.reason, "next_cursor": reset.next_cursor}
                await self._offers.put(found)
            else:
                await self._offers.put({"events": [json.loads(event.json)], "next_cursor": event.cursor})


def connect(forum: Forum, kind: Kind, params: Params, back: str | None) -> Client:
    """Open a client; with `back` it comes back from that cursor, as its kind does."""
    if kind == "sse":
        return SseClient(forum, params, back)
    if back is not None:
        params = {**{name: value for name, value in params.items() if name != "tail"}, "cursor": back}
    given = {name: value for name, value in params.items() if value}
    if kind in ("page", "poll"):
        return PageClient(forum, params, 30.0 if kind == "poll" else 0.0)
    if kind in ("frames", "events"):
        return PythonClient(forum, given, kind)
    return WebSocketClient(forum, "/socket" if kind == "socket" else "/stream", given)
