"""ForumMiddleware: a forum in front of any ASGI app, with the lifespan wired."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asgi_forum.app import Forum
from asgi_forum.errors import ConfigurationError
from asgi_forum.logs import EventLogger, event_logger

__all__ = ["ForumMiddleware"]

logger: EventLogger = event_logger("asgi_forum.lifecycle")


class ForumMiddleware:
    """
    Serves `forum` below `path`, and everything else by `app`; starts and stops the forum with the app's lifespan.

    The forum starts before the app, and its streams end before the app stops. An app that knows no lifespan (Django) gets none.
    """

    def __init__(self, app: ASGIApp, *, forum: Forum, path: str = "/forum") -> None:
        if not path.startswith("/") or path.endswith("/"):
            raise ConfigurationError(f"path: got {path!r}, expected one that begins with '/' and does not end with it")
        self._app = app
        self._forum = forum
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif (root := self._mounted(scope)) is not None:
            await self._forum({**scope, "root_path": root}, receive, send)
        else:
            await self._app(scope, receive, send)

    def _mounted(self, scope: Scope) -> str | None:
        """Return the forum's root path, where the request is for it."""
        path, root = scope["path"], scope.get("root_path", "")
        # Servers that know of a root path put it in front of `path` too; some frameworks strip it.
        outer = root if root and (path == root or path.startswith(root + "/")) else ""
        mount = outer + self._path
        return mount if path == mount or path.startswith(mount + "/") else None

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the lifespan through, with the forum around it; answer it alone where the app does not."""
        answered: set[str] = set()

        async def receive_for_app() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._forum.aclose()
            return message

        async def send_for_app(message: Message) -> None:
            answered.add(message["type"])
            await send(message)

        first = await receive()
        try:
            await self._forum.__aenter__()
        except Exception as error:
            logger.exception("asgi_forum.startup_failed")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        try:
            await self._app(scope, _again(first, receive_for_app), send_for_app)
        except Exception:
            if answered:  # it knows the lifespan, and failed in it: the server has to hear of that
                raise
        finally:
            if answered:
                await self._forum.aclose()
        if not answered:
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._forum.aclose()
            await send({"type": "lifespan.shutdown.complete"})


def _again(first: Message, receive: Receive) -> Receive:
    """Return a `receive` that gives a message that was received already, and then goes on."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if not given:
            given = True
            return first
        return await receive()

    return receive_again
