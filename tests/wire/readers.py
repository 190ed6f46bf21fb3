"""The three streaming transports behind one face: frames as section 3 of the protocol has them."""

from __future__ import annotations

import json
import socket
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.wire.exchange import DEADLINE, Exchange
from tests.wire.sse import Decoder, Message

Transport = Literal["sse", "websocket", "socket"]
TRANSPORTS: tuple[Transport, ...] = ("sse", "websocket", "socket")

Frame = dict[str, Any]
Event = dict[str, Any]
Value = str | int | Sequence[str | int]
Headers = Sequence[tuple[str | bytes, str | bytes]]


class Ended(Exception):
    """The server ended the stream; `code` is the close code of a WebSocket."""

    def __init__(self, code: int | None = None) -> None:
        """Keep the code."""
        super().__init__(f"the stream ended (code {code})")
        self.code = code


class Refused(AssertionError):
    """A stream was not opened; `status` is the answer's."""

    def __init__(self, status: int, answer: object) -> None:
        """Keep the status."""
        super().__init__(f"{status}: {answer!r}")
        self.status = status


class Reader(ABC):
    """One subscription, read frame by frame. `frames` keeps every frame that was read."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self.frames: list[Frame] = []

    @abstractmethod
    def receive(self, timeout: float) -> Frame:
        """Return the next frame; Ended at the end of the stream, TimeoutError if none comes."""

    @abstractmethod
    def close(self) -> None:
        """Leave; harmless when left already."""

    def cut(self) -> None:
        """Leave without a word, where that is another thing."""
        self.close()

    def next(self, timeout: float = DEADLINE) -> Frame:
        """Return the next frame, and keep it."""
        frame = self.receive(timeout)
        self.frames.append(frame)
        return frame

    def until(self, kind: str, timeout: float = DEADLINE) -> Frame:
        """Return the first frame from now on that is of this type."""
        deadline = time.monotonic() + timeout
        while True:
            frame = self.next(max(deadline - time.monotonic(), 0.001))
            if frame["type"] == kind:
                return frame

    def take(self, count: int, timeout: float = DEADLINE) -> list[Event]:
        """Return the events of the next frames, until there are at least `count` of them."""
        deadline = time.monotonic() + timeout
        events: list[Event] = []
        while len(events) < count:
            frame = self.next(max(deadline - time.monotonic(), 0.001))
            if frame["type"] == "forum.error":
                raise AssertionError(frame)
            events.extend(frame.get("events", ()))
        return events

    def take_to(self, sequence: int, timeout: float = DEADLINE) -> list[Event]:
        """Return the events of the next frames, up to and including the one with this sequence."""
        deadline = time.monotonic() + timeout
        events: list[Event] = []
        while not events or events[-1]["sequence"] < sequence:
            events.extend(self.take(1, max(deadline - time.monotonic(), 0.001)))
        return events

    def to_the_end(self, timeout: float = DEADLINE) -> Ended:
        """Read on until the server ends the stream."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.next(max(deadline - time.monotonic(), 0.001))
            except Ended as end:
                return end

    def of(self, kind: str) -> list[Frame]:
        """Return the frames of one type among those read."""
        return [frame for frame in self.frames if frame["type"] == kind]

    @property
    def events(self) -> list[Event]:
        """All events read so far."""
        return [event for frame in self.frames for event in frame.get("events", ())]


class SseReader(Reader):
    """`GET stream`. A message without an `event:` field counts as a frame of one event."""

    def __init__(self, url: str, *, headers: Headers = (), receive_buffer: int | None = None) -> None:
        """Open the stream; Refused if it is."""
        super().__init__()
        self.exchange = Exchange(url, headers=headers, receive_buffer=receive_buffer)
        self.messages: list[Message] = []
        self._decoder = Decoder()
        self._pending: deque[Message] = deque()
        if self.exchange.status != 200:
            answer = self.exchange.read_all()
            self.exchange.close()
            raise Refused(self.exchange.status, answer)

    def message(self, timeout: float) -> Message:
        """Return the next block of the stream, comments and retry lines included."""
        deadline = time.monotonic() + timeout
        while not self._pending:
            data = self.exchange.read(max(deadline - time.monotonic(), 0.001))
            if not data:
                assert not self._decoder.pending, "the stream ended inside a message"
                raise Ended
            self._pending.extend(self._decoder.feed(data))
        message = self._pending.popleft()
        self.messages.append(message)
        return message

    def receive(self, timeout: float) -> Frame:
        """Return the next message that carries data, as a frame."""
        deadline = time.monotonic() + timeout
        while True:
            message = self.message(max(deadline - time.monotonic(), 0.001))
            if message.data:
                return self._frame(message)

    def close(self) -> None:
        """Cut the connection."""
        self.exchange.close()

    def cut(self) -> None:
        """Have the server get a reset."""
        self.exchange.reset()

    def _frame(self, message: Message) -> Frame:
        document: dict[str, Any] = json.loads(message.text)
        if message.event is None:
            assert message.id == document["cursor"]
            return {"type": "forum.events", "events": [document], "next_cursor": message.id}
        assert message.event == document["type"]
        assert message.id == document.get("next_cursor")
        return document


