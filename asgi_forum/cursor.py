"""
Cursors: opaque positions in one log.

A cursor is `EPOCH.SEQUENCE.CHECK`. The epoch names the log; `CHECK` is a MAC of the sequence and the entry that lies there, so
a server can tell that a log was wiped, restored from an old copy, or forked, even if it never saw the lost entries itself.
"""

from __future__ import annotations

import re
import secrets
from binascii import b2a_base64
from dataclasses import dataclass
from hashlib import blake2b

from asgi_forum.errors import InvalidCursor

__all__ = ["EARLIEST", "LATEST", "REPLACED", "Cursor", "CursorKey", "Start", "fresh_identity", "parse_start"]

UNCHECKED = "-"
"""The check of a position whose own entry is not retained (or never was): no entry has it."""

_CURSOR = re.compile(r"([A-Za-z0-9_-]{1,32})\.(0|[1-9][0-9]{0,18})\.([A-Za-z0-9_-]{1,32})")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_NUMBER = re.compile(r"[0-9]{1,128}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position just after the entry `sequence` of the log `epoch`."""

    epoch: str
    sequence: int
    check: str = UNCHECKED

    def __str__(self) -> str:
        return f"{self.epoch}.{self.sequence}.{self.check}"

    @property
    def checked(self) -> bool:
        """Whether it tells which entry lies there."""
        return self.check != UNCHECKED

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a cursor; InvalidCursor where it is none. Whether its log still is there, only the source can say."""
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise InvalidCursor(text)
        epoch, sequence, check = found.groups()
        return cls(epoch, int(sequence), check)


def fresh_identity() -> tuple[str, str]:
    """Draw what names a log that begins: an epoch of 72 random bits, and a secret of 256 (in hexadecimal)."""
    return secrets.token_urlsafe(9), secrets.token_hex(32)


class CursorKey:
    """
    What makes the cursors of one log: its epoch, and the secret that keys the checks.

    The check is BLAKE2b (RFC 7693), keyed, of 48 bits. It is keyed so that a cursor on a filtered stream gives away nothing of
    the entry that the filter left out.
    """

    __slots__ = ("_hash", "epoch")

    def __init__(self, epoch: str, secret: bytes) -> None:
        self.epoch: str = epoch
        self._hash = blake2b(key=secret, digest_size=6)

    @classmethod
    def fresh(cls) -> CursorKey:
        """Draw a new identity, for a log that begins."""
        epoch, secret = fresh_identity()
        return cls(epoch, bytes.fromhex(secret))

    def cursor(self, sequence: int, raw: bytes) -> Cursor:
        """Return the cursor just after the entry `raw` (its bytes as the source keeps them) at `sequence`."""
        mac = self._hash.copy()
        mac.update(b"%d:%b" % (sequence, raw))
        return Cursor(self.epoch, sequence, b2a_base64(mac.digest(), newline=False).translate(_URL_SAFE).decode())

    def bare(self, sequence: int) -> Cursor:
        """Return the cursor of a position whose own entry is not retained."""
        return Cursor(self.epoch, sequence)


@dataclass(frozen=True, slots=True)
class Start:
    """
    Where to start reading; just one of these holds.

    `cursor`: after it. `sequence`: after that number of the present log (0 is `earliest`). `tail`: so that the last N matching
    events come first (0 is `latest`). `replaced`: from the earliest, after a reset: the position named could not be read.
    """

    cursor: Cursor | None = None
    sequence: int | None = None
    tail: int | None = None
    replaced: bool = False

    @property
    def earliest(self) -> bool:
        """Whether this is the log's beginning, wherever that lies."""
        return self.sequence == 0


EARLIEST, LATEST, REPLACED = Start(sequence=0), Start(tail=0), Start(replaced=True)


def parse_start(text: str) -> Start:
    """Read the `cursor` parameter; InvalidCursor where it is neither a cursor, `earliest`, `latest` nor an integer >= 0."""
    if text == "latest":
        return LATEST
    if text == "earliest":
        return EARLIEST
    if _NUMBER.fullmatch(text):
        return Start(sequence=int(text))
    return Start(cursor=Cursor.parse(text))
