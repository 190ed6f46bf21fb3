"""Forum: the mountable ASGI application, and what the host's own code calls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import anyio
import anyio.from_thread
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from asgi_forum.auth import Authorize, AuthorizePublish, OriginPolicy, Subscription
from asgi_forum.cursor import EARLIEST, LATEST
from asgi_forum.endpoints import Endpoints, refuse
from asgi_forum.entries import encode_events
from asgi_forum.errors import ConfigurationError, ForumClosed, InvalidWait, ShuttingDown
from asgi_forum.filters import Filter, Values
from asgi_forum.hub.lifecycle import Lifecycle, Running
from asgi_forum.hub.observers import Callback, Observer
from asgi_forum.lifespan import serve_lifespan
from asgi_forum.models import ActorType, ForumEvent, Receipt, make_event
from asgi_forum.publishing import publish
from asgi_forum.settings import ForumSettings, Limits, OnLag, check_options
from asgi_forum.sources.base import EventSource, WritableSource
from asgi_forum.sources.registry import SourceOptions, open_url
from asgi_forum.streams.opening import Door
from asgi_forum.streams.page import ForumPage, read_page
from asgi_forum.streams.request import asked_by_host, resumed
from asgi_forum.streams.subscription import ForumSubscription

if TYPE_CHECKING:
    from asgi_forum.streams.response import ForumResponse

__all__ = ["Forum"]


class Forum:
    """
    A forum of live events: an ASGI app to mount, and the same for Python.

    source: `memory://`, another registered URL, or any EventSource. name: the log's name, where a source holds several. heartbeat:
    seconds of silence after which a stream says that it is there. retain: events to keep at least; retain_for: seconds after which
    an event goes, counted from its arrival, None for never (a source made by URL obeys both).
    on_lag: what happens to a reader that falls too far behind (see Limits.max_lag): `resume` (nothing is lost), `skip` to the
    newest, or `disconnect`. authorize: asked for every subscription. allow_publish: whether `POST /events` is open;
    authorize_publish: asked for each. allowed_origins: pages of other origins that may open WebSockets and publish.
    handle_signals: whether SIGINT and SIGTERM, chained before the server's own handlers, end the streams.

    It starts itself on first use, in the running loop; `lifespan`, or ForumMiddleware, start it early and end its streams first.
    A setting that is off raises ConfigurationError here, not later.
    """

    def __init__(
        self,
        source: str | EventSource = "memory://",
        *,
        name: str = "default",
        heartbeat: float = 25.0,
        retain: int = 100_000,
        retain_for: float | None = None,
        limits: Limits | None = None,
        on_lag: OnLag = "resume",
        authorize: Authorize | None = None,
        allow_publish: bool = False,
        authorize_publish: AuthorizePublish | None = None,
        allowed_origins: Iterable[str] = (),
        handle_signals: bool = True,
    ) -> None:
        check_options(
            heartbeat=heartbeat,
            on_lag=on_lag,
            limits=limits,
            switches={"allow_publish": allow_publish, "handle_signals": handle_signals},
            hooks={"authorize": authorize, "authorize_publish": authorize_publish},
        )
        if not isinstance(source, str | EventSource):
            raise ConfigurationError(f"source: got {source!r}, expected a URL or an EventSource")
        options = SourceOptions(name, retain, retain_for)
        self._name = name
        self._source = open_url(source, options) if isinstance(source, str) else source
        # Asked once: a Protocol's isinstance looks at every method, which costs more than publishing does.
        self._writable = self._source if isinstance(self._source, WritableSource) else None
        if allow_publish and self._writable is None:
            raise ConfigurationError(f"allow_publish: the source {self._source.kind!r} takes no events")
        self._limits = limits or Limits()
        self._on_lag: OnLag = on_lag
        self._heartbeat = float(heartbeat)
        self._authorize = authorize
        self._allow_publish = allow_publish
        self._authorize_publish = authorize_publish
        self._origins = OriginPolicy(allowed_origins)
        self._endpoints: Endpoints | None = None
        self._lifecycle = Lifecycle(self._make_running, handle_signals=handle_signals)

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """Make a forum of what the environment says (`ASGI_FORUM_SOURCE`, `ASGI_FORUM_HEARTBEAT`, ...); `options` win over it."""
        settings = {**ForumSettings.read().model_dump(), **options}
        if isinstance(limits := settings["limits"], dict):
            settings["limits"] = Limits.of(cast("dict[str, Any]", limits))
        return cls(settings.pop("source"), **settings)

    @property
    def name(self) -> str:
        """Its name: of the log, where a source has several, and in metrics."""
        return self._name

    @property
    def limits(self) -> Limits:
        """Its limits."""
        return self._limits

    # As an ASGI application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection below the mount; served by itself, the lifespan too."""
        if scope["type"] == "lifespan":
            await serve_lifespan(self._lifecycle, receive, send)
            return
        try:
            running = await self._lifecycle.ensure()
        except ForumClosed:
            posted = scope["type"] == "http" and scope["method"] == "POST"
            await refuse(scope, receive, send, ShuttingDown(outcome="not_published" if posted else None))
            return
        endpoints = self._endpoints
        if endpoints is None or endpoints.door.running is not running:
            endpoints = self._endpoints = self._make_endpoints(running)
        if scope["type"] == "websocket":
            await endpoints.websocket(scope, receive, send)
        else:
            await endpoints.http(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """
        Start now, and stop at the end: for `Starlette(lifespan=forum.lifespan)`, or inside a lifespan of the host's own.

        Stopping ends open streams, and lets observers finish what was accepted, within `Limits.stop_after` seconds.
        """
        del app
        await self._lifecycle.ensure(reopen=True)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):  # bounded by Limits.stop_after
                await self._lifecycle.close()

    async def drain(self) -> None:
        """
        Refuse new streams, end the open ones, and wait until they have left, at most `Limits.stop_after` seconds.

        For a host that learns of its end in its own way (a preStop hook). Reading by page and publishing go on.
        """
        self._lifecycle.drain()
        if (running := self._lifecycle.running) is not None:
            with anyio.move_on_after(self._limits.stop_after):
                await running.streams.wait_empty()

    async def aclose(self) -> None:
        """Stop: end streams, let observers finish, close the source. Harmless when closed; using it after that is ForumClosed."""
        await self._lifecycle.close()

    async def __aenter__(self) -> Self:
        await self._lifecycle.ensure(reopen=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # Publishing

    async def publish(
        self,
        *,
        event_type: str,
        ticket: str,
        thread_id: str | None = None,
        run_id: str | None = None,
        agent_name: str | None = None,
        actor_type: ActorType | None = None,
        actor_name: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        event_id: str | None = None,
        event_version: int | None = None,
        occurred_at: datetime | str | None = None,
        payload: dict[str, Any] | None = None,
        wait: float = 0.0,
    ) -> Receipt:
        """
        Publish one event; what is left out gets its default. When this returns, the source has accepted it.

        With an `event_id` it is safe to repeat: the receipt is then the first one's, marked `duplicate`. Where the source can't be
        reached this goes on trying for `wait` seconds in all; an answer that got lost is no second event. Raises InvalidEvent,
        PayloadTooLarge, EventIdConflict, SourceUnavailable (its `outcome` says whether the event may have got in), ForumClosed.
        Cancelling leaves it open whether the event got in.
        """
        event = make_event(
            event_type=event_type,
            ticket=ticket,
            thread_id=thread_id,
            run_id=run_id,
            agent_name=agent_name,
            actor_type=actor_type,
            actor_name=actor_name,
            correlation_id=correlation_id,
            causation_id=causation_id,
            event_id=event_id,
            event_version=event_version,
            occurred_at=occurred_at,
            payload=payload,
        )
        return (await self.publish_many([event], wait=wait))[0]

    async def publish_many(self, events: Sequence[ForumEvent], *, wait: float = 0.0) -> list[Receipt]:
        """
        Publish 1 to 1000 events, all or none, with consecutive sequences; return a receipt for each, in order.

        Raises as `publish`; faults name the event's index.
        """
        if self._writable is None:
            raise ConfigurationError(f"the source {self._source.kind!r} takes no events; it can only be read")
        _check_wait(wait)
        running = await self._lifecycle.ensure()
        receipts = await publish(self._writable, encode_events(events, self._limits.event_bytes), wait=wait)
        duplicates = sum([receipt.duplicate for receipt in receipts])
        running.hub.counters.published += len(receipts) - duplicates
        running.hub.counters.duplicates += duplicates
        return receipts

    def publish_sync(self, *, wait: float = 0.0, **fields: Any) -> Receipt:
        """
        Publish from a thread that is not the loop's, such as FastAPI's `def` endpoints; arguments and errors as `publish`.

        Blocks until the event is accepted. Raises ConfigurationError in the loop's own thread, and where no loop is known: in a
        thread of the host's own before the forum was started; ForumClosed there after it was closed.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise ConfigurationError("publish_sync would block the event loop: here, `await forum.publish(...)`")
        event = make_event(**fields)
        if (running := self._lifecycle.running) is not None:
            return asyncio.run_coroutine_threadsafe(self.publish_many([event], wait=wait), running.loop).result()[0]
        try:
            return anyio.from_thread.run(partial(self.publish_many, [event], wait=wait))[0]
        except RuntimeError as error:
            if self._lifecycle.closed:
                raise ForumClosed from error
            raise ConfigurationError(
                "publish_sync: no event loop is known here; start the forum first (forum.lifespan)"
            ) from error

    # Reading

    def subscribe(
        self,
        *,
        ticket: Values = None,
        run_id: Values = None,
        thread_id: Values = None,
        event_type: Values = None,
        cursor: str | int | None = None,
        tail: int | None = None,
        limit: int | None = None,
    ) -> ForumSubscription:
        """
        Subscribe, from now on unless `cursor` or `tail` say otherwise; the parameters mean what they mean in a query.

        Raises InvalidFilter, InvalidCursor, InvalidTail, InvalidLimit at once. It is the host's own: `authorize` is not asked.
        """
        keep = Filter.of(ticket=ticket, run_id=run_id, thread_id=thread_id, event_type=event_type)
        asked = asked_by_host(keep, cursor=cursor, tail=tail, limit=limit, default=LATEST)
        return ForumSubscription(
            self._lifecycle.ensure,
            lambda running, asked: Door(running, None).open(asked, Subscription(asked.filter)),
            asked,
        )

    async def read(
        self,
        *,
        ticket: Values = None,
        run_id: Values = None,
        thread_id: Values = None,
        event_type: Values = None,
        cursor: str | int | None = None,
        tail: int | None = None,
        limit: int | None = None,
        wait: float = 0.0,
    ) -> ForumPage:
        """
        Read a page, from the earliest event unless `cursor` or `tail` say otherwise; with `wait` (seconds), wait for a first match.

        Raises CursorExpired where a stream would be reset, SourceUnavailable, and what `subscribe` raises.
        """
        keep = Filter.of(ticket=ticket, run_id=run_id, thread_id=thread_id, event_type=event_type)
        asked = asked_by_host(keep, cursor=cursor, tail=tail, limit=limit, default=EARLIEST)
        _check_wait(wait)
        running = await self._lifecycle.ensure()
        if not wait or running.streams.closing is not None:
            return await read_page(running, asked)
        with running.streams.admitted("python") as place:  # so that a stop ends the wait
            return await read_page(running, asked, wait=wait, place=place)

    def response(
        self,
        request: HTTPConnection,
        *,
        ticket: Values = None,
        run_id: Values = None,
        thread_id: Values = None,
        event_type: Values = None,
        cursor: str | int | None = None,
        tail: int | None = None,
        limit: int | None = None,
    ) -> ForumResponse:
        """
        Return a stream as the response of a route of the host's own (sse-starlette's EventSourceResponse).

        A browser's `Last-Event-ID` wins over `cursor` and `tail`. `authorize` is asked, before the first header. The first call
        imports sse-starlette, which patches `uvicorn.Server.handle_exit`; the forum's own addresses don't need it.
        """
        from asgi_forum.streams.response import ForumResponse

        keep = Filter.of(ticket=ticket, run_id=run_id, thread_id=thread_id, event_type=event_type)
        asked = asked_by_host(keep, cursor=cursor, tail=tail, limit=limit, default=LATEST)
        return ForumResponse(self._door, request, asked.starting(resumed(request)))

    def observe(self, event_type: str, callback: Callback) -> Callable[[], None]:
        """
        Call `callback(event)` in this process for every event of that type, or below it (`""`: of any), from now on.

        In order, one at a time, at most once each; a plain function runs in a worker thread. One that raises or hangs is logged and
        counted, and disturbs nobody. Returns what unregisters it; calling that twice is harmless. From any thread. Raises
        InvalidFilter, ConfigurationError.
        """
        if not callable(callback):
            raise ConfigurationError(f"callback: got {callback!r}, expected a function")
        observer = Observer(event_type, callback)
        self._lifecycle.observe(observer)

        def unregister() -> None:
            self._lifecycle.forget(observer)

        return unregister

    # What it is doing

    async def health(self) -> dict[str, Any]:
        """Return the report of `GET /health`, for those who may see all of it. Credentials are never in it."""
        return await (await self._lifecycle.ensure()).health()

    def stats(self) -> dict[str, Any]:
        """
        Return what this process has counted since the forum began, and what is open now; empty before. For any thread.

        `docs/production.md` says what each is, and `asgi_forum.metrics` shows them to Prometheus.
        """
        running = self._lifecycle.running
        return running.stats() if running else {}

    async def _door(self) -> Door:
        return Door(await self._lifecycle.ensure(), self._authorize)

    def _make_endpoints(self, running: Running) -> Endpoints:
        return Endpoints(
            Door(running, self._authorize),
            self._origins,
            self.publish_many,
            self.health,
            self._allow_publish,
            self._authorize_publish,
        )

    def _make_running(self) -> Running:
        return Running(self._source, self._limits, self._on_lag, self._heartbeat)


def _check_wait(wait: float) -> None:
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait < math.inf:
        raise InvalidWait(f"wait: got {wait!r}, expected seconds from 0 on")
