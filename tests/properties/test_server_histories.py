"""Histories on a real server, over real sockets, judged by the same judge."""

from __future__ import annotations

from contextlib import ExitStack

from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_forum import Forum, Limits
from tests.properties.checker import Logged, Run, Session, check_delivery
from tests.properties.clients import seen_of
from tests.properties.plans import FENCE, Cut, Fault, Kind, Open, Plan, Publish, Step, Take, fields_of, params_of, plans
from tests.properties.starts import starts_of
from tests.wire.host import Board, Host
from tests.wire.readers import Reader, open_reader
from tests.wire.sources import DistantSource

KINDS: tuple[Kind, ...] = ("sse", "websocket", "socket")


class Line:
    """One reader of a plan, through all its connections."""

    def __init__(self, opened: Open) -> None:
        """Begin without a connection."""
        self.opened = opened
        self.cursor: str | None = None
        self.reader: Reader | None = None
        self.session = Session(opened.keep, ())
        self.end = 0


class ServedHistory:
    """A plan that is carried out against a server. A heartbeat every few milliseconds: there is always a next frame."""

    def __init__(self, board: Board, source: DistantSource) -> None:
        """Begin with an empty log."""
        self.board = board
        self.source = source
        self.log: list[Logged] = []
        self.sessions: list[Session] = []
        self.lines: list[Line] = []

    def play(self, plan: Plan) -> Run:
        """Carry out every step, then read every open stream up to the log's end."""
        self.board.page()
        for step in plan.steps:
            self._do(step)
        self._publish(FENCE)
        for line in self.lines:
            if line.reader is not None:
                last = max(event.sequence for event in self.log if line.session.keep.matches(event))
                while not line.session.seen or (line.session.seen[-1].position or 0) < last:
                    self._take(line, 1)
                line.session.whole = True
        return Run(self.log, self.sessions, 0, ())

    def _do(self, step: Step) -> None:
        if isinstance(step, Publish):
            self._publish(step)
        elif isinstance(step, Fault) and step.kind == "cut":
            self.board.host.call(self.source.cut)
        elif isinstance(step, Open):
            self.lines.append(Line(step))
            self._connect(self.lines[-1])
        elif self.lines and isinstance(step, Take | Cut):
            line = self.lines[step.reader % len(self.lines)]
            if isinstance(step, Take):
                self._take(line, step.count)
            elif line.reader is not None:
                line.reader.close()
                line.reader = None
                if step.back:
                    self._connect(line)

    def _publish(self, step: Publish) -> None:
        drafts = [fields_of(*event) for event in step.events]
        for receipt, (ticket, event_type) in zip(self.board.publish(*drafts), step.events, strict=True):
            self.log.append(Logged(receipt.sequence, ticket, event_type, receipt.cursor))

    def _connect(self, line: Line) -> None:
        params = dict(params_of(line.opened, self.log))
        headers: list[tuple[str, str]] = []
        if line.cursor is not None and line.opened.kind == "sse":
            headers = [("Last-Event-ID", line.cursor)]
        elif line.cursor is not None:
            params.pop("tail", None)
            params["cursor"] = line.cursor
        line.end = len(self.log)
        line.session = Session(line.opened.keep, (), about=f"{line.opened} from {line.cursor}")
        self.sessions.append(line.session)
        assert line.opened.kind in ("sse", "websocket", "socket")
        line.reader = self.board.keep(open_reader(line.opened.kind, self.board.url, params, headers))
        if line.cursor is not None:
            params = {"cursor": line.cursor}
        ends = range(line.end, len(self.log) + 1)
        line.session.starts = starts_of(self.log, line.session.keep, params, ends, range(1))

    def _take(self, line: Line, count: int) -> None:
        for _ in range(count if line.reader is not None else 0):
            assert line.reader is not None
            frame = line.reader.next()
            line.cursor = frame.get("next_cursor", line.cursor)
            line.session.seen.append(seen_of(frame))


def test_histories_on_a_server(host: Host) -> None:
    """Over real sockets, with cuts of clients and of the feed, every reader gets every match once."""

    @settings(max_examples=25)
    @given(plans(KINDS, faults=True), st.sampled_from([0.005, 0.02]))
    def judged(plan: Plan, heartbeat: float) -> None:
        limits = Limits(tail_bytes=plan.tail_bytes, frame_bytes=plan.frame_bytes, page_bytes=plan.frame_bytes)
        source = DistantSource()
        forum = Forum(source, heartbeat=heartbeat, limits=limits)
        with ExitStack() as stack:
            stack.callback(lambda: host.run(forum.aclose()))
            check_delivery(ServedHistory(Board(host, forum, stack), source).play(plan))

    judged()
