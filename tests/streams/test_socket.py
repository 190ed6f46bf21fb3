"""Subscriptions that share a connection: whose id is whose, whose turn it is, and how the connection ends."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked
from starlette.requests import HTTPConnection

from asgi_forum import Forbidden, Forum, Limits, Subscription
from tests.events import TYPE
from tests.hub.bench import until
from tests.streams.held import SOCKET, Held, connected, publish
from tests.wire.sources import DistantSource

pytestmark = pytest.mark.anyio


class Line(Held):
    """A connection to `/socket`."""

    def say(self, **command: Any) -> None:
        """Send a command."""
        self.tell("websocket.receive", text=json.dumps(command))

    def about(self, name: str) -> list[str]:
        """The types of the frames with an id."""
        return [frame["type"] for frame in self.frames if frame.get("id") == name]


@asynccontextmanager
async def online(line: Line | None = None, **settings: Any) -> AsyncGenerator[tuple[Forum, Line], None]:
    """A forum, and a connection to its `/socket`."""
    line = line or Line()
    async with connected(line, SOCKET, **settings) as forum:
        yield forum, line


async def hold_busy(forum: Forum, line: Line) -> None:
    """Have the client take nothing, while a frame of the subscription `busy` is on its way."""
    line.say(type="subscribe", id="busy", ticket="busy")
    await until(lambda: "forum.live" in line.about("busy"))
    line.hold()
    await publish(forum, "busy")


# Whose id is whose


async def test_an_id_is_in_use_until_its_refusal_was_said() -> None:
    """Who takes it before is told so, and who takes it after has it, though the first one's task ends last."""
    asked: list[str] = []

    def authorize(_: HTTPConnection, wish: Subscription) -> None:
        asked.append("wish")
        if len(asked) == 2:
            raise Forbidden("not yet")

    async with online(authorize=authorize) as (forum, line):
        await hold_busy(forum, line)
        line.say(type="subscribe", id="a", ticket="mine")
        await until(lambda: len(asked) == 2)
        line.say(type="subscribe", id="a", ticket="mine")
        await wait_all_tasks_blocked()
        line.release()
        await until(lambda: len(line.about("a")) == 2)
        assert {frame["code"] for frame in line.frames if frame.get("id") == "a"} == {"forbidden", "id_in_use"}
        line.say(type="subscribe", id="a", ticket="mine")
        await until(lambda: "forum.live" in line.about("a"))
        line.say(type="unsubscribe", id="a")
        await until(lambda: "unsubscribed" in line.about("a"))


async def test_an_id_is_in_use_until_its_end_was_said() -> None:
    """A subscription that the server has ended, and could not yet say so, does not take its successor with it."""
    asked: list[str] = []

    def authorize(_: HTTPConnection, wish: Subscription) -> Subscription:
        asked.append("wish")
        soon = datetime.now(UTC) + timedelta(seconds=0.3)
        return replace(wish, expires_at=soon if len(asked) == 2 else None)

    async with online(authorize=authorize, heartbeat=2.0) as (forum, line):
        line.say(type="subscribe", id="busy", ticket="busy")
        line.say(type="subscribe", id="a", ticket="mine")
        await until(lambda: "forum.live" in line.about("busy") and "forum.live" in line.about("a"))
        await wait_all_tasks_blocked()
        line.hold()
        await publish(forum, "busy")
        await until(lambda: forum.stats()["channels"] == 1)  # `a` has ended, and waits to say so
        line.say(type="subscribe", id="a", ticket="mine")
        await wait_all_tasks_blocked()
        line.release()
        await until(lambda: {"unsubscribed", "forum.error"} <= set(line.about("a")))
        line.say(type="subscribe", id="a", ticket="mine")
        await until(lambda: line.about("a").count("forum.live") == 2)
        line.say(type="unsubscribe", id="a")
        await until(lambda: line.about("a").count("unsubscribed") == 2)
        told = len(line.frames)
        await publish(forum, "mine")
        assert "a" not in {frame.get("id") for frame in line.frames[told:]}


async def test_an_id_is_free_for_who_has_heard_its_end() -> None:
    """However early: its next command may come while the server is still busy with sending the last one's answer."""

    class Eager(Line):
        """A client that answers a refusal before its server's `send` is back."""

        async def send(self, message: Any) -> None:
            """Take the message, and subscribe again at the first refusal."""
            await super().send(message)
            if "forbidden" in message.get("text", ""):
                self.say(type="subscribe", id="a")
                for _ in range(100):
                    await anyio.lowlevel.checkpoint()

    asked: list[str] = []

    def authorize(_: HTTPConnection, wish: Subscription) -> bool:
        asked.append("wish")
        return len(asked) > 1

    async with online(Eager(), authorize=authorize) as (_, line):
        line.say(type="subscribe", id="a")
        await until(lambda: "forum.live" in line.about("a"))
        assert line.about("a")[:2] == ["forum.error", "subscribed"]


@pytest.mark.parametrize("named", [{}, {"id": 7}, {"id": "a"}])
async def test_an_unknown_type_is_told_whatever_the_id(named: dict[str, Any]) -> None:
    """It is the type that is off; the id comes back where it is one."""
    async with online() as (_, line):
        line.say(type="bogus", **named)
        await until(lambda: line.frames)
        (answer,) = line.frames
        assert answer["message"].startswith("type: got 'bogus'")
        assert answer.get("id") == ("a" if named == {"id": "a"} else None)


