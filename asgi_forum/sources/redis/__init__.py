"""The log in Redis, or Valkey: one stream, for any number of processes."""

try:
    from asgi_forum.sources.redis.source import RedisSource
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] != "redis":
        raise
    raise ImportError("a log in Redis needs redis: pip install 'asgi-forum[redis]'", name="redis") from _error

__all__ = ["RedisSource"]
