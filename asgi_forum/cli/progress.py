"""A bar for people who watch: on a terminal only."""

from __future__ import annotations

import os
import stat
import time
from typing import IO, TextIO

__all__ = ["Progress"]

_WIDTH = 30
_USUAL = 80
_EVERY = 0.1


class Progress:
    """
    Shows on `out`, if that is a terminal, how far the reading of `file` is: a bar where its size is known, else a
    count.
    """

    def __init__(self, file: IO[bytes], out: TextIO) -> None:
        about = os.fstat(file.fileno())
        self._size = about.st_size if stat.S_ISREG(about.st_mode) else 0
        self._out = out if out.isatty() else None
        self._read = 0
        self._shown_at = 0.0

    def advance(self, read: int, text: str) -> None:
        """Count bytes that were read, and show `text`; at most ten times a second."""
        self._read += read
        now = time.monotonic()
        if self._out is not None and now - self._shown_at >= _EVERY:
            self._shown_at = now
            # A longer line would wrap, and the next one could not take it back.
            self._out.write(f"\r\x1b[K{(self._bar() + text)[: _columns(self._out) - 1]}")
            self._out.flush()

    def clear(self) -> None:
        """Take the bar away, before something else is written."""
        if self._out is not None:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def _bar(self) -> str:
        if not self._size:
            return ""
        done = min(self._read / self._size, 1.0)
        return f"[{'#' * int(done * _WIDTH):-<{_WIDTH}}] {done:4.0%}  "


def _columns(out: TextIO) -> int:
    try:
        return os.get_terminal_size(out.fileno()).columns or _USUAL
    except OSError:
        return _USUAL
