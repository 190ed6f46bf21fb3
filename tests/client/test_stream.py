"""connect(): a stream of events, over both transports, on a real server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.requests import HTTPConnection

from asgi_forum import Forum, Subscription
from asgi_forum.client import (
    EventsFrame,
    ForumStream,
    Frame,
    HeartbeatFrame,
    LiveFrame,
    ResetFrame,
    Transport,
    connect,
    health,
)
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import (
    ConfigurationError,
    Forbidden,
    ForumClosed,
    ForumError,
    ForumReset,
    InvalidCursor,
    InvalidFilter,
    InvalidTail,
    NotFound,
    Unauthorized,
)
from tests.client.site import DEADLINE, Site

pytestmark = pytest.mark.anyio


async def take(stream: ForumStream, count: int) -> list[StoredEvent]:
    """Return the next events."""
    with anyio.fail_after(DEADLINE):
        return [await anext(stream) for _ in range(count)]


async def numbers(stream: ForumStream, count: int) -> list[Any]:
    """Return the numbers in the payloads of the next events."""
    return [event.payload["n"] for event in await take(stream, count)]


async def until(frames: AsyncIterator[Frame], kind: type[Frame]) -> list[Frame]:
    """Return the next frames, up to the first of a kind."""
    found: list[Frame] = []
    with anyio.fail_after(DEADLINE):
        while not (found and isinstance(found[-1], kind)):
            found.append(await anext(frames))
    return found


async def test_history_and_what_comes_after_are_one_stream(site: Site, transport: Transport) -> None:
    """Stored events first, then those that are published while it is open; in order, each once."""
    await site.publish(1, 2, 3)
    async with connect(site.url, cursor="earliest", transport=transport) as stream:
        assert await numbers(stream, 3) == [1, 2, 3]
        await site.publish(4, 5)
        assert await numbers(stream, 2) == [4, 5]


async def test_an_event_is_told_whole(site: Site, transport: Transport) -> None:
    """As the receipt has said, with its envelope and payload."""
    (receipt,) = await site.publish(1, ticket="METAWSM-011")
    async with connect(site.url, cursor=0, transport=transport) as stream:
        (event,) = await take(stream, 1)
    assert (event.sequence, event.cursor, event.envelope.event_id) == (1, receipt.cursor, receipt.event_id)
    assert (event.envelope.ticket, event.envelope.actor_type, event.payload) == ("METAWSM-011", "system", {"n": 1})


async def test_entering_a_stream_fixes_where_it_begins(site: Site, transport: Transport) -> None:
    """What is published between entering and the first look is delivered; what was before is not."""
    await site.publish(1)
    async with connect(site.url, transport=transport) as stream:
        begin = stream.cursor
        await site.publish(2)
        assert await numbers(stream, 1) == [2]
    async with connect(site.url, cursor=begin, transport=transport) as stream:
        assert await numbers(stream, 1) == [2]


async def test_filters_limit_and_tail_reach_the_forum(site: Site, transport: Transport) -> None:
    """One value or several, and only the last of what matches."""
    for number, ticket in enumerate(["a", "b", "c", "a", "b"]):
        await site.publish(number, ticket=ticket)
    async with connect(site.url, ticket=["A", "b"], tail=3, limit=1, transport=transport) as stream:
        assert await numbers(stream, 3) == [1, 3, 4]
    async with connect(site.url, ticket="c", event_type="forum", cursor=0, transport=transport) as stream:
        assert await numbers(stream, 1) == [2]


async def test_a_stream_goes_on_from_a_cursor_that_was_kept(site: Site, transport: Transport) -> None:
    """`cursor` is the position just after the event that was returned last, not after what was read ahead."""
    await site.publish(1, 2, 3)
    async with connect(site.url, cursor="earliest", transport=transport) as stream:
        assert stream.cursor is None
        (event,) = await take(stream, 1)
        kept = stream.cursor
    assert kept == event.cursor
    async with connect(site.url, cursor=kept, transport=transport) as stream:
        assert stream.cursor == kept
        assert await numbers(stream, 2) == [2, 3]


async def test_the_cursor_moves_past_what_the_filter_leaves_out(address: Site, transport: Transport) -> None:
    """A heartbeat brings it on, so that a quiet filter does not fall out of what is retained."""
    await address.start(Forum(allow_publish=True, heartbeat=0.05))
    async with connect(address.url, ticket="quiet", transport=transport) as stream:
        receipts = await address.publish(1, 2)
        async for _ in stream.frames():
            if stream.cursor == receipts[-1].cursor:
                break


async def test_a_stream_goes_on_after_a_restart(site: Site, address: Site, transport: Transport) -> None:
    """The server stops, comes back on its port, and nothing is lost or comes twice."""
    forum = Forum(allow_publish=True)
    await site.stop()
    await site.start(forum)
    await site.publish(1, 2, 3)
    async with connect(site.url, cursor="earliest", transport=transport, max_delay=0.2) as stream:
        assert await numbers(stream, 2) == [1, 2]
        await site.stop()
        await site.start(forum)
        await site.publish(4)
        assert await numbers(stream, 2) == [3, 4]
        await site.stop()
        await site.start(forum)
        await site.publish(5)
        assert await numbers(stream, 1) == [5]


async def test_a_stream_may_begin_before_the_server_does(address: Site, transport: Transport) -> None:
    """It tries until there is one, and says meanwhile what the trouble is."""
    await address.start(Forum(allow_publish=True))
    await address.stop()
    stream = connect(address.url, cursor="earliest", transport=transport, max_delay=0.05)
    with anyio.move_on_after(0.3):
        await anext(stream)
    assert not stream.connected
    assert stream.trouble is not None
    await address.start(Forum(allow_publish=True))
    await address.publish(1)
    assert await numbers(stream, 1) == [1]
    assert stream.connected
    assert stream.trouble is None
    await stream.aclose()


async def test_a_log_that_was_replaced_is_told_and_then_read(site: Site, transport: Transport) -> None:
    """ForumReset is raised once; iterating again goes on with the new log, whose numbers begin anew."""
    await site.publish(1, 2)
    async with connect(site.url, cursor="earliest", transport=transport, max_delay=0.2) as stream:
        assert await numbers(stream, 2) == [1, 2]
        await site.stop()
        await site.start(Forum(allow_publish=True))
        await site.publish(7, 8)
        with anyio.fail_after(DEADLINE), pytest.raises(ForumReset, match="replaced") as reset:
            await anext(stream)
        assert stream.cursor == reset.value.next_cursor
        assert await numbers(stream, 2) == [7, 8]


async def test_a_number_past_the_end_is_told(site: Site, transport: Transport) -> None:
    """A reset comes before the first event, too."""
    await site.publish(1)
    async with connect(site.url, cursor=99, transport=transport) as stream:
        with pytest.raises(ForumReset) as reset:
            await take(stream, 1)
        assert reset.value.reason == "ahead"
        assert await numbers(stream, 1) == [1]


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"cursor": "no cursor"}, InvalidCursor, "cursor: got 'no cursor'"),
        ({"tail": 5000}, InvalidTail, "5000"),
        ({"ticket": " "}, InvalidFilter, "ticket"),
        ({"cursor": "latest", "tail": 1}, InvalidTail, "tail"),
    ],
)
async def test_a_refusal_that_will_not_pass_is_raised(
    site: Site, transport: Transport, parameters: dict[str, Any], kind: type[ForumError], message: str
) -> None:
    """By its code, with the server's message."""
    with anyio.fail_after(DEADLINE), pytest.raises(kind, match=message):
        async with connect(site.url, transport=transport, **parameters):
            pass


