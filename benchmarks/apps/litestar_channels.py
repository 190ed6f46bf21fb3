"""Litestar's channels in memory, with its ServerSentEvent and its WebSocket."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from litestar import Litestar, WebSocket, get, websocket
from litestar.channels import ChannelsPlugin
from litestar.channels.backends.memory import MemoryChannelsBackend
from litestar.response import ServerSentEvent, ServerSentEventMessage

from benchmarks.apps.control import control, encode

plugin = ChannelsPlugin(MemoryChannelsBackend(), arbitrary_channels_allowed=True)
"""Its queues have no bound unless one is asked for: nothing is dropped."""


async def publish(ticket: str, number: int, at: int) -> None:
    """Publish one event."""
    plugin.publish(encode(ticket, number, at), ticket)


@get("/stream")
async def sse(channels: ChannelsPlugin, ticket: str) -> ServerSentEvent:
    """Stream a ticket."""

    async def events() -> AsyncGenerator[ServerSentEventMessage]:
        async with channels.start_subscription(ticket) as subscriber:
            yield ServerSentEventMessage(comment="hello")
            async for text in subscriber.iter_events():
                yield ServerSentEventMessage(data=text.decode())

    return ServerSentEvent(events())


@websocket("/stream")
async def ws(socket: WebSocket, channels: ChannelsPlugin, ticket: str) -> None:
    """Stream a ticket, as the plugin's own handler does."""
    async with channels.start_subscription(ticket) as subscriber:
        await socket.accept()
        async with subscriber.run_in_background(socket.send_text):
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass


app = control(Litestar([sse, ws], plugins=[plugin]), publish)