# Whose turn it is


async def test_waiting_for_a_turn_is_not_being_stuck() -> None:
    """A slow connection that takes each frame in time is left alone, though its subscriptions wait long for each other."""

    class Slow(Line):
        """A client that takes a frame in a sixth of the time that it may."""

        async def send(self, message: Any) -> None:
            """Take it after a while."""
            with anyio.move_on_after(0.15):
                await anyio.sleep_forever()
            await super().send(message)

    async with online(Slow(), limits=Limits(send_timeout=0.9), heartbeat=1.0) as (_, line):
        for name in "abcdefgh":
            line.say(type="subscribe", id=name)
        await until(lambda: all("forum.live" in line.about(name) for name in "abcdefgh"))
        line.say(type="ping")
        await until(lambda: line.frames[-1]["type"] == "pong")


@pytest.mark.parametrize("command", [None, {"type": "ping"}])
async def test_a_connection_that_accepts_nothing_is_given_up(command: dict[str, Any] | None) -> None:
    """Whatever is stuck on it, a frame or an answer: one `forum.error` without an id, and 1013, for who takes them at last."""
    async with online(limits=Limits(send_timeout=0.3), heartbeat=1.0) as (forum, line):
        for name in "ab":
            line.say(type="subscribe", id=name)
        await until(lambda: all("forum.live" in line.about(name) for name in "ab"))
        told = len(line.frames)
        line.hold(wakes=True)
        if command:
            line.say(**command)
        else:
            await publish(forum)
        await line.ended.wait()
    assert [(frame["type"], frame.get("id"), frame["code"]) for frame in line.frames[told:]] == [
        ("forum.error", None, "too_slow")
    ]
    assert (line.sent[-1]["type"], line.sent[-1]["code"]) == ("websocket.close", 1013)


async def test_a_live_frame_is_taken_by_whose_turn_it_is() -> None:
    """A client that reads nothing has one frame on its way, however many subscriptions: what waits is a position."""
    names = [f"T-{number}" for number in range(12)]
    async with online() as (forum, line):
        for name in names:
            line.say(type="subscribe", id=name, ticket=name)
        await until(lambda: all("forum.live" in line.about(name) for name in names))
        line.hold()
        taken = forum.stats()["frames"]
        for name in names:
            await publish(forum, name)
        assert forum.stats()["frames"] == taken + 1
        line.release()
        await until(lambda: all("forum.events" in line.about(name) for name in names))


@asynccontextmanager
async def all_behind(**settings: Any) -> AsyncGenerator[tuple[DistantSource, Forum, Line, list[str]], None]:
    """A connection of twelve subscriptions, each of which waits for the source to bring the event that it has missed."""
    names = [f"T-{number}" for number in range(12)]
    source = DistantSource()
    async with online(source=source, limits=Limits(tail_bytes=1), **settings) as (forum, line):
        first = await forum.publish(event_type=TYPE, ticket="first")
        for name in names:
            await publish(forum, name)
        source.fall_mute()
        for name in names:
            line.say(type="subscribe", id=name, ticket=name, cursor=first.cursor)
        await until(lambda: all("subscribed" in line.about(name) for name in names))
        await wait_all_tasks_blocked()
        yield source, forum, line, names
        await until(lambda: all("forum.live" in line.about(name) for name in names))
        for name in names:
            assert [kind for kind in line.about(name) if kind == "forum.events"] == ["forum.events"]


async def test_few_subscriptions_read_ahead_of_their_turn() -> None:
    """Nor do twelve that catch up have more than four frames waiting; each goes on when it is its turn, and misses nothing."""
    async with all_behind() as (source, forum, line, _):
        line.hold()
        line.say(type="ping")
        taken = forum.stats()["frames"]
        source.speak()
        await wait_all_tasks_blocked()
        assert 1 <= forum.stats()["frames"] - taken <= 4
        line.release()


async def test_who_waits_to_read_is_heard_of_all_the_same() -> None:
    """Heartbeats come in time, and the news that the source is away, though others are before it."""
    async with all_behind(heartbeat=0.2) as (source, _, line, names):
        await until(lambda: all("heartbeat" in line.about(name) for name in names))
        source.leave()
        degraded = {frame["id"] for frame in line.frames if frame.get("degraded")}
        assert not degraded
        await until(lambda: {frame["id"] for frame in line.frames if frame.get("degraded")} == set(names))
        source.come_back()
        source.speak()


async def test_a_connection_that_is_too_old_ends_as_a_whole() -> None:
    """Subscriptions are not ended one by one, to begin anew in the same process: one `forum.error` without an id, and 1012."""
    async with online(limits=Limits(max_stream_age=0.2), heartbeat=0.1) as (_, line):
        for name in "ab":
            line.say(type="subscribe", id=name)
        await line.ended.wait()
    kinds = [(frame["type"], frame.get("id"), frame.get("code")) for frame in line.frames]
    assert kinds[-1] == ("forum.error", None, "shutting_down")
    assert "unsubscribed" not in [kind for kind, _, _ in kinds]
    assert (line.sent[-1]["type"], line.sent[-1]["code"]) == ("websocket.close", 1012)
