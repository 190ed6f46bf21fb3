"""Carrying out a plan on a real forum, in one event loop, and recording what each client got."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from unittest import mock

from asgi_forum import Forum, ForumEvent, Limits
from asgi_forum.cursor import Cursor
from asgi_forum.errors import SourceUnavailable
from asgi_forum.hub import beginning as hub_beginning
from asgi_forum.hub import reader as hub_reader
from asgi_forum.hub import reads as hub_reads
from asgi_forum.models import Receipt
from asgi_forum.sources import MemorySource
from asgi_forum.sources import memory as memory_source
from tests.properties.checker import Keep, Logged, Run, Seen, Session
from tests.properties.clients import Client, connect
from tests.properties.driver import TURNS, PatientLoop, patiently, turns
from tests.properties.plans import (
    FENCE,
    NOISE,
    Cut,
    Fault,
    Gap,
    Open,
    Params,
    Pass,
    Plan,
    Publish,
    Step,
    Take,
    fields_of,
    params_of,
)
from tests.properties.starts import starts_of
from tests.wire.sources import DistantSource, HalfNearSource

__all__ = ["run"]


def run(plan: Plan) -> Run:
    """Carry out a plan in a loop of its own, where time passes only as the plan says."""
    with (
        mock.patch.object(hub_reads, "BLOCK", min(plan.page, hub_reads.BLOCK)),
        mock.patch.multiple(hub_reader, BLOCK=min(plan.page, hub_reads.BLOCK), _SCAN=plan.page),
        mock.patch.object(hub_beginning, "_PAGE", plan.page),
        mock.patch.object(memory_source, "_FOLLOW_PAGE", plan.page),
        asyncio.Runner(loop_factory=PatientLoop) as runner,
    ):
        return runner.run(History(plan).play())


class Reader:
    """One reader through all its connections: the client of the moment, and a session for each connection."""

    def __init__(self, opened: Open, params: Params) -> None:
        """Begin without a client."""
        self.opened = opened
        self.params = params
        self.client: Client | None = None
        self.cursor: str | None = None
        self.asked: Params = params
        self.session = Session(Keep(), ())
        self.lowest = self.earliest = 0
        self.highest: int | None = None
        self.gone = False

    @property
    def position(self) -> int:
        """The last position that it saw on this connection; -1 before the first."""
        return next((seen.position for seen in reversed(self.session.seen) if seen.position is not None), -1)


class History:
    """A plan on its way: the log as it was published, and the readers."""

    def __init__(self, plan: Plan) -> None:
        """Make a forum with the plan's settings."""
        self.plan = plan
        self.source = (HalfNearSource if plan.near else DistantSource)(MemorySource(retain=plan.retain), laps=plan.laps)
        self.source.hidden = set(range(3, 3000, 3)) if plan.holes else set()
        self.begun: dict[str, int] = {}
        self.patience = plan.patience
        limits = Limits(
            tail_bytes=plan.tail_bytes,
            frame_bytes=plan.frame_bytes,
            page_bytes=plan.frame_bytes,
            page_scan=plan.page_scan,
            max_lag=plan.max_lag,
        )
        self.forum = Forum(
            self.source, heartbeat=plan.heartbeat, limits=limits, on_lag=plan.on_lag, handle_signals=False
        )
        self.log: list[Logged] = []
        self.readers: list[Reader] = []
        self.sessions: list[Session] = []

    async def play(self) -> Run:
        """Carry out every step, then let every reader catch up with the log's end."""
        await patiently(self.forum.health())
        await self._note_epoch()
        for step in self.plan.steps:
            await self._do(step)
        await self._finish()
        trimmed = await self._trimmed()
        await patiently(self.forum.aclose())
        beginnings = list(self.begun.values())[1:]
        skips = self.plan.on_lag == "skip"
        may = (("trimmed", trimmed), ("skipped", skips), ("replaced", beginnings))
        return Run(self.log, self.sessions, trimmed, {name for name, found in may if found}, beginnings)

    async def _do(self, step: Step) -> None:
        if isinstance(step, Publish):
            await self._publish(step)
        elif isinstance(step, Open):
            reader = Reader(step, params_of(step, self.log))
            self.readers.append(reader)
            await self._connect(reader)
        elif isinstance(step, Pass):
            self._pass(step.seconds)
        elif isinstance(step, Fault) and step.kind == "replace":
            self.source.replace(MemorySource(retain=self.plan.retain))
            await self._note_epoch()
        elif isinstance(step, Fault):
            self._fault(step)
        elif isinstance(step, Gap):
            self.source.cut()
            await turns(self.patience)
            await self._publish(step.publish)
            self._pass(1.0)
            await turns()
        elif self.readers:
            reader = self.readers[step.reader % len(self.readers)]
            await (self._take(reader, step) if isinstance(step, Take) else self._cut(reader, step))

    def _pass(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, PatientLoop)
        loop.move(seconds)

    def _fault(self, fault: Fault) -> None:
        faults = {
            "leave": self.source.leave,
            "come back": self.source.come_back,
            "cut": self.source.cut,
            "hold back": self.source.hold_back,
            "let flow": self.source.let_flow,
            "lose": self.source.lose,
        }
        faults[fault.kind]()

    async def _publish(self, step: Publish) -> None:
        events = [ForumEvent.model_validate(fields_of(*event)) for event in step.events]
        try:
            work = self.source.append(*events) if step.elsewhere else self.forum.publish_many(events)
            receipts: list[Receipt] = await patiently(work)
        except SourceUnavailable as error:
            if error.outcome != "not_published":
                raise
            return
        for receipt, (ticket, event_type) in zip(receipts, step.events, strict=True):
            lost = receipt.sequence in self.source.hidden
            self.log.append(self._numbered(Logged(receipt.sequence, ticket, event_type, receipt.cursor, lost)))

    async def _note_epoch(self) -> None:
        """Remember where the present log begins: all logs are numbered through."""
        self.begun[(await self.source.log.read(0, 0)).epoch] = len(self.log)

    def _numbered(self, event: Logged) -> Logged:
        return replace(event, sequence=event.sequence + self.begun[Cursor.parse(event.cursor).epoch])

    def _placed(self, seen: Seen, cursor: str | None) -> Seen:
        """Number what a client saw through all logs; `cursor` is what `seen.position` was read from."""
        if seen.position is None or cursor is None:
            return seen
        events = tuple(self._numbered(event) for event in seen.events)
        return replace(seen, events=events, position=seen.position + self.begun[Cursor.parse(cursor).epoch])

    async def _connect(self, reader: Reader) -> None:
        """Connect, from the last cursor that was seen if there is one."""
        reader.lowest, reader.earliest = len(self.log), await self._trimmed()
        reader.asked = reader.params if reader.cursor is None else {"cursor": reader.cursor}
        quiet = reader.opened.kind == "events"
        about, limit = f"{reader.opened} from {reader.cursor}", reader.opened.limit
        reader.session = Session(reader.opened.keep, (), about=about, quiet=quiet, limit=limit)
        self.sessions.append(reader.session)
        reader.client = connect(self.forum, reader.opened.kind, reader.params, reader.cursor)
        await turns(self.patience)
        # On /socket it begins only when the answer to the upgrade is taken.
        prompt = (
            self.patience >= TURNS and self.plan.laps == 1 and not self.source.away and reader.opened.kind != "socket"
        )
        reader.highest = len(self.log) if prompt else None

    async def _take(self, reader: Reader, step: Take) -> None:
        for _ in range(step.count):
            if not await self._step(reader):
                return

    async def _step(self, reader: Reader) -> bool:
        """Take one frame, if one is ready, and record it."""
        client = reader.client
        if client is None:
            return False
        seen = await client.step(self.patience)
        if seen is not None:
            seen = self._placed(seen, client.cursor)
            if not reader.session.starts and seen.position is not None:
                highest = len(self.log) if reader.highest is None else reader.highest
                ends = range(reader.lowest, highest + 1)
                firsts = range(reader.earliest, await self._trimmed() + 1)
                starts = starts_of(self.log, reader.session.keep, reader.asked, ends, firsts, self.begun)
                reader.session.starts = starts
            reader.session.seen.append(seen)
        reader.cursor = client.cursor or reader.cursor
        if client.ended:
            reader.client = None
        return seen is not None

    async def _cut(self, reader: Reader, step: Cut) -> None:
        if reader.client is not None:
            await patiently(reader.client.cut())
            reader.client = None
        reader.gone = not step.back
        if step.back:
            await self._connect(reader)

    async def _trimmed(self) -> int:
        """The sequence up to which nothing is retained."""
        page = await self.source.log.read(0, 0)
        return self.begun[page.epoch] + page.start.sequence

    async def _finish(self) -> None:
        """End all faults, and let each reader that has not gone catch up; one that the server ended comes back."""
        self.source.come_back()
        self.source.let_flow()
        self.patience = 3 * TURNS
        for _ in range(100):
            if (await patiently(self.forum.health()))["status"] == "ok":
                break
            self._pass(0.5)
            await turns()
        else:
            raise AssertionError("the outage is over, and the forum has not noticed")
        for _ in range(
            6
        ):  # now readers that began during an outage fix their position, and ask for refused pages again
            self._pass(1.0)
            for reader in self.readers:
                await self._step(reader)
        if self.plan.lossy:
            self.source.hold_back()
            await self._publish(NOISE)
            self.source.lose()
            self.source.let_flow()
        for _ in range(self.plan.rounds):
            await self._publish(FENCE)
            await self._publish(NOISE)
            await turns(self.plan.patience)
        for reader in self.readers:
            if not reader.gone:
                await self._catch_up(reader)
            if reader.client is not None:
                await patiently(reader.client.cut())

    async def _catch_up(self, reader: Reader) -> None:
        """Let a reader read on to the log's end. No time passes: what is there comes, and not with the next heartbeat."""
        last = max((event.sequence for event in self.log if reader.session.keep.matches(event)), default=0)
        quiet = 0
        while reader.position < last and quiet < 20:
            if reader.client is None:
                await self._connect(reader)
            quiet = 0 if await self._step(reader) else quiet + 1
        reader.session.whole = True  # if it did not come so far, that is what the judge will say