async def test_where_no_forum_is_it_says_so(site: Site, transport: Transport) -> None:
    """A 404 of another app names the address."""
    with anyio.fail_after(DEADLINE), pytest.raises(NotFound):
        await anext(connect(site.url + "/elsewhere", transport=transport))


async def test_who_is_not_allowed_is_told(address: Site, transport: Transport) -> None:
    """401 and 403 are raised; headers reach the forum."""

    def authorize(connection: HTTPConnection, asked: Subscription) -> bool:
        if "authorization" not in connection.headers:
            raise Unauthorized("who are you?")
        return connection.headers["authorization"] == "Bearer right"

    await address.start(Forum(authorize=authorize))
    with pytest.raises(Unauthorized, match="who are you"):
        await anext(connect(address.url, transport=transport))
    with pytest.raises(Forbidden):
        await anext(connect(address.url, transport=transport, headers={"Authorization": "Bearer wrong"}))
    async with connect(address.url, transport=transport, headers={"Authorization": "Bearer right"}) as stream:
        assert stream.connected


async def test_headers_are_asked_for_before_each_connection(address: Site, transport: Transport) -> None:
    """So an authorization that has come to its end is renewed, and the stream goes on."""
    tokens: list[str] = []

    def authorize(connection: HTTPConnection, asked: Subscription) -> Subscription | bool:
        token = connection.headers["authorization"]
        if token != tokens[-1]:
            return False
        return Subscription(asked.filter, expires_at=time.time() + 0.3 if len(tokens) == 1 else None)

    async def headers() -> dict[str, str]:
        await anyio.lowlevel.checkpoint()
        tokens.append(f"token {len(tokens)}")
        return {"Authorization": tokens[-1]}

    forum = Forum(authorize=authorize)
    await address.start(forum)
    async with connect(address.url, transport=transport, headers=headers, max_delay=0.1) as stream:
        async for _ in stream.frames():
            if len(tokens) == 2 and stream.live:
                break
        await address.in_server(lambda: forum.publish(event_type="a", ticket="T", payload={"n": 1}))
        assert await numbers(stream, 1) == [1]


