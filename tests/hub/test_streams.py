"""Open streams: who may come in, and that all leave."""

from __future__ import annotations

from contextlib import ExitStack

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.errors import ForumError, ShuttingDown, TooManyConnections
from asgi_forum.hub.streams import OpenStreams, Transport
from asgi_forum.settings import Limits
from tests.hub.bench import DEADLINE

TRANSPORTS: list[Transport] = ["sse", "websocket", "page", "python"]
NETWORK = TRANSPORTS[:3]


class Stream:
    """A stream that keeps the errors it was told to end with."""

    def __init__(self) -> None:
        """Begin open."""
        self.told: list[ForumError] = []

    def end(self, error: ForumError) -> None:
        """Keep the error."""
        self.told.append(error)


@pytest.mark.parametrize("transport", NETWORK)
def test_streams_are_limited(transport: Transport) -> None:
    """All transports together; a place that was left is free again, also after an error."""
    streams = OpenStreams(Limits(streams=2))
    with streams.admitted("sse"):
        with (
            streams.admitted(transport),
            pytest.raises(TooManyConnections, match="2 streams are open"),
            streams.admitted(transport),
        ):
            pass
        with pytest.raises(ZeroDivisionError), streams.admitted(transport):
            raise ZeroDivisionError
        with streams.admitted(transport):
            pass


def test_the_hosts_own_are_not_limited() -> None:
    """They neither need a place of the clients' nor take one."""
    streams = OpenStreams(Limits(streams=1, streams_per_address=1))
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(streams.admitted("python"))
        stack.enter_context(streams.admitted("sse", "a"))
        stack.enter_context(streams.admitted("python"))
        with pytest.raises(TooManyConnections):
            stack.enter_context(streams.admitted("sse", "b"))


def test_an_address_has_a_limit_of_its_own() -> None:
    """Others are not affected, nor are clients whose address nobody knows."""
    streams = OpenStreams(Limits(streams_per_address=2))
    with ExitStack() as stack:
        for address in ("a", "b", None):
            for transport in NETWORK[:2]:
                stack.enter_context(streams.admitted(transport, address))
        for address in ("a", "b"):
            with pytest.raises(TooManyConnections, match="2 streams are open from this address"):
                stack.enter_context(streams.admitted("page", address))
        stack.enter_context(streams.admitted("sse", None))
        stack.enter_context(streams.admitted("sse", "c"))


def test_a_limit_of_addresses_is_off_by_default() -> None:
    """Behind a proxy all clients may share one."""
    streams = OpenStreams(Limits())
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(streams.admitted("sse", "proxy"))


def test_streams_are_counted_by_transport() -> None:
    """What health shows."""
    streams = OpenStreams(Limits())
    with streams.admitted("sse"), streams.admitted("sse"), streams.admitted("websocket"):
        assert (streams.by_transport["sse"], streams.by_transport["websocket"]) == (2, 1)
    assert set(streams.by_transport.values()) == {0}


def test_all_are_told_to_end_once() -> None:
    """Every stream of every place gets the error, even if it is said again."""
    streams, told = OpenStreams(Limits()), [Stream() for _ in range(3)]
    with streams.admitted("sse") as one, streams.admitted("python") as two:
        one.hold(told[0])
        one.hold(told[1])
        two.hold(told[2])
        error = ShuttingDown()
        streams.end_all(error)
        streams.end_all(ShuttingDown("again"))
    assert [each.told for each in told] == [[error]] * 3


def test_a_stream_that_comes_late_is_told_at_once() -> None:
    """It had its place already when the end was called."""
    streams, stream = OpenStreams(Limits()), Stream()
    with streams.admitted("sse") as place:
        error = ShuttingDown()
        streams.end_all(error)
        place.hold(stream)
    assert stream.told == [error]


def test_a_stream_that_has_ended_is_told_nothing() -> None:
    """A connection with many subscriptions lets go of each."""
    streams, stream = OpenStreams(Limits()), Stream()
    with streams.admitted("websocket") as place:
        place.hold(stream)
        place.release(stream)
        streams.end_all(ShuttingDown())
    assert stream.told == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nobody_comes_in_after_the_end(transport: Transport) -> None:
    """The host's own streams included."""
    streams = OpenStreams(Limits())
    streams.end_all(ShuttingDown())
    with pytest.raises(ShuttingDown), streams.admitted(transport):
        pass


@pytest.mark.anyio
async def test_the_end_is_awaited() -> None:
    """Until the last one has left; at once where there is none."""
    streams = OpenStreams(Limits())
    async with anyio.create_task_group() as tasks:
        left: list[bool] = []

        async def wait() -> None:
            await streams.wait_empty()
            left.append(True)

        with anyio.fail_after(DEADLINE):
            with streams.admitted("sse"):
                with streams.admitted("websocket"):
                    streams.end_all(ShuttingDown())
                    tasks.start_soon(wait)
                await wait_all_tasks_blocked()
                assert left == []
            await wait_all_tasks_blocked()
            assert left == [True]
            await streams.wait_empty()
            empty = OpenStreams(Limits())
            empty.end_all(ShuttingDown())
            await empty.wait_empty()
