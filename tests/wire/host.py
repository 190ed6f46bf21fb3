"""One running server for many tests: each mounts a forum of its own into it, while it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

import httpx2
from starlette.applications import Starlette

from asgi_forum import Forum, ForumEvent
from asgi_forum.models import Receipt
from tests.servers import serve
from tests.wire.exchange import DEADLINE
from tests.wire.readers import Headers, Reader, Transport, open_reader

Draft = Mapping[str, Any]
R = TypeVar("R", bound=Reader)
TYPE = "forum.post.added"


class Host:
    """A Starlette application on a real uvicorn. A mounted forum gets no lifespan here: it starts by itself."""

    def __init__(self) -> None:
        """Make the application; `running` serves it."""
        self.app = Starlette(lifespan=self._lifespan)
        self.http = httpx2.Client(timeout=DEADLINE, trust_env=False)
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mounted = 0

    @contextmanager
    def running(self, **options: Any) -> Generator[Host]:
        """Serve until the block ends."""
        with serve(self.app, **options) as served, self.http:
            self.url = served.url
            yield self

    def mount(self, app: Any) -> str:
        """Mount an application at an address of its own, and return that address."""
        self._mounted += 1
        self.app.mount(f"/{self._mounted}/forum", app)
        return f"{self.url}/{self._mounted}/forum"

    def run(self, work: Coroutine[Any, Any, Any], timeout: float = DEADLINE) -> Any:
        """Run a coroutine in the server's event loop, and return its result."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the server's event loop, and return its result."""

        async def work() -> Any:
            return function()

        return self.run(work())

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        self._loop = asyncio.get_running_loop()
        yield


class Board:
    """One mounted forum, its address, and the readers that a test opened on it."""

    def __init__(self, host: Host, forum: Forum, stack: ExitStack) -> None:
        """Mount the forum."""
        self.host = host
        self.forum = forum
        self.url = host.mount(forum)
        self._stack = stack

    def publish(self, *drafts: Draft) -> list[Receipt]:
        """Publish events in one request, from within the process."""
        events = [ForumEvent.model_validate({"event_type": TYPE, "ticket": "T-1", **draft}) for draft in drafts]
        receipts: list[Receipt] = self.host.run(self.forum.publish_many(events))
        return receipts

    def fill(self, count: int, *, size: int = 0, batch: int = 1000, **fields: Any) -> list[Receipt]:
        """Publish `count` events with the same fields, numbered in their payload of `size` bytes; `batch` in one request."""
        receipts: list[Receipt] = []
        while len(receipts) < count:
            done = len(receipts)
            payloads = [
                {"n": done + n, **({"text": "x" * size} if size else {})} for n in range(min(batch, count - done))
            ]
            receipts.extend(self.publish(*({**fields, "payload": payload} for payload in payloads)))
        return receipts

    def get(self, path: str = "/events", headers: Mapping[str, str] | None = None, **params: Any) -> httpx2.Response:
        """Send a GET; each value of a list is a parameter of its own."""
        return self.host.http.get(self.url + path, params=params, headers=headers)

    def page(self, **params: Any) -> dict[str, Any]:
        """Return one page, which must be a 200."""
        answer = self.get(**params)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def sequences(self, **params: Any) -> list[int]:
        """Return the sequences of one page."""
        return [event["sequence"] for event in self.page(**params)["events"]]

    def post(self, body: Any, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """POST a document as JSON."""
        return self.host.http.post(f"{self.url}/events", json=body, headers=headers)

    def post_bytes(self, body: bytes, content_type: str | None = "application/json") -> httpx2.Response:
        """POST a body as it is."""
        headers = {} if content_type is None else {"content-type": content_type}
        return self.host.http.post(f"{self.url}/events", content=body, headers=headers)

    def wait_for_health(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for the forum's health until it meets a condition, and return it."""
        deadline = time.monotonic() + DEADLINE
        while True:
            health: dict[str, Any] = self.get("/health").json()
            if condition(health):
                return health
            assert time.monotonic() < deadline, health

    def wait_for_streams(self, **counts: int) -> None:
        """Wait until so many streams of a kind (`sse`, `websocket`) are open."""
        self.wait_for_health(lambda health: counts.items() <= health["streams"].items())

    def open(self, transport: Transport, *, headers: Headers = (), **params: Any) -> Reader:
        """Open a stream; it is left when the test ends."""
        return self.keep(open_reader(transport, self.url, params, headers))

    def live(self, transport: Transport, **params: Any) -> Reader:
        """Open a stream and read up to `forum.live`, so that what is published from now on comes after it."""
        reader = self.open(transport, **params)
        reader.until("forum.live")
        return reader

    def keep(self, reader: R) -> R:
        """Leave this reader when the test ends."""
        self._stack.callback(reader.close)
        return reader
