"""Histories of several lines: clients that are quick, slow, stuck or lost, in whatever order things happen to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_forum.errors import ShuttingDown
from asgi_forum.frames import Frame
from tests.events import draft
from tests.hub.bench import until
from tests.streams.takers import Stage, Taker, stage, turns
from tests.wire.sources import DistantSource

pytestmark = pytest.mark.anyio

AT_ONCE, STUCK, LOST, LOST_LATER = 0, -1, -2, -3
"""What may become of a frame; a positive number takes so many turns of the loop."""

Plan = Sequence[tuple[str, int, int]]
"""What happens, one after the other: a word, whom or what it is about, and how many turns of the loop follow."""


@dataclass
class Client:
    """A client that takes its first frames as drawn, and what follows at once; `freed` lets all go on."""

    ways: deque[int]
    freed: anyio.Event = field(default_factory=anyio.Event)
    lost: bool = False

    def __call__(self, frame: Frame) -> Awaitable[None] | None:
        """Take a frame."""
        way = self.ways.popleft() if self.ways else AT_ONCE
        return None if way == AT_ONCE or self.freed.is_set() else self._take(way)

    async def _take(self, way: int) -> None:
        if way == STUCK:
            await self.freed.wait()
        elif way in (LOST, LOST_LATER):
            self.lost = True
            if way == LOST_LATER:
                await turns(2)
            raise ConnectionResetError
        else:
            await turns(way)


class History:
    """One run: the log, and who came in where."""

    def __init__(self, made: Stage, source: DistantSource) -> None:
        """Begin with an empty log."""
        self.made = made
        self.source = source
        self.log: list[str] = []
        self.entered: list[tuple[Taker, Client, int, str | None]] = []

    def enter(self, ways: Sequence[int], ticket: str | None, limit: int) -> None:
        """Bring in a client that wants what follows from here on."""
        client, start = Client(deque(ways)), len(self.log)
        wish = {} if ticket is None else {"ticket": ticket}
        taker = self.made.bring_in(client, start=str(start), limit=limit, **wish)
        self.entered.append((taker, client, start, ticket))

    async def publish(self, number: int) -> None:
        """Publish, one to three events."""
        ticket = f"T-{number % 2}"
        count = 1 + number % 3
        self.log += [ticket] * count
        await self.source.append(*[draft(ticket=ticket)] * count)

    async def do(self, what: str, number: int) -> None:
        """Have one thing happen."""
        if what == "publish":
            await self.publish(number)
        elif what == "cut":
            self.source.cut()
        elif self.entered:
            taker, client, _, _ = self.entered[number % len(self.entered)]
            if what == "leave":
                taker.gone.set()
            elif what == "end":
                taker.feed.end(ShuttingDown())
            elif what == "free":
                client.freed.set()
            elif what == "wake":
                taker.feed.reader.wake()
            elif what == "cancel" and taker.task is not None and not taker.ended.is_set():
                taker.cancelled += 1
                taker.task.cancel()

    def expected(self, start: int, ticket: str | None) -> list[int]:
        """What a client has to get."""
        numbered = enumerate(self.log[start:], start + 1)
        return [sequence for sequence, its in numbered if ticket in (None, its)]

    async def judge(self) -> None:
        """Free all, and hold what came against the log: all of it for who is still there, else up to where it broke off."""
        for _, client, _, _ in self.entered:
            client.freed.set()
        for taker, client, start, ticket in self.entered:
            expected = self.expected(start, ticket)
            await until(partial(self._done, taker, client, expected))
            assert taker.events == expected[: len(taker.events)]
            assert taker.faults == []

    @staticmethod
    def _done(taker: Taker, client: Client, expected: list[int]) -> bool:
        """Whether one is where it has to come to: lost connections end, as do those that were ended."""
        return taker.ended.is_set() or (taker.events == expected and not client.lost and taker.feed.ended is None)


@st.composite
def clients(draw: st.DrawFn) -> tuple[list[int], str | None, int]:
    """How one takes its frames, what it wants, and how much of it at once."""
    ways = draw(st.lists(st.sampled_from([AT_ONCE, 1, 2, 5, STUCK]), max_size=6))
    if draw(st.integers(0, 5)) == 0:
        ways.append(draw(st.sampled_from([LOST, LOST_LATER])))
    return ways, draw(st.sampled_from([None, "T-0", "T-1"])), draw(st.sampled_from([1, 2, 100]))


def plans() -> st.SearchStrategy[Plan]:
    """What happens."""
    words = ["publish"] * 6 + ["enter"] * 3 + ["leave", "end", "cancel", "free", "free", "wake", "cut"]
    return st.lists(
        st.tuples(st.sampled_from(words), st.integers(0, 11), st.sampled_from([0, 0, 1, 2, 3, 10])), max_size=40
    )


@settings(max_examples=300)
@given(st.lists(clients(), min_size=1, max_size=12), plans(), st.sampled_from([1500, 10**6]))
async def test_each_gets_what_matches_in_order_and_once(
    drawn: list[tuple[list[int], str | None, int]], plan: Plan, tail_bytes: int
) -> None:
    """Without a gap, never two sends at once, and nothing after `serve` has returned; whatever the others do."""
    source = DistantSource()
    async with stage(source, tail_bytes=tail_bytes) as made:
        history = History(made, source)
        waiting = deque(drawn)
        history.enter(*waiting.popleft())
        for what, number, pause in plan:
            if what == "enter":
                if waiting:
                    history.enter(*waiting.popleft())
            else:
                await history.do(what, number)
            await turns(pause)
        await history.judge()
