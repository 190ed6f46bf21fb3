"""From a URL to a source. Third parties register their scheme through the entry point group `asgi_forum.sources`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import cast

from asgi_forum.errors import ConfigurationError
from asgi_forum.sources.base import EventSource

__all__ = ["GROUP", "KEEP_ALL", "SourceFactory", "SourceOptions", "described", "open_url", "registered"]

GROUP = "asgi_forum.sources"

KEEP_ALL = 2**53 - 1
"""What to `retain` for one who uses a log that others keep: nothing is trimmed then, whatever their settings are."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """
    What a forum tells the source it makes.

    name: the forum's. retain: how many events to keep at least. retain_for: for how many seconds at most; None for ever.
    """

    name: str = "default"
    retain: int = 100_000
    retain_for: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"name: got {self.name!r}, expected 1 to 64 of A-Z a-z 0-9 _ . -")
        if isinstance(self.retain, bool) or not isinstance(self.retain, int) or self.retain < 1:
            raise ConfigurationError(f"retain: got {self.retain!r}, expected an integer above 0")
        seconds = self.retain_for
        if seconds is not None and (
            isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf
        ):
            raise ConfigurationError(f"retain_for: got {seconds!r}, expected seconds above 0 or None")


SourceFactory = Callable[[str, SourceOptions], EventSource]
"""Makes a source of a URL; raises ConfigurationError where the URL is off. It connects to nothing: `open` does."""


def described(url: str) -> str:
    """Say of which scheme a URL is, and no more of it: all else may be of a password."""
    found = _SCHEME.match(url)
    return f"a URL of the scheme {found[1][:20]!r}" if found else "a URL without a scheme"


def registered(url: str) -> bool:
    """Whether a URL is one of a source: whether somebody registered its scheme."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and any(each.name == scheme for each in entry_points(group=GROUP))


def open_url(url: str, options: SourceOptions) -> EventSource:
    """Make the source that a URL names. Raises ConfigurationError for a scheme that nobody registered."""
    scheme, separator, _ = url.partition("://")
    known = {each.name: each for each in entry_points(group=GROUP)}
    if not separator or scheme not in known:
        schemes = ", ".join(f"{name}://" for name in sorted(known))
        raise ConfigurationError(f"source: got {described(url)}, expected one of {schemes}")
    try:
        factory = cast("SourceFactory", known[scheme].load())
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
    return factory(url, options)
