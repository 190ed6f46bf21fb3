"""
The demo's agents: they ask, answer and work through a public forum as any program could, over HTTP, by `asgi_forum.client`.

`python -m demo` starts them along with the server; `python -m demo.agents` runs them by themselves. What they know they
derive from the stream, so they may be stopped, started and even run twice: what answers a person has an id that follows
from the question's, and the forum takes it once.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import click
import httpx2
from anyio.abc import TaskGroup

from asgi_forum import EventIdConflict, ForumError, ForumEvent, ForumReset, StoredEvent
from asgi_forum.client import connect, publish, read
from demo.conversations import Conversation, Situation, Step, answer, conversations, second_opinion

__all__ = ["run"]

AGENTS = ("planner", "coder-1", "coder-2", "reviewer", "tester")
ANSWERING = ("planner", "coder-1", "coder-2", "reviewer")
BUSY_FOR = 40
"""Conversations after which the agents talk less, so that a demo left alone doesn't fill up."""

_TYPES = {
    "post": "forum.post.added", "assign": "forum.assigned", "state": "forum.state.changed",
    "priority": "forum.priority.changed", "close": "forum.thread.closed",
}  # fmt: skip
_FIELDS = {"post": "body", "assign": "assignee", "state": "state", "priority": "priority", "close": "resolution"}


@dataclass(slots=True)
class Thread:
    """A thread as the agents see it."""

    thread_id: str
    ticket: str
    run_id: str | None
    title: str = ""
    closed: bool = False
    assignee: str | None = None
    last_human: str | None = None
    """The id of the newest thing that a person wrote."""


@dataclass(slots=True)
class World:
    """What the agents know, from the stream alone."""

    threads: dict[str, Thread] = field(default_factory=dict[str, Thread])
    runs: dict[str, str] = field(default_factory=dict[str, str])

    def take(self, event: StoredEvent) -> Thread | None:
        """Take in one event; returns its thread where a person wrote something in it."""
        envelope, payload = event.envelope, event.payload
        if envelope.event_type == "forum.control.signal" and envelope.run_id:
            self.runs[envelope.run_id] = str(payload.get("signal"))
        if envelope.thread_id is None:
            return None
        fresh = Thread(envelope.thread_id, envelope.ticket, envelope.run_id)
        thread = self.threads.setdefault(envelope.thread_id, fresh)
        if envelope.event_type == "forum.thread.opened":
            thread.title = str(payload.get("title", ""))
        elif envelope.event_type == "forum.assigned":
            thread.assignee = payload.get("assignee")
        elif envelope.event_type in ("forum.thread.closed", "forum.state.changed"):
            thread.closed = envelope.event_type == "forum.thread.closed"
        if envelope.actor_type != "human" or envelope.event_type not in ("forum.thread.opened", "forum.post.added"):
            return None
        thread.last_human = envelope.event_id
        return thread

    def works(self, run_id: str | None) -> bool:
        """Whether agents may work in a run: not while it is paused or stopped."""
        return self.runs.get(run_id or "") not in ("pause", "stop")

    def around(self, thread: Thread, asker: str) -> Situation:
        """Return how things stand around a thread."""
        others = [
            each
            for each in self.threads.values()
            if each.ticket == thread.ticket and not each.closed and each is not thread
        ]
        return Situation(asker, thread.ticket, thread.run_id, len(others) + 1, others[-1].title if others else None)


