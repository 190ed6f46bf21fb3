"""Refusals and other answers in JSON (section 8), over HTTP and to a WebSocket's upgrade."""

from __future__ import annotations

import random
from collections.abc import Mapping

from pydantic_core import to_json
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from asgi_forum.errors import ConfigurationError, ForumError, Unavailable
from asgi_forum.frames import ErrorFrame

__all__ = [
    "HEADERS",
    "answer_json",
    "answer_nobody",
    "error_body",
    "error_response",
    "headers_of",
    "json_start",
    "refuse_http",
    "refuse_sse",
    "refuse_websocket",
    "retry_line",
]

HEADERS = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}
"""What every answer of the forum says to caches and proxies: don't keep it, don't gather it, don't compress it."""

_CLIENT_CLOSED_REQUEST = 499
"""The status by which nginx logs a client that left; there is no standard one."""

SSE_HEADERS = {"content-type": "text/event-stream; charset=utf-8", **HEADERS}


def headers_of(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def error_response(request: HTTPConnection, error: Exception) -> Response:
    """
    Answer a request in a route of the host's own with the refusal that the forum raised there, as the forum's own addresses do.

    For `app.add_exception_handler(ForumError, error_response)`, in Starlette and FastAPI. What is no refusal is raised again.
    """
    del request
    if not isinstance(error, ForumError) or isinstance(error, ConfigurationError):
        raise error
    headers = {"content-type": "application/json", **HEADERS, **error.headers()}
    return Response(error_body(error), error.status, headers)


def error_body(error: ForumError) -> bytes:
    """Return the JSON of a refusal."""
    return to_json({"error": {"code": error.code, "message": error.message, **error.extra()}})


def json_start(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Message:
    """Return the head of an answer with this JSON."""
    length = {"content-type": "application/json", "content-length": str(len(body))}
    return {
        "type": "http.response.start",
        "status": status,
        "headers": headers_of({**length, **HEADERS, **(headers or {})}),
    }


async def answer_json(
    scope: Scope, send: Send, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    """Answer with JSON; `HEAD` gets the same headers and no body."""
    await send(json_start(body, status=status, headers=headers))
    await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else body})


async def answer_nobody(scope: Scope, send: Send) -> None:
    """Answer a client that has left: nobody sees it, but a middleware in between may fail where there is none."""
    await answer_json(scope, send, b"{}", status=_CLIENT_CLOSED_REQUEST)


async def refuse_http(scope: Scope, send: Send, error: ForumError) -> None:
    """Refuse a request."""
    await answer_json(scope, send, error_body(error), status=error.status, headers=error.headers())


async def refuse_sse(scope: Scope, send: Send, error: ForumError) -> None:
    """
    Refuse a stream. A refusal that will pass is a 200 for an EventSource, which would never come back after anything else.
    """
    if not isinstance(error, Unavailable) or not _accepts_sse(scope):
        await refuse_http(scope, send, error)
        return
    await send(
        {"type": "http.response.start", "status": 200, "headers": headers_of({**SSE_HEADERS, **error.headers()})}
    )
    body = retry_line(error.retry_after) + ErrorFrame.of(error).sse
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def refuse_websocket(scope: Scope, receive: Receive, send: Send, error: ForumError) -> None:
    """
    Refuse an upgrade: with an HTTP answer where the server supports it, else by closing before the accept.

    Whoever has left meanwhile, or was answered by a server that stops, is refused no more.
    """
    await receive()  # websocket.connect
    try:
        await _refuse_upgrade(scope, send, error)
    except Exception:  # each server has its own: OSError, RuntimeError, its own classes
        return


async def _refuse_upgrade(scope: Scope, send: Send, error: ForumError) -> None:
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send(
            {"type": "websocket.close", "code": 1013 if error.close_code == 1013 else 1008, "reason": error.code}
        )
        return
    body = error_body(error)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **HEADERS, **error.headers()}
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers_of(headers)})
    await send({"type": "websocket.http.response.body", "body": body})


def retry_line(least: float = 1.0) -> bytes:
    """Return a `retry:` field of at least so many seconds, spread over twice that, so that thousands don't come back at once."""
    return b"retry: %d\n\n" % random.randint(int(least * 1000), int(least * 3000))


def _accepts_sse(scope: Scope) -> bool:
    return any(b"text/event-stream" in value.lower() for name, value in scope["headers"] if name == b"accept")
