"""Sources: the logs that a forum reads from and publishes to."""

from asgi_forum.sources.base import EventSource, LiveSource, Page, WritableSource
from asgi_forum.sources.memory import MemorySource
from asgi_forum.sources.registry import SourceFactory, SourceOptions

__all__ = ["EventSource", "LiveSource", "MemorySource", "Page", "SourceFactory", "SourceOptions", "WritableSource"]
