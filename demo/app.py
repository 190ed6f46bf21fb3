"""
The demo's server: one Starlette app with the forum mounted at `/forum`, a page, and `/api` for what visitors do.

`uvicorn demo.app:app` serves it by itself; `python -m demo` starts it together with its agents.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from asgi_forum import Forum, ForumError, ForumEvent
from demo.actions import ACTIONS, NotPossible, faults
from demo.board import Board
from demo.journal import Journal

__all__ = ["app", "create_app"]

STATIC = Path(__file__).parent / "static"
LARGEST = 64 * 1024
"""The largest request of a form, in bytes."""

# Scripts and styles come from this server's files alone: text that somebody posts can't become one, whatever the page does.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def create_app(*, agent_key: str | None = None, journal: Journal | None = None, heartbeat: float = 15.0) -> Starlette:
    """
    Make the app, with an empty forum in memory.

    `agent_key` lets those who send it as a bearer token publish over HTTP (None: nobody may). `journal` keeps the discussion over
    restarts; the app closes it. `heartbeat` is in seconds.
    """

    def agents_only(connection: HTTPConnection, events: Sequence[ForumEvent]) -> bool:
        given = connection.headers.get("authorization", "")
        return secrets.compare_digest(given.encode(), f"Bearer {agent_key}".encode())

    forum = Forum(
        "memory://", heartbeat=heartbeat, allow_publish=agent_key is not None, authorize_publish=agents_only if agent_key else None
    )  # fmt: skip
    board = Board()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
        async with forum.lifespan(app):
            forum.observe("forum", board.observe)
            if journal:
                for event in await journal.replay(
                    forum
                ):  # at once: an observer may still be behind at the first request
                    board.note(event, event.payload or {})
                forum.observe("forum", journal.write)
            yield
        if journal:
            journal.close()

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/api/{action}", do, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
            Mount("/forum", forum),
        ],
        lifespan=lifespan,
        exception_handlers={NotPossible: refuse, ForumError: refuse, ValidationError: refuse},
    )
    app.state.forum, app.state.board = forum, board
    return app


async def page(request: Request) -> Response:
    """The one page; all else on it comes by the stream."""
    return FileResponse(STATIC / "index.html", headers=PAGE_HEADERS)


async def do(request: Request) -> Response:
    """What a visitor does: check the form, publish its event, and answer where it went."""
    forum, board = request.app.state.forum, request.app.state.board
    action = ACTIONS.get(request.path_params["action"])
    if action is None:
        raise NotPossible(404, f"There is no action {request.path_params['action']!r}; there are {', '.join(ACTIONS)}.")
    form = action.model_validate(await read_form(request))
    event = form.event(board)
    (receipt,) = await forum.publish_many([event])
    board.note(event, event.payload or {})  # so that the next request finds it, however soon it comes
    return JSONResponse({"thread_id": event.thread_id, "sequence": receipt.sequence}, 201)


async def read_form(request: Request) -> Any:
    """Read the JSON of a form. Asking for JSON keeps out the forms of other sites, which can't send it without being allowed to."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise NotPossible(415, "Expected the content type application/json.")
    body = await read_body(request)
    try:
        return from_json(body)
    except ValueError:
        raise NotPossible(400, "The request can't be read as JSON.") from None


async def read_body(request: Request) -> bytes:
    """Read what was sent, up to LARGEST."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST:
                raise NotPossible(413, f"That is too long: at most {LARGEST // 1024} KiB.")
    except ClientDisconnect:  # nobody reads this answer; without one it would be an error of the server's, in its log
        raise NotPossible(400, "The request ended too early.") from None
    return body


def refuse(request: Request, error: Exception) -> Response:
    """One clear answer for whatever is wrong with a request."""
    fields: dict[str, str] = {}
    status = 422
    message = str(error)
    if isinstance(error, ValidationError):
        fields = faults(error)
        message = " ".join(fields.values())
    elif isinstance(error, NotPossible | ForumError):
        status = error.status
    return JSONResponse({"error": {"message": message, "fields": fields}}, status)


app = create_app(agent_key=os.environ.get("DEMO_AGENT_KEY") or None)
