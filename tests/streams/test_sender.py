"""Clients that take their time: how long they may, how they are told, and that a stopping server does not wait for them."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asgi_forum import Limits
from asgi_forum.errors import TooSlow
from asgi_forum.streams.sender import FAREWELL, Sender
from tests.events import draft
from tests.hub.bench import until
from tests.streams.held import SOCKET, STREAM, UPGRADE, Held, connected, publish

pytestmark = pytest.mark.anyio

STUCK = Limits(send_timeout=0.3)


async def test_what_is_taken_in_time_is_sent() -> None:
    """However long it took, up to the deadline, and though the one before was given up."""
    sender = Sender(60.0)

    async def stuck() -> None:
        sender.check(anyio.current_time() + 61)
        await anyio.sleep_forever()

    async def slow() -> None:
        assert sender.busy
        sender.check(anyio.current_time() + 59)
        await anyio.lowlevel.checkpoint()

    with pytest.raises(TooSlow):
        await sender.send(stuck)
    await sender.send(slow)
    assert not sender.busy
    sender.check(anyio.current_time() + 1000)


@pytest.mark.parametrize("kind", [STREAM, UPGRADE, SOCKET])
async def test_who_does_not_even_take_the_beginning_is_given_up(kind: dict[str, Any]) -> None:
    """The connection may have been stuck before; nothing else is sent, for nobody knows what was written of it."""
    client = Held()
    client.hold()
    async with connected(client, kind, limits=STUCK) as forum:
        await client.ended.wait()
        assert client.sent == []
        assert (forum.stats()["streams"], forum.stats()["endings"]) == ({}, {"too_slow": 1})
        assert forum.stats()["limits"] == {"send_timeout": 1}


@pytest.mark.parametrize("kind", [STREAM, UPGRADE, SOCKET])
async def test_a_delay_lasts_until_the_frame_was_taken(kind: dict[str, Any]) -> None:
    """From the arrival of its newest event in this process: a client that takes its time is seen in the histogram."""
    client = Held()
    async with connected(client, kind) as forum:
        if kind is SOCKET:
            client.tell("websocket.receive", text='{"type": "subscribe", "id": "a"}')
        await until(lambda: b"forum.live" in client.body or "forum.live" in str(client.sent))
        await anyio.wait_all_tasks_blocked()
        client.hold()
        await publish(forum)
        assert forum.stats()["delays"]["seconds"] == 0
        with anyio.move_on_after(0.3):
            await anyio.sleep_forever()
        client.release()
        await until(lambda: forum.stats()["delays"]["seconds"] >= 0.3)
        assert sum(forum.stats()["delays"]["counts"]) == 1


@pytest.mark.parametrize("when", ["before", "while"])
async def test_who_has_to_leave_has_a_second_for_all_that_is_left(when: str) -> None:
    """One second in all, from when it was told: also by a callback of the loop, which is in no task."""
    sender = Sender(60.0)
    tell = asyncio.get_running_loop().call_soon
    began = anyio.current_time()
    if when == "before":
        sender.leave()
    else:
        tell(sender.leave)
    for _ in range(2):
        with pytest.raises(TooSlow):
            await sender.send(anyio.sleep_forever)
    assert FAREWELL * 0.9 < anyio.current_time() - began < FAREWELL + 1.0


# Streams


@pytest.mark.parametrize("route", [False, True])
async def test_a_stream_that_is_given_up_says_so_at_last(route: bool) -> None:
    """`forum.error` and the body's end, for who takes them; nothing of the frame comes after it was given up."""
    client = Held()
    async with connected(client, STREAM, route=route, limits=STUCK, heartbeat=1.0) as forum:
        await until(lambda: b"forum.live" in client.body)
        client.hold(wakes=True)
        await publish(forum, "mine")
        await client.ended.wait()
    assert client.body.count(b"event: forum.error") == client.body.count(b"too_slow") == 1
    assert b"mine" not in client.body
    assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_websocket_that_is_given_up_says_so_at_last() -> None:
    """`forum.error` and 1013."""
    client = Held()
    async with connected(client, UPGRADE, limits=STUCK, heartbeat=1.0) as forum:
        await until(lambda: "forum.live" in {frame["type"] for frame in client.frames})
        client.hold(wakes=True)
        await publish(forum, "mine")
        await client.ended.wait()
    assert [frame.get("code") for frame in client.frames][1:] == ["too_slow"]
    assert (client.sent[-1]["type"], client.sent[-1]["code"]) == ("websocket.close", 1013)


@pytest.mark.parametrize(("scope", "route"), [(STREAM, False), (STREAM, True), (UPGRADE, False)])
async def test_a_client_that_takes_no_goodbye_either_is_left(scope: dict[str, Any], route: bool) -> None:
    """After a second more."""
    client = Held()
    async with connected(client, scope, route=route, limits=STUCK, heartbeat=1.0) as forum:
        await until(lambda: forum.stats()["frames"])
        client.hold()
        await publish(forum)
        with anyio.fail_after(FAREWELL + 2.0):
            await client.ended.wait()


async def test_who_takes_a_piece_in_time_is_not_stuck() -> None:
    """A large frame goes out in pieces of whole messages, each with a deadline of its own."""

    class Slow(Held):
        """A client that takes a piece in half of the time that it may."""

        async def send(self, message: Any) -> None:
            """Take a large one after a while."""
            if len(message.get("body", b"")) > 1000:
                with anyio.move_on_after(0.4):
                    await anyio.sleep_forever()
            await super().send(message)

    client = Slow()
    async with connected(client, STREAM, "cursor=earliest", limits=Limits(send_timeout=0.6), heartbeat=1.0) as forum:
        await forum.publish_many([draft(payload={"text": "x" * 30_000})] * 10)
        await until(lambda: b"forum.live" in client.body or b"forum.error" in client.body)
    assert b"forum.error" not in client.body
    large = [message["body"] for message in client.sent if len(message.get("body", b"")) > 1000]
    assert len(large) > 1
    assert all(piece.startswith(b"id: ") and piece.endswith(b"\n\n") for piece in large)


@pytest.mark.parametrize(("scope", "route"), [(STREAM, False), (STREAM, True), (UPGRADE, False)])
async def test_a_stopping_forum_does_not_wait_for_a_client_that_takes_nothing(
    scope: dict[str, Any], route: bool
) -> None:
    """What is being sent has a second left, and so has the goodbye."""
    client = Held()
    async with connected(client, scope, route=route) as forum:
        await until(lambda: forum.stats()["frames"])
        client.hold()
        await publish(forum)
        with anyio.fail_after(2 * FAREWELL + 1.0):
            await forum.drain()
            await client.ended.wait()


@pytest.mark.parametrize("scope", [STREAM, UPGRADE])
async def test_a_stopping_forum_lets_a_frame_on_its_way_arrive(scope: dict[str, Any]) -> None:
    """Whoever takes it within the second gets it, and the goodbye behind it."""
    client = Held()
    async with connected(client, scope) as forum:
        await until(lambda: forum.stats()["frames"])
        client.hold()
        await publish(forum, "mine")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(forum.drain)
            await anyio.wait_all_tasks_blocked()
            client.release()
        await client.ended.wait()
    told = client.body + b"".join(message.get("text", "").encode() for message in client.sent)
    assert 0 < told.index(b"mine") < told.index(b"shutting_down")
