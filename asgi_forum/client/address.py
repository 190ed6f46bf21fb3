"""A forum's address, and the addresses below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlencode, urlsplit

from asgi_forum.errors import ConfigurationError

__all__ = ["Address", "Values", "filters"]

Values = str | Iterable[str] | None
"""One value of a filter, or any number of them (any of which may match); None and none at all keep everything."""

_PLAIN = "/%:@!$&'()*+,;=~"


def filters(
    *, ticket: Values = (), run_id: Values = (), thread_id: Values = (), event_type: Values = ()
) -> list[tuple[str, str]]:
    """Return filters as query parameters."""
    given = (("ticket", ticket), ("run_id", run_id), ("thread_id", thread_id), ("type", event_type))
    return [(name, each) for name, values in given for each in ((values,) if isinstance(values, str) else values or ())]


@dataclass(frozen=True, slots=True)
class Address:
    """
    The address of a forum: `https://host/forum`. A query it has goes along with every request; credentials are never
    shown.
    """

    secure: bool
    authority: str
    path: str
    query: str
    shown: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read an `http://` or `https://` URL; ConfigurationError says what it takes."""
        takes = "expected the address of a forum, such as 'http://127.0.0.1:8000/forum'"
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
            (host or "").encode("idna")
        except ValueError:
            # It says what could not be read: it may be of a password that was not percent-encoded.
            raise ConfigurationError(f"url: its host or port can't be read; {takes}") from None
        if parts.scheme.lower() not in ("http", "https") or not host or any(ord(each) <= 32 for each in url.strip()):
            # what stands before an @ may be a password: it must not get into logs
            raise ConfigurationError(f"url: got {ascii(url.rpartition('@')[2])[:80]}, {takes}")
        name = f"[{host}]" if ":" in host else host
        place = name if port is None else f"{name}:{port}"
        path = quote(parts.path.rstrip("/"), safe=_PLAIN)
        scheme = parts.scheme.lower()
        return cls(
            secure=scheme == "https",
            authority=f"{parts.netloc.rpartition('@')[0]}@{place}" if "@" in parts.netloc else place,
            path=path,
            query=parts.query,
            shown=f"{scheme}://{place}{path}",
        )

    def http(self, below: str, parameters: Sequence[tuple[str, str]] | Mapping[str, str] = ()) -> str:
        """Return the HTTP address of what lies `below` the forum's, such as `/events`."""
        return self._url("https" if self.secure else "http", below, parameters)

    def websocket(self, below: str, parameters: Sequence[tuple[str, str]] | Mapping[str, str] = ()) -> str:
        """Return the same address for a WebSocket."""
        return self._url("wss" if self.secure else "ws", below, parameters)

    def _url(self, scheme: str, below: str, parameters: Sequence[tuple[str, str]] | Mapping[str, str]) -> str:
        query = "&".join(part for part in (self.query, urlencode(parameters)) if part)
        return f"{scheme}://{self.authority}{self.path}{below}{'?' if query else ''}{query}"
