"""The addresses of a forum below its mount, and what each answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files
from typing import Any

from pydantic_core import from_json, to_json
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from asgi_forum.auth import AuthorizePublish, OriginPolicy, authorize_publish
from asgi_forum.cursor import LATEST
from asgi_forum.errors import (
    EventIdConflict,
    ForumClosed,
    ForumError,
    InvalidEvent,
    MethodNotAllowed,
    NotFound,
    PublishDisabled,
    ShuttingDown,
    UnsupportedMediaType,
    quote,
)
from asgi_forum.filters import Filter
from asgi_forum.models import ForumEvent, Receipt, parse_events
from asgi_forum.streams.bodies import ClientGoneError, read_body
from asgi_forum.streams.opening import Door
from asgi_forum.streams.page import serve_page
from asgi_forum.streams.refusals import (
    HEADERS,
    answer_json,
    answer_nobody,
    headers_of,
    refuse_http,
    refuse_sse,
    refuse_websocket,
)
from asgi_forum.streams.request import Asked
from asgi_forum.streams.socket import serve_socket
from asgi_forum.streams.sse import serve_sse
from asgi_forum.streams.websocket import serve_websocket

__all__ = ["Endpoints", "Publisher", "path_below_mount", "refuse"]

Publisher = Callable[[list[ForumEvent]], Awaitable[list[Receipt]]]
Health = Callable[[], Awaitable[dict[str, Any]]]

_ADDRESSES = "/stream, /events, /socket, /health and /client.js"


def path_below_mount(scope: Scope) -> str:
    """
    Return the path below the mount, without a slash at its end.

    Starlette keeps the whole path and lengthens `root_path`; Litestar strips the mount, leaves `root_path` empty, and adds a slash.
    """
    path, root = scope["path"], scope.get("root_path", "")
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    return str(path).rstrip("/")


async def refuse(scope: Scope, receive: Receive, send: Send, error: ShuttingDown) -> None:
    """Refuse any request, or upgrade, in the way of its address: the forum is not there to answer it."""
    if scope["type"] == "websocket":
        await refuse_websocket(scope, receive, send, error)
    elif path_below_mount(scope) == "/stream":
        await refuse_sse(scope, send, error)
    else:
        await refuse_http(scope, send, error)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Answers every request below the mount. What is refused is refused in JSON, and no error's traceback leaves the process."""

    door: Door
    origins: OriginPolicy
    publish: Publisher
    health: Health
    allow_publish: bool
    authorize_publish: AuthorizePublish | None

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request."""
        try:
            match path_below_mount(scope):
                case "/stream":
                    _takes(scope, "GET", "HEAD")
                    await serve_sse(scope, receive, send, self.door)
                case "/events" if scope["method"] == "POST":
                    await self._publish(scope, receive, send)
                case "/events":
                    _takes(scope, "GET", "HEAD", "POST")
                    await serve_page(scope, receive, send, self.door)
                case "/health":
                    _takes(scope, "GET", "HEAD")
                    await self._health(scope, send)
                case "/client.js":
                    _takes(scope, "GET", "HEAD")
                    await _client_js(scope, send)
                case "/socket":
                    raise NotFound("/socket takes WebSocket connections only")
                case path:
                    raise NotFound(f"path: got {quote(path)}, expected one of {_ADDRESSES}")
        except ClientGoneError:
            await answer_nobody(scope, send)
        except ForumError as error:
            self.door.running.hub.counters.refusal(error)
            await refuse_http(scope, send, error)

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a WebSocket's upgrade."""
        match path_below_mount(scope):
            case "/stream":
                await serve_websocket(scope, receive, send, self.door, self.origins)
            case "/socket":
                await serve_socket(scope, receive, send, self.door, self.origins)
            case path:
                error = NotFound(f"path: got {quote(path)}, expected /stream or /socket")
                self.door.running.hub.counters.refusal(error)
                await refuse_websocket(scope, receive, send, error)

    async def _publish(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        if not self.allow_publish:
            raise PublishDisabled
        self.origins.check(connection)
        content_type = connection.headers.get("content-type", "")
        if not _is_json(content_type):
            raise UnsupportedMediaType(content_type)
        with self.door.running.transfers.begun() as transfer:
            document = _parsed(await read_body(connection, receive, self.door.running, transfer))
            receipts = await self._published(connection, document)
            status = 200 if all(each.duplicate for each in receipts) else 201
            await answer_json(scope, send, to_json({"events": receipts}), status=status)

    async def _published(self, connection: HTTPConnection, document: object) -> list[Receipt]:
        events = [event.with_id() for event in parse_events(document)]
        await authorize_publish(self.authorize_publish, connection, events)
        try:
            return await self.publish(events)
        except InvalidEvent as error:
            raise error if isinstance(document, list) else _without_index(error) from error
        except EventIdConflict as error:
            # Where the app says who may read what, a guess must not be confirmed field by field.
            raise error if self.door.authorize is None else EventIdConflict(error.event_id, (), error.index) from error
        except ForumClosed as error:
            ids = [str(event.event_id) for event in events]
            raise ShuttingDown(outcome="not_published", event_ids=ids) from error

    async def _health(self, scope: Scope, send: Send) -> None:
        connection = HTTPConnection(scope)
        report = await self.health()
        ready = report["status"] == "ok" or "ready" not in connection.query_params
        try:
            await self.door.grant(connection, Asked(Filter(), LATEST, 1))
        except ForumError:
            report = {"status": report["status"]}
        await answer_json(scope, send, to_json(report), status=200 if ready else 503)


def _without_index(error: InvalidEvent) -> InvalidEvent:
    """Return the faults of a single event as its publisher sees it: it sent no list."""
    return InvalidEvent([{**each, "loc": each["loc"][1:]} for each in error.details])


def _takes(scope: Scope, *methods: str) -> None:
    if scope["method"] not in methods:
        raise MethodNotAllowed(scope["method"], methods)


def _is_json(content_type: str) -> bool:
    kind, _, parameters = content_type.partition(";")
    charset = parameters.replace(" ", "").lower().partition("charset=")[2].partition(";")[0].strip('"')
    return kind.strip().lower() == "application/json" and charset in ("", "utf-8", "utf8")


def _parsed(body: bytes) -> object:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidEvent([{"loc": [], "msg": f"expected JSON: {error}"}]) from error


async def _client_js(scope: Scope, send: Send) -> None:
    """Serve the browser's client: the page may keep it for a minute, and then asks whether it is still the same."""
    body = files("asgi_forum.client").joinpath("client.js").read_bytes()
    etag = f'"{blake2b(body, digest_size=8).hexdigest()}"'
    headers = {
        **HEADERS,
        "cache-control": "public, max-age=60",
        "etag": etag,
        "content-type": "text/javascript; charset=utf-8",
    }
    same = etag in HTTPConnection(scope).headers.get("if-none-match", "")
    if not same:
        headers["content-length"] = str(len(body))
    await send({"type": "http.response.start", "status": 304 if same else 200, "headers": headers_of(headers)})
    await send({"type": "http.response.body", "body": b"" if same or scope["method"] == "HEAD" else body})
