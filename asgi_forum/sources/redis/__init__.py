"""The log in Redis, or Valkey: one stream, for any number of processes."""

try:
    from asgi_forum.sources.redis.source import RedisSource
except ModuleNotFoundError as _error:
    _missing = (_error.name or "").partition(".")[0]
    if _missing not in ("redis", "hiredis"):
        raise
    raise ImportError(f"a log in Redis needs {_missing}: pip install 'asgi-forum[redis]'", name=_missing) from _error

__all__ = ["RedisSource"]