async def test_every_frame_can_be_had(address: Site, transport: Transport) -> None:
    """Events, the turn to live, heartbeats, resets that are not raised; and state follows them."""
    await address.start(Forum(allow_publish=True, heartbeat=0.1))
    await address.publish(1)
    async with connect(address.url, cursor=99, transport=transport) as stream:
        frames = stream.frames()
        (reset,) = await until(frames, ResetFrame)
        assert isinstance(reset, ResetFrame)
        assert (reset.reason, stream.cursor, stream.live) == ("ahead", reset.next_cursor, False)
        events = (await until(frames, EventsFrame))[-1]
        assert isinstance(events, EventsFrame)
        assert stream.cursor == events.next_cursor == events.events[0].cursor
        live = (await until(frames, LiveFrame))[-1]
        assert isinstance(live, LiveFrame)
        assert (live.mode, stream.live) == ("push", True)
        beat = (await until(frames, HeartbeatFrame))[-1]
        assert isinstance(beat, HeartbeatFrame)
        assert (beat.degraded, stream.degraded) == (None, False)


async def test_frames_and_events_may_be_mixed(site: Site, transport: Transport) -> None:
    """What iterating over events has left of a frame comes as one."""
    await site.publish(1, 2, 3)
    async with connect(site.url, cursor=0, transport=transport) as stream:
        assert await numbers(stream, 1) == [1]
        frame = (await until(stream.frames(), EventsFrame))[-1]
        assert isinstance(frame, EventsFrame)
        assert [event.payload["n"] for event in frame.events] == [2, 3]
        await site.publish(4)
        assert await numbers(stream, 1) == [4]


async def test_cancelling_loses_nothing(site: Site, transport: Transport) -> None:
    """A reader that gives up waiting again and again still gets every event once."""
    seen: list[int] = []

    async def read(stream: ForumStream) -> None:
        while len(seen) < 30:
            with anyio.move_on_after(0.01):
                seen.append((await anext(stream)).payload["n"])

    async with connect(site.url, transport=transport) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(read, stream)
        with anyio.fail_after(DEADLINE):
            for number in range(30):
                await site.publish(number)
    assert seen == list(range(30))


async def test_one_task_at_a_time(site: Site, transport: Transport) -> None:
    """A second one is refused, and the first is not disturbed."""
    found: list[int] = []
    async with connect(site.url, transport=transport) as stream, anyio.create_task_group() as tasks:

        async def read() -> None:
            found.extend(await numbers(stream, 1))

        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await anext(stream)
        await site.publish(1)
    assert found == [1]


async def test_a_stream_that_was_closed_is_over(site: Site, transport: Transport) -> None:
    """Iterating over it says so."""
    async with connect(site.url, transport=transport) as stream:
        pass
    assert not stream.connected
    with pytest.raises(ForumClosed, match="this stream is closed"):
        await anext(stream)
    await stream.aclose()


async def test_leaving_lets_go_of_the_connection(site: Site, transport: Transport) -> None:
    """The server sees at once that nobody is there, also where the block was left by an error."""
    with pytest.raises(ZeroDivisionError):
        async with connect(site.url, transport=transport):
            raise ZeroDivisionError
    with anyio.fail_after(DEADLINE):
        while any((await health(site.url)).streams.values()):
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    "parameters",
    [
        {"transport": "carrier pigeon"},
        {"heartbeat": 0},
        {"max_frame": 0},
        {"open_timeout": -1},
        {"max_delay": float("nan")},
    ],
)
def test_parameters_that_cannot_be_right_are_refused(parameters: dict[str, Any]) -> None:
    """At once, and by name."""
    with pytest.raises(ConfigurationError, match=next(iter(parameters))):
        connect("http://127.0.0.1/forum", **parameters)
