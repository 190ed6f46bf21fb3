"""
What forums of this process count, for Prometheus. It needs the extra `metrics` (`pip install 'asgi-forum[metrics]'`).

    REGISTRY.register(ForumCollector(forum))
"""

try:
    from asgi_forum.metrics.collector import ForumCollector
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] != "prometheus_client":
        raise
    _hint = "metrics need prometheus-client: pip install 'asgi-forum[metrics]'"
    raise ImportError(_hint, name="prometheus_client") from _error

__all__ = ["ForumCollector"]
