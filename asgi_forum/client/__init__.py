"""
A client of a forum: `connect()` follows its events and resumes by itself; `publish()`, `read()` and `health()` are
one request each.

It needs the extra `client` (`pip install 'asgi-forum[client]'`), and runs on asyncio.
"""

from asgi_forum.client.answers import Health, Page
from asgi_forum.client.connect import Transport, connect
from asgi_forum.client.refusals import UnexpectedAnswer, Unreachable
from asgi_forum.client.requests import health, publish, read
from asgi_forum.client.stream import ForumStream
from asgi_forum.frames import ErrorFrame, EventsFrame, Frame, HeartbeatFrame, LiveFrame, ResetFrame

__all__ = [
    "ErrorFrame",
    "EventsFrame",
    "ForumStream",
    "Frame",
    "Health",
    "HeartbeatFrame",
    "LiveFrame",
    "Page",
    "ResetFrame",
    "Transport",
    "UnexpectedAnswer",
    "Unreachable",
    "connect",
    "health",
    "publish",
    "read",
]
