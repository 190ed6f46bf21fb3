"""The keys of one log. All carry its name as hash tag, so a Redis Cluster keeps them in one slot, and scripts may use them together."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LogKeys"]


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The keys of the forum `name`; only `log` is for other producers."""

    name: str

    def _key(self, part: str) -> str:
        return f"asgi_forum:{{{self.name}}}:{part}"

    @property
    def log(self) -> str:
        """The stream of entries."""
        return self._key("log")

    @property
    def meta(self) -> str:
        """A hash: the log's identity, and how far it was appended to."""
        return self._key("meta")

    @property
    def ids(self) -> tuple[str, str]:
        """Two hashes of the `event_id`s that are known, which take turns."""
        return self._key("ids:0"), self._key("ids:1")

    def copy(self, word: str) -> str:
        """A key for a copy of the log while it is repaired; `word` is anybody's own."""
        return self._key(f"copy:{word}")

    @property
    def ages(self) -> str:
        """A sorted set of marks: at which time the log had come how far."""
        return self._key("ages")
