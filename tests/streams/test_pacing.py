"""Budgets: what one connection may send where the server never says how much the client has taken."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import anyio
import pytest

from asgi_forum import Forum, Limits
from asgi_forum.errors import ShuttingDown, TooManyConnections
from asgi_forum.hub.streams import OpenStreams
from asgi_forum.streams.pacing import Budget
from tests.events import draft
from tests.hub.bench import until
from tests.streams.held import SOCKET, STREAM, UPGRADE, Held, connected
from tests.streams.takers import turns

UNPACED: dict[str, Any] = {"asgi": {"version": "3.0"}}
PACED: dict[str, Any] = {"asgi": {"version": "3.0", "spec_version": "2.3"}}

LIMITS = Limits(unpaced_bytes=1000)


def budget_of(scope: dict[str, Any]) -> Budget | None:
    """The budget of a connection."""
    return Budget.needed(scope, LIMITS, OpenStreams(LIMITS).admitted("sse"))


def test_a_server_that_does_not_pace_has_so_many_bytes() -> None:
    """What goes beyond is sent whole, and is the last."""
    budget = budget_of(UNPACED)
    assert budget is not None
    assert [budget.spend(size) is None for size in (400, 400, 199)] == [True] * 3
    assert isinstance(budget.spend(1), ShuttingDown)
    assert isinstance(budget.spend(1), ShuttingDown)


def test_a_frame_larger_than_all_of_it_is_sent_once() -> None:
    """It is the first and the last; the client comes back behind it, so it gets on."""
    budget = budget_of(UNPACED)
    assert budget is not None
    ended = budget.spend(5000)
    assert isinstance(ended, ShuttingDown)
    assert ended.limit == "unpaced_bytes"


@pytest.mark.parametrize("scope", [PACED, {}])
def test_other_servers_may_send_for_ever(scope: dict[str, Any]) -> None:
    """Those that follow a version of the specification, and what is no server at all."""
    assert budget_of(scope) is None


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [STREAM, UPGRADE, SOCKET])
async def test_a_stream_ends_with_its_last_byte_and_can_be_resumed(kind: dict[str, Any]) -> None:
    """At once, and with a reason for which a client comes back; every event of it was whole."""
    client = Held()
    async with connected(client, {**kind, **UNPACED}, "cursor=earliest", limits=Limits(unpaced_bytes=2000)) as forum:
        if kind is SOCKET:
            client.tell("websocket.receive", text='{"type": "subscribe", "id": "a", "cursor": "earliest"}')
        await until(lambda: forum.stats()["frames"])
        for _ in range(50):
            await forum.publish_many([draft()])
            await turns(20)
            if client.ended.is_set():
                break
        await client.ended.wait()
        assert forum.stats()["limits"]["unpaced_bytes"] == 1
    told = client.body if kind is STREAM else b"".join(message.get("text", "").encode() for message in client.sent)
    assert b"shutting_down" in told
    assert 2000 <= len(told) < 6000


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [STREAM, UPGRADE, SOCKET])
async def test_the_place_of_such_a_stream_is_taken_for_a_while(kind: dict[str, Any]) -> None:
    """What it sent may still be in the server's memory: one more, as soon as it has ended, would be one too many."""
    limits = Limits(unpaced_bytes=500, streams=1, send_timeout=0.5)
    client = Held()
    async with connected(client, {**kind, **UNPACED}, "cursor=earliest", limits=limits) as forum:
        if kind is SOCKET:
            client.tell("websocket.receive", text='{"type": "subscribe", "id": "a", "cursor": "earliest"}')
        await forum.publish_many([draft()] * 10)
        await client.ended.wait()
        assert forum.stats()["streams"] == {}
        assert [await status(forum), await status(forum)] == [429, 429]
        with anyio.move_on_after(4 * limits.send_timeout):
            await anyio.sleep_forever()
        assert await status(forum) == 200


class Loop:
    """What refers to itself, as a WebSocket of Daphne that has gone."""

    def __init__(self) -> None:
        """Begin to."""
        self.itself = self


@pytest.mark.anyio
async def test_what_a_server_held_is_freed_before_the_place_is_given_back() -> None:
    """Python's collector counts objects, and would let many bytes wait."""
    gc.disable()
    try:
        streams = OpenStreams(Limits(streams=1))
        with streams.admitted("websocket") as place:
            place.lasts = 0.01
        held = weakref.ref(Loop())
        with pytest.raises(TooManyConnections):
            streams.admitted("websocket")
        with anyio.move_on_after(1.5):
            await anyio.sleep_forever()
        assert held() is None
        with streams.admitted("websocket"):
            pass
    finally:
        gc.enable()


async def status(forum: Forum) -> int:
    """What is answered to somebody who asks for the headers of a stream."""
    visitor = Held()
    await forum({**STREAM, "method": "HEAD"}, visitor.receive, visitor.send)
    visitor.close()
    return int(visitor.sent[0]["status"])


@pytest.mark.anyio
async def test_a_stream_of_a_server_that_paces_goes_on() -> None:
    """However much it sends."""
    client = Held()
    async with connected(client, {**STREAM, **PACED}, "cursor=earliest", limits=LIMITS) as forum:
        await forum.publish_many([draft()] * 50)
        await until(lambda: len(client.body) > 5 * 1000)
        assert not client.ended.is_set()


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [STREAM, UPGRADE])
@pytest.mark.parametrize("server", [PACED, UNPACED])
async def test_a_stream_that_is_over_needs_no_garbage_collector(kind: dict[str, Any], server: dict[str, Any]) -> None:
    """Nothing of it holds itself, so all goes at once: the collector counts objects, and may let bytes wait for long."""
    client = Held()
    gc.collect()
    gc.disable()
    try:
        async with connected(client, {**kind, **server}, "cursor=earliest", limits=Limits(unpaced_bytes=500)) as forum:
            await forum.publish_many([draft()] * 10)
            await until(lambda: len(client.sent) > 2)
            client.tell("http.disconnect" if kind is STREAM else "websocket.disconnect", code=1001)
            await client.ended.wait()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("asgi_forum")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []
