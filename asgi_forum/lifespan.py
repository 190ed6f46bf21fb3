"""The ASGI lifespan, for a forum that is served by itself and for hosts that have none of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.types import Receive, Send

from asgi_forum.hub.lifecycle import Lifecycle
from asgi_forum.logs import EventLogger, event_logger

__all__ = ["serve_lifespan"]

logger: EventLogger = event_logger("asgi_forum.lifecycle")


async def serve_lifespan(lifecycle: Lifecycle, receive: Receive, send: Send) -> None:
    """Start and stop a forum as the server says; a start that fails is told to the server, which then stops."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await _answer("startup", lambda: lifecycle.ensure(reopen=True), send)
        elif message["type"] == "lifespan.shutdown":
            await _answer("shutdown", lifecycle.close, send)
            return


async def _answer(phase: str, work: Callable[[], Awaitable[object]], send: Send) -> None:
    try:
        await work()
    except Exception as error:
        logger.exception(f"asgi_forum.{phase}_failed")  # noqa: G004  # an event's name is no argument
        await send({"type": f"lifespan.{phase}.failed", "message": str(error)})
    else:
        await send({"type": f"lifespan.{phase}.complete"})
