"""What is served: the forum in every place that it may have, in a host with pages of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asgi_forum import Forum, ForumMiddleware, Limits

__all__ = ["bare", "mounted", "plain", "wired", "wrapped"]

_age = os.environ.get("SITE_MAX_STREAM_AGE")
forum = Forum(
    "memory://",
    allow_publish=True,
    handle_signals=os.environ.get("SITE_HANDLE_SIGNALS") != "no",
    limits=Limits(max_stream_age=float(_age) if _age else None),
)


async def streams(request: Request) -> JSONResponse:
    """Tell what is open in this process."""
    return JSONResponse(forum.stats()["streams"])


async def work(request: Request) -> StreamingResponse:
    """Answer at once, and be done a second later: a request of the host's own that is under way."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun "
        await anyio.sleep(1.0)
        yield b"done"

    return StreamingResponse(pieces())


async def drain(request: Request) -> PlainTextResponse:
    """Be what a preStop hook calls."""
    await forum.drain()
    return PlainTextResponse("drained")


class Announced:
    """Says on stdout that the app has started, once in each process."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""

        async def tell(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                print("started", flush=True)  # noqa: T201

        await self._app(scope, receive, tell if scope["type"] == "lifespan" else send)


_own: list[BaseRoute] = [Route("/streams", streams), Route("/work", work), Route("/drain", drain)]

bare = Announced(forum)
mounted = Announced(Starlette(routes=[*_own, Mount("/forum", app=forum)]))
wired = Announced(Starlette(routes=[*_own, Mount("/forum", app=forum)], lifespan=forum.lifespan))
wrapped = Announced(ForumMiddleware(Starlette(routes=_own), forum=forum, path="/forum"))
plain = Announced(Starlette(routes=_own))
