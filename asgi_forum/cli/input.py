"""Reading a file or a pipe in pieces, without waiting for more than is there."""

from __future__ import annotations

import os
import queue
import threading
from typing import IO

__all__ = ["Pieces"]

_PIECE = 2**16
_AHEAD = 8


class Pieces:
    """
    What a file or pipe brings, as it comes: read ahead by a thread, at most 8 pieces of 64 KiB, so that waiting can
    end.

    The thread reads the descriptor itself: one that is stuck in a read would else hold a lock that the interpreter
    needs to exit.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._descriptor = file.fileno()
        self._queue: queue.Queue[bytes | OSError] = queue.Queue(_AHEAD)
        threading.Thread(target=self._read, name="input", daemon=True).start()

    def next(self, timeout: float | None) -> bytes | None:
        """Return the next piece, b"" at the end, None if none comes for `timeout` seconds. Raises OSError."""
        try:
            piece = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(piece, OSError):
            raise piece
        return piece

    def _read(self) -> None:
        piece: bytes | OSError = b"-"
        while piece and not isinstance(piece, OSError):
            try:
                piece = os.read(self._descriptor, _PIECE)
            except OSError as error:
                piece = error
            self._queue.put(piece)
