"""Sources: the logs that a forum reads from and publishes to."""

import typing

from asgi_forum.sources.base import EventSource, LiveSource, NearSource, Page, ReportingSource, WritableSource
from asgi_forum.sources.memory import MemorySource
from asgi_forum.sources.registry import SourceFactory, SourceOptions

if typing.TYPE_CHECKING:
    from asgi_forum.sources.redis import RedisSource

__all__ = [
    "EventSource",
    "LiveSource",
    "MemorySource",
    "NearSource",
    "Page",
    "RedisSource",
    "ReportingSource",
    "SourceFactory",
    "SourceOptions",
    "WritableSource",
]


def __getattr__(name: str) -> object:
    """Import what needs an extra when it is asked for: whoever keeps the log elsewhere need not have redis."""
    if name == "RedisSource":
        from asgi_forum.sources.redis import RedisSource

        return RedisSource
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
