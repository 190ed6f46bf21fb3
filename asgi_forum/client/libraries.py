"""The libraries of the extra `client`, imported in one place so that one message tells of a missing one."""

from __future__ import annotations

try:
    import httpx2
    import websockets.asyncio.client as websocket_client
    import websockets.exceptions as websocket_errors
except ModuleNotFoundError as _error:
    _message = f"asgi_forum.client needs {_error.name}: pip install 'asgi-forum[client]'"
    raise ImportError(_message, name=_error.name) from _error

__all__ = ["httpx2", "websocket_client", "websocket_errors"]
