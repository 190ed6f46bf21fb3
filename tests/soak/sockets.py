"""A reader with several subscriptions on one connection of `/socket`."""

from __future__ import annotations

import json

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection

from tests.properties.checker import Violation
from tests.soak.lines import GOODBYES, Line
from tests.soak.scene import PATIENCE, Document
from tests.wire.readers import Ended, open_websocket, receive_json

__all__ = ["SocketLine"]


class SocketLine(Line):
    """Now and then it begins one of its subscriptions anew, on the same connection."""

    def connection(self) -> None:
        """Connect, subscribe to all, and read."""
        try:
            connection = open_websocket(f"{self.url}/socket", receive_buffer=4096 if self.plan.narrow else None)
        except InvalidStatus as refused:
            self.judge_refusal(refused)
            return
        except (OSError, EOFError, WebSocketException):
            return
        try:
            for index in range(len(self.plan.asks)):
                self._subscribe(connection, index)
            self._read(connection)
        except TimeoutError as error:
            raise Violation(f"hung: nothing for {PATIENCE} s {self.last}") from error
        except (Ended, OSError, WebSocketException):
            pass
        finally:
            connection.close()

    def _subscribe(self, connection: ClientConnection, index: int) -> None:
        record = self.records[index]
        if record is not None and record.whole:
            return
        record = self.begin(index)
        command = {"type": "subscribe", "id": str(index), **record.ask.params, **record.asked}
        connection.send(json.dumps(command))

    def _read(self, connection: ClientConnection) -> None:
        while not self.done and not self.scene.aborted.is_set():
            frame = receive_json(connection, PATIENCE)
            self._frame(connection, frame)
            self.check_time()
            if self.plan.pace and self.scene.now < self.scene.plan.seconds:
                self.scene.pause(self.plan.pace)
            move = self.move()
            if move is not None and move.kind == "rewind":
                self._resubscribe(connection)
            elif move is not None and move.kind != "stall":
                if move.kind == "rst":
                    connection.close_socket()
                return

    def _resubscribe(self, connection: ClientConnection) -> None:
        """Take one back; the answer to that begins it anew."""
        index = self.chance.randrange(len(self.plan.asks))
        record = self.records[index]
        if record is not None and not record.whole and any(each["type"] == "subscribed" for _, each in record.seen):
            connection.send(json.dumps({"type": "unsubscribe", "id": str(index)}))

    def _frame(self, connection: ClientConnection, frame: Document) -> None:
        if "id" not in frame:
            if frame["type"] != "forum.error" or frame["code"] not in GOODBYES:
                raise Violation(f"ended with {frame}")
            return
        index = int(frame.pop("id"))
        if frame.get("code") == "unknown_id":
            return  # the server has ended it just before it was taken back, and has said so
        if frame["type"] == "unsubscribed" or (frame["type"] == "forum.error" and frame["code"] in GOODBYES):
            if frame.get("code") not in (None, *GOODBYES):
                raise Violation(f"ended with {frame}")
            if frame.get("code") is not None:
                self.scene.pause(0.2)
            self._subscribe(connection, index)
        else:
            self.take(index, frame)