class WebSocketReader(Reader):
    """`GET stream` with an upgrade."""

    def __init__(self, url: str, *, headers: Headers = (), receive_buffer: int | None = None) -> None:
        """Open the stream; websockets' InvalidStatus if it is refused."""
        super().__init__()
        self.connection = open_websocket(url, headers, receive_buffer)

    def receive(self, timeout: float) -> Frame:
        """Return the next message."""
        return receive_json(self.connection, timeout)

    def close(self) -> None:
        """Leave with a close frame."""
        self.connection.close()

    def cut(self) -> None:
        """Leave without a close frame."""
        self.connection.close_socket()


class SocketReader(Reader):
    """One subscription of a `socket`, by default on a connection of its own; the frames' `id` is taken off."""

    def __init__(self, url: str, command: Mapping[str, Any], *, headers: Headers = ()) -> None:
        """Connect and subscribe; AssertionError if the subscription is refused."""
        super().__init__()
        self.connection = open_websocket(url, headers)
        self.connection.send(json.dumps({"type": "subscribe", "id": "s", **command}))
        self.subscribed = self._receive(DEADLINE)
        assert self.subscribed["type"] == "subscribed", self.subscribed

    def receive(self, timeout: float) -> Frame:
        """Return the subscription's next frame."""
        return self._receive(timeout)

    def close(self) -> None:
        """Leave with a close frame."""
        self.connection.close()

    def _receive(self, timeout: float) -> Frame:
        frame = receive_json(self.connection, timeout)
        if frame["type"] != "forum.error":
            assert frame.pop("id") == "s", frame
        return frame


def open_websocket(url: str, headers: Headers = (), receive_buffer: int | None = None) -> ClientConnection:
    """
    Upgrade; no compression, no proxy, messages of any size.

    With a `receive_buffer` (bytes) the client takes in next to nothing that it was not asked for.
    """
    text = [(_str(name), _str(value)) for name, value in headers]
    sock = None
    if receive_buffer is not None:
        parts = urlsplit(url)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            sock.connect((parts.hostname, parts.port))
        except OSError:
            sock.close()
            raise
    opening = connect(
        url.replace("http", "ws", 1),
        additional_headers=text,
        compression=None,
        max_size=None,
        max_queue=1 if sock else 16,
        sock=sock,
        proxy=None,
        open_timeout=DEADLINE,
        close_timeout=0.5,
    )
    return opening.__enter__()  # a connection is a context manager itself: whoever asked for it leaves it


def receive_json(connection: ClientConnection, timeout: float = DEADLINE) -> Frame:
    """Return the next message of a WebSocket, which must be one JSON object in a text frame."""
    try:
        text = connection.recv(timeout)
    except ConnectionClosed:
        raise Ended(connection.close_code) from None
    assert isinstance(text, str)
    document: Frame = json.loads(text)
    return document


def receive_to_the_end(connection: ClientConnection, timeout: float = DEADLINE) -> tuple[list[Frame], int | None]:
    """Return the messages of a WebSocket up to its end, and the close code."""
    frames: list[Frame] = []
    while True:
        try:
            frames.append(receive_json(connection, timeout))
        except Ended as end:
            return frames, end.code


def open_reader(
    transport: Transport, base: str, params: Mapping[str, Value | None] | None = None, headers: Headers = ()
) -> Reader:
    """Open a stream of the forum at `base` over a transport, with the parameters of section 2."""
    given = {name: value for name, value in (params or {}).items() if value is not None}
    if transport == "socket":
        types = [each for name in ("type", "event_type") for each in _listed(given.pop(name, ()))]
        return SocketReader(f"{base}/socket", {**given, "event_type": types} if types else given, headers=headers)
    url = stream_url(base, given)
    return SseReader(url, headers=headers) if transport == "sse" else WebSocketReader(url, headers=headers)


def stream_url(base: str, params: Mapping[str, Value]) -> str:
    """Return the address of a stream, with the parameters of section 2."""
    query = urlencode(params, doseq=True)
    return f"{base}/stream?{query}" if query else f"{base}/stream"


def _listed(value: Value) -> Sequence[str | int]:
    return [value] if isinstance(value, str | int) else value


def _str(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("latin-1")