class Crew:
    """The agents, at one forum. `pace` stretches their pauses: 1 is that of people who type fast."""

    def __init__(self, url: str, key: str, http: httpx2.AsyncClient, *, seed: int | None, pace: float) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._http = http
        self._rng = random.Random(seed)
        self._pace = pace
        self._world = World()
        self._changed = anyio.Event()
        self._conversations = conversations(self._rng)
        self._told = 0

    async def open(self) -> None:
        """Give an empty forum something to read: conversations of the last hours."""
        if (await read(self._url, limit=1, http=self._http)).events:
            return
        now = datetime.now(UTC)
        events: list[ForumEvent] = []
        for number in range(10):
            conversation = next(self._conversations)
            start = now - timedelta(minutes=190 - 18 * number + self._rng.uniform(0, 8))
            times = [
                start + timedelta(seconds=40 * index + self._rng.uniform(0, 25))
                for index in range(len(conversation.steps) + 1)
            ]
            thread = self._thread_of(conversation)
            events.append(self._opening(conversation, thread, times[0]))
            events += [self._event(thread, step, at) for step, at in zip(conversation.steps, times[1:], strict=True)]
        await self._publish(*sorted(events, key=lambda event: event.occurred_at or now))

    async def follow(self, tasks: TaskGroup) -> None:
        """Follow the forum for ever, and have each thing that a person writes answered."""
        async with connect(self._url, cursor="earliest", limit=1000) as events:
            while True:
                try:
                    async for event in events:
                        self._take(event, tasks)
                except ForumReset:
                    self._world = World()  # another log: what was known is of the old one

    def _take(self, event: StoredEvent, tasks: TaskGroup) -> None:
        thread = self._world.take(event)
        self._changed.set()
        self._changed = anyio.Event()
        if thread is not None:
            tasks.start_soon(self._answer, thread, event)

    async def _answer(self, thread: Thread, event: StoredEvent) -> None:
        await self._pause(0.5, 1.0)
        await self._while_paused(thread)
        if not self._current(thread) or thread.closed or thread.last_human != event.envelope.event_id:
            return  # there is nothing to answer any more, or a newer post, which is answered by itself
        asked = event.envelope.event_id
        who = thread.assignee if thread.assignee in AGENTS else self._rng.choice(ANSWERING)
        if thread.assignee is None:
            await self._do(thread, Step(who, "assign", who), f"{asked}.taken")
            await self._pause(0.3, 0.6)
        question = f"{event.payload.get('title', '')} {event.payload.get('body', '')}"
        around = self._world.around(thread, event.envelope.actor_name or "there")
        await self._do(thread, Step(who, "post", answer(question, around, self._rng)), f"{asked}.answer")
        if event.envelope.event_type != "forum.thread.opened":
            return
        await self._do(thread, Step(who, "state", "answered"), f"{asked}.answered")
        if self._rng.random() < 0.4:
            await self._pause(4, 8)
            other = self._rng.choice([name for name in ANSWERING if name != who])
            if not thread.closed:
                await self._do(thread, Step(other, "post", second_opinion(self._rng)), f"{asked}.second")

    async def work(self, begin: float) -> None:
        """Hold conversations for ever; `begin` is the first pause, in seconds."""
        await self._pause(begin, begin)
        while True:
            await self._converse(next(self._conversations))
            self._told += 1
            slower = 1 if self._told < BUSY_FOR else 12
            await self._pause(8 * slower, 20 * slower)

    async def _converse(self, conversation: Conversation) -> None:
        if not self._world.works(conversation.run):
            return
        thread = self._thread_of(conversation)
        await self._publish(self._opening(conversation, thread))
        for step in conversation.steps:
            await self._pause(4, 9)
            known = self._world.threads.get(thread.thread_id)
            if known is None or known.closed:
                return  # a person has closed it, or the forum has another log
            await self._while_paused(known)
            await self._do(known, step)

    async def _while_paused(self, thread: Thread) -> None:
        while not self._world.works(thread.run_id):
            await self._changed.wait()

    def _current(self, thread: Thread) -> bool:
        return self._world.threads.get(thread.thread_id) is thread

    async def _do(self, thread: Thread, step: Step, event_id: str | None = None) -> None:
        if self._current(thread):
            await self._publish(self._event(thread, step, event_id=event_id))

    def _thread_of(self, conversation: Conversation) -> Thread:
        return Thread(f"thr-{uuid4().hex[:12]}", conversation.ticket, conversation.run)

    def _opening(self, conversation: Conversation, thread: Thread, at: datetime | None = None) -> ForumEvent:
        payload = {"title": conversation.title, "body": conversation.body, "priority": conversation.priority}
        return self._made("forum.thread.opened", thread, conversation.who, payload, at)

    def _event(self, thread: Thread, step: Step, at: datetime | None = None, event_id: str | None = None) -> ForumEvent:
        return self._made(_TYPES[step.kind], thread, step.who, {_FIELDS[step.kind]: step.text}, at, event_id)

    def _made(
        self,
        event_type: str,
        thread: Thread,
        who: str,
        payload: dict[str, Any],
        at: datetime | None,
        event_id: str | None = None,
    ) -> ForumEvent:
        return ForumEvent(
            event_type=event_type, ticket=thread.ticket, run_id=thread.run_id, thread_id=thread.thread_id, payload=payload,
            actor_type="agent" if who in AGENTS else "system", actor_name=who, agent_name=who if who in AGENTS else None,
            event_id=event_id, occurred_at=at,
        ).with_id()  # fmt: skip

    async def _publish(self, *events: ForumEvent) -> None:
        while True:
            try:
                await publish(self._url, events, headers=self._headers, http=self._http)
                return
            except EventIdConflict:
                return  # another crew has answered already
            except ForumError as error:
                if not passing(error):
                    raise
                await anyio.sleep(1)  # then the same ids again: it can't become two

    async def _pause(self, least: float, most: float) -> None:
        await anyio.sleep(self._rng.uniform(least, most) * self._pace)


def passing(error: ForumError) -> bool:
    """Whether a refusal will pass: the forum is away, restarting or busy."""
    return error.status in (429, 503)


@asynccontextmanager
async def run(url: str, key: str, *, seed: int | None = None, pace: float = 1.0) -> AsyncGenerator[None, None]:
    """
    Let the agents work at the forum at `url` (`http://host:port/forum`) while the block runs.

    `key` is the app's `agent_key`, `seed` repeats their choices, `pace` stretches their pauses. A forum that is away is waited
    for; one that refuses them ends the block with the refusal (a ForumError, in a group).
    """
    async with httpx2.AsyncClient() as http, anyio.create_task_group() as tasks:
        tasks.start_soon(_work, Crew(url, key, http, seed=seed, pace=pace), tasks)
        yield
        tasks.cancel_scope.cancel()


async def _work(crew: Crew, tasks: TaskGroup) -> None:
    while True:
        try:
            await crew.open()
            break
        except ForumError as error:
            if not passing(error):
                raise
            await anyio.sleep(1)
    tasks.start_soon(crew.work, 3.0)
    tasks.start_soon(crew.work, 12.0)
    await crew.follow(tasks)


async def _run_for_ever(url: str, key: str, seed: int | None, pace: float) -> None:
    async with run(url, key, seed=seed, pace=pace):
        await anyio.sleep_forever()


@click.command()
@click.option("--url", default="http://127.0.0.1:8000/forum", show_default=True, help="The forum's address.")
@click.option("--key", envvar="DEMO_AGENT_KEY", required=True, help="The demo's agent key.")
@click.option("--seed", type=int, help="Repeats the agents' choices.")
@click.option("--pace", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="Above 1 is slower.")
def main(url: str, key: str, seed: int | None, pace: float) -> None:
    """Run the demo's agents against a demo that is running elsewhere."""
    try:
        anyio.run(_run_for_ever, url, key, seed, pace)
    except* ForumError as group:
        raise click.ClickException(str(group.exceptions[0])) from None
    except* KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
