"""A decoder of Server-Sent Events that keeps what a browser throws away: absent ids, comments, retry lines."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(slots=True)
class Message:
    """One block of an event stream. A field that had no line is None (`data`: an empty list)."""

    event: str | None = None
    id: str | None = None
    retry: str | None = None
    data: list[str] = field(default_factory=list[str])
    comments: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """The data lines, joined as a browser joins them."""
        return "\n".join(self.data)


class Decoder:
    """Bytes in, whole messages out; lines end with CRLF, LF or CR."""

    def __init__(self) -> None:
        """Begin with an empty stream."""
        self._buffer = b""
        self._message: Message | None = None

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes; return the messages that they complete."""
        *lines, self._buffer = re.split(rb"\r\n|\n|\r(?!\Z)", self._buffer + data)
        done: list[Message] = []
        for line in lines:
            if line:
                self._line(line.decode())
            elif self._message is not None:
                done.append(self._message)
                self._message = None
        return done

    @property
    def pending(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._buffer) or self._message is not None

    def _line(self, line: str) -> None:
        message = self._message = self._message or Message()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "":
            message.comments.append(value)
        elif name == "data":
            message.data.append(value)
        elif name == "event":
            message.event = value
        elif name == "id":
            message.id = value
        elif name == "retry":
            message.retry = value
        else:
            raise ValueError(f"a line that is no field of an event stream: {line!r}")
