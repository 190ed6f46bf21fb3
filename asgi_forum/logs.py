"""Logging by events: each record names what happened, for programs, in a field of its own."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

__all__ = ["EventLogger", "event_logger"]


class EventLogger(logging.LoggerAdapter[logging.Logger]):
    """
    A logger whose messages begin with the event's name and a colon (`asgi_forum.source_lost: ...`).

    The name is the record's attribute `event` too, as formatters for JSON take it. It does not change; the text behind it may.
    """

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Put the event's name beside the message."""
        event, _, _ = str(msg).partition(":")
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), "event": event}}


def event_logger(name: str) -> EventLogger:
    """Return the logger of that name."""
    return EventLogger(logging.getLogger(name))
