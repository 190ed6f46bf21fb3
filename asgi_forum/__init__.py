"""Live forum events for any ASGI app: mount it, publish, and every reader sees each event once, in order."""

from asgi_forum.app import Forum
from asgi_forum.auth import Subscription
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import (
    ConfigurationError,
    CursorExpired,
    EventIdConflict,
    Forbidden,
    ForumClosed,
    ForumError,
    ForumReset,
    InvalidEvent,
    PayloadTooLarge,
    SourceUnavailable,
    TooSlow,
    Unauthorized,
)
from asgi_forum.filters import Filter
from asgi_forum.frames import ErrorFrame, EventsFrame, Frame, HeartbeatFrame, LiveFrame, ResetFrame
from asgi_forum.middleware import ForumMiddleware
from asgi_forum.models import Envelope, ForumEvent, Receipt
from asgi_forum.settings import Limits
from asgi_forum.streams.page import ForumPage
from asgi_forum.streams.refusals import error_response
from asgi_forum.streams.subscription import ForumSubscription

__all__ = [
    "ConfigurationError",
    "CursorExpired",
    "Envelope",
    "ErrorFrame",
    "EventIdConflict",
    "EventsFrame",
    "Filter",
    "Forbidden",
    "Forum",
    "ForumClosed",
    "ForumError",
    "ForumEvent",
    "ForumMiddleware",
    "ForumPage",
    "ForumReset",
    "ForumSubscription",
    "Frame",
    "HeartbeatFrame",
    "InvalidEvent",
    "Limits",
    "LiveFrame",
    "PayloadTooLarge",
    "Receipt",
    "ResetFrame",
    "SourceUnavailable",
    "StoredEvent",
    "Subscription",
    "TooSlow",
    "Unauthorized",
    "error_response",
]

__version__ = "0.1.0"
