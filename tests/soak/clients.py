"""Readers who use `asgi_forum.client`, which comes back by itself."""

from __future__ import annotations

import json
from contextlib import aclosing

import anyio

from asgi_forum.client import connect
from asgi_forum.frames import Frame
from tests.properties.checker import Violation
from tests.soak.lines import Line
from tests.soak.scene import PATIENCE

__all__ = ["ClientLine"]


class ClientLine(Line):
    """All that one stream of the client's yields is one history, however many connections it took."""

    def connection(self) -> None:
        """Follow until the plan has it leave."""
        record = self.begin(0)
        record.limit = 2**20  # it puts together what came together
        anyio.run(self._follow)

    async def _follow(self) -> None:
        record = self.records[0]
        assert record is not None
        stream = connect(
            self.url,
            **record.ask.params,
            **record.asked,
            transport="sse" if self.plan.kind == "client sse" else "ws",
            heartbeat=max(self.scene.plan.settings.heartbeat, 1.0),
            open_timeout=5.0,
            max_delay=1.0,
        )
        try:
            async with aclosing(stream):
                frames = stream.frames()
                while not self.done and not self.scene.aborted.is_set():
                    with anyio.fail_after(PATIENCE + 10):
                        frame = await anext(frames)
                    self.take(0, self._document(frame))
                    self.check_time()
                    if self.plan.pace and self.scene.now < self.scene.plan.seconds:
                        await anyio.sleep(self.plan.pace)
                    if (move := self.move()) is not None and move.kind != "stall":
                        return
        except TimeoutError as error:
            raise Violation(f"hung: the client waits; {stream.trouble!r}, {self.last}") from error

    def _document(self, frame: Frame) -> dict[str, object]:
        document: dict[str, object] = json.loads(frame.text)
        if document.get("type") == "forum.error":
            document["code"] = document["code"] if document["code"] != "unavailable" else "source_unavailable"
        return document
