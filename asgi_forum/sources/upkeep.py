"""What a source may let the command line do to its log, beside reading and publishing: look at it, and repair it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from asgi_forum.sources.base import EventSource

__all__ = ["InspectableSource", "Inspection", "Repair", "RepairableSource"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """
    What a log looks like.

    cursor: its end; None where it has no identity, or lost what it was made for: `note` says so. entries: how many are retained.
    fault: what keeps it from taking events. read_time: seconds that one read took.
    """

    cursor: str | None
    entries: int
    note: str | None
    fault: str | None
    read_time: float


@dataclass(frozen=True, slots=True)
class Repair:
    """
    What was done: `removed` entries, of which `ids` are the first thousand. Where `needed` is false, nothing was to be done.

    kept: the entries that are there. last: the sequence that is numbered on from. copied: whether the log was copied for it.
    """

    needed: bool
    removed: int = 0
    ids: Sequence[str] = ()
    kept: int = 0
    last: int = 0
    copied: bool = False


@runtime_checkable
class InspectableSource(EventSource, Protocol):
    """A source that can be looked at without being opened, which may write: a log that nobody has begun stays so."""

    async def inspect(self) -> Inspection:
        """Say how the log is, and write nothing. Raises SourceUnavailable, ConfigurationError."""
        ...


@runtime_checkable
class RepairableSource(EventSource, Protocol):
    """A source whose log others can bring into a state that it can't go on from."""

    async def repair(self) -> Repair:
        """Mend that, harmless where there is nothing to mend, while forums are running. Raises SourceUnavailable, ConfigurationError."""
        ...
