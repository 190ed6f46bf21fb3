"""ASGI connections without a network: the client takes each message when the plan says so, and time passes when it is told to."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from typing import Any, TypeVar
from urllib.parse import urlencode

Message = MutableMapping[str, Any]
App = Callable[..., Coroutine[Any, Any, None]]
T = TypeVar("T")

TURNS = 24
"""Turns of the event loop after which whoever could go on has mostly gone on; a run is right whatever their number."""


class PatientLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until a test moves it: what sleeps, sleeps no longer than the test wants."""

    def __init__(self) -> None:
        """Begin at zero."""
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        """Return the time that has passed, in seconds."""
        return self._now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


async def turns(count: int = TURNS) -> None:
    """Let all other tasks go on for some turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def patiently(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, letting time pass for it as it needs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, PatientLoop)
    task = loop.create_task(work)
    for round_ in range(40_000):
        await turns(1)
        if task.done():
            return task.result()
        if round_ % 10 == 9:
            loop.move(0.05)
    task.cancel()
    raise AssertionError("nothing came of it in 200 seconds")


class Gone(OSError):
    """What a server raises where an application sends to a client that has left."""


class Offers:
    """What one side offers and the other takes: each offer waits until it is taken, as with a client that reads nothing."""

    def __init__(self) -> None:
        """Begin with nothing offered."""
        self._offered: deque[tuple[Any, asyncio.Future[None]]] = deque()
        self._closed = False

    async def put(self, thing: Any) -> bool:
        """Offer a thing, and wait until it is taken; False where nobody will. A cancelled offer was never made."""
        if self._closed:
            return False
        offer = (thing, asyncio.get_running_loop().create_future())
        self._offered.append(offer)
        try:
            await offer[1]
        except asyncio.CancelledError:
            if offer in self._offered:
                self._offered.remove(offer)
            raise
        return not self._closed

    def take(self) -> Any | None:
        """Take the oldest offer, or None where there is none."""
        while self._offered:
            thing, taken = self._offered.popleft()
            if not taken.done():
                taken.set_result(None)
                return thing
        return None

    def close(self) -> None:
        """Take nothing any more."""
        self._closed = True
        while self.take() is not None:
            pass


class Connection:
    """One connection to an ASGI application, which behaves towards it as uvicorn does."""

    def __init__(self, app: App, kind: str, path: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Connect. `kind` is `http` or `websocket`; headers are those beside Host."""
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox = Offers()
        self._kind = kind
        query = urlencode({name: value for name, value in params.items() if value is not None}, doseq=True)
        scope: dict[str, Any] = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http" if kind == "http" else "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"forum.test"), *((n.encode(), v.encode()) for n, v in headers.items())],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 80),
            "subprotocols": [],
            "state": {},
            "extensions": {"websocket.http.response": {}},
        }
        if kind == "http":
            self._inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        else:
            self._inbox.put_nowait({"type": "websocket.connect"})
        self._task: asyncio.Task[None] = asyncio.get_running_loop().create_task(app(scope, self._inbox.get, self._send))

    @property
    def lost(self) -> bool:
        """Whether the application has returned: a server then closes the connection, whatever was said before."""
        return self._task.done()

    def take(self) -> Message | None:
        """Take the next message that the application has ready for this client."""
        message: Message | None = self._outbox.take()
        return message

    def say(self, document: Mapping[str, Any]) -> None:
        """Send a text over the WebSocket."""
        self._inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(document)})

    def cut(self) -> None:
        """Be gone: what was not taken never arrives."""
        code = {} if self._kind == "http" else {"code": 1005, "reason": ""}
        self._inbox.put_nowait({"type": f"{self._kind}.disconnect", **code})
        self._outbox.close()

    async def over(self) -> None:
        """Wait until the application has done with this connection, which was cut; it may fail only where it was told so."""
        try:
            await self._task
        except Gone:
            pass

    async def _send(self, message: Message) -> None:
        if not await self._outbox.put(message) and self._kind == "websocket":
            raise Gone
