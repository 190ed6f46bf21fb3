"""
The `text/event-stream` format, decoded without I/O by the rules of the WHATWG (HTML, 9.2.6).

httpx2 has a decoder of its own. It is not used here, because it takes the charset from the answer's header (the
format is always UTF-8), delivers a message that the connection's end has cut behind a CR, and does not tell of ids
and retry lines by themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["EventDecoder", "Message", "MessageTooLarge"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_RETRY = re.compile(r"[0-9]{1,9}", re.ASCII)


class MessageTooLarge(ValueError):
    """A message that is longer than the decoder was told to keep."""


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message: its data, its type (`message` where it named none), and the last event id as of it ("" before the
    first).
    """

    data: str
    event: str = "message"
    id: str = ""


class EventDecoder:
    """
    Bytes in, whole messages out, however the bytes are cut. A message that was begun and not ended is never delivered.

    At most `limit` bytes are kept of a message that has begun; MessageTooLarge beyond that.
    """

    def __init__(self, limit: int = 64 * 2**20) -> None:
        self.last_event_id: str = ""
        self.retry_ms: int | None = None
        self._limit = limit
        self._line = bytearray()
        self._first = True
        self._after_cr = False
        self._data: list[str] = []
        self._size = 0
        self._event = ""
        self._id = ""

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes; return the messages that they complete."""
        if not data:
            return []
        if self._after_cr:  # that CR has ended its line already: this is the rest of a CRLF
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        first, *rest = _LINE_END.split(data)
        self._line += first
        self._check(len(self._line))
        if not rest:
            return []
        lines = [bytes(self._line), *rest]
        self._line = bytearray(lines.pop())
        return [message for message in map(self._take, lines) if message is not None]

    def _check(self, more: int) -> None:
        if self._size + more > self._limit:
            raise MessageTooLarge(f"a message of more than {self._limit} bytes")

    def _take(self, line: bytes) -> Message | None:
        if self._first:
            self._first, line = False, line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        self._check(len(line))
        name, _, value = line.decode("utf-8", "replace").partition(":")
        self._field(name, value.removeprefix(" "), len(line))
        return None

    def _field(self, name: str, value: str, size: int) -> None:
        if name == "data":
            self._data.append(value)
            self._size += size
        elif name == "event":
            self._event = value
        elif name == "id":
            if "\0" not in value:
                self._id = value
        elif name == "retry" and _RETRY.fullmatch(value):
            self.retry_ms = int(value)

    def _dispatch(self) -> Message | None:
        self.last_event_id = self._id
        data, event = self._data, self._event
        self._data, self._event, self._size = [], "", 0
        return Message("\n".join(data), event or "message", self.last_event_id) if data else None
