"""Open streams: who may come in, and that all leave."""

from __future__ import annotations

from contextlib import ExitStack

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from asgi_forum.errors import ForumError, ShuttingDown, TooManyConnections
from asgi_forum.hub.streams import LAST, OpenStreams, Transport
from asgi_forum.settings import Limits
from tests.hub.bench import DEADLINE, until

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
    with streams.granted("sse"):
        with (
            streams.granted(transport),
            pytest.raises(TooManyConnections, match="2 streams are open"),
            streams.granted(transport),
        ):
            pass
        with pytest.raises(ZeroDivisionError), streams.granted(transport):
            raise ZeroDivisionError
        with streams.granted(transport):
            pass


def test_the_hosts_own_are_not_limited() -> None:
    """They neither need a place of the clients' nor take one."""
    streams = OpenStreams(Limits(streams=1, streams_per_address=1))
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(streams.granted("python"))
        stack.enter_context(streams.granted("sse", "a"))
        stack.enter_context(streams.granted("python"))
        with pytest.raises(TooManyConnections):
            stack.enter_context(streams.granted("sse", "b"))


def test_an_address_has_a_limit_of_its_own() -> None:
    """Others are not affected, nor are clients whose address nobody knows."""
    streams = OpenStreams(Limits(streams_per_address=2))
    with ExitStack() as stack:
        for address in ("a", "b", None):
            for transport in NETWORK[:2]:
                stack.enter_context(streams.granted(transport, address))
        for address in ("a", "b"):
            with pytest.raises(TooManyConnections, match="2 streams are open from this address"):
                stack.enter_context(streams.granted("page", address))
        stack.enter_context(streams.granted("sse", None))
        stack.enter_context(streams.granted("sse", "c"))


def test_a_limit_of_addresses_is_off_by_default() -> None:
    """Behind a proxy all clients may share one."""
    streams = OpenStreams(Limits())
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(streams.granted("sse", "proxy"))


def test_streams_are_counted_by_transport() -> None:
    """What health shows."""
    streams = OpenStreams(Limits())
    with streams.granted("sse"), streams.granted("sse"), streams.granted("websocket"):
        assert (streams.by_transport["sse"], streams.by_transport["websocket"]) == (2, 1)
    assert set(streams.by_transport.values()) == {0}


def test_all_are_told_to_end_once() -> None:
    """Every stream of every place gets the error, even if it is said again."""
    streams, told = OpenStreams(Limits()), [Stream() for _ in range(3)]
    with streams.granted("sse") as one, streams.granted("python") as two:
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
    with streams.granted("sse") as place:
        error = ShuttingDown()
        streams.end_all(error)
        place.hold(stream)
    assert stream.told == [error]


def test_an_identity_has_a_limit_of_its_own() -> None:
    """Wherever it comes from; who has none is not counted, and a place that was left is free again."""
    streams = OpenStreams(Limits(streams_per_identity=2))
    with ExitStack() as stack:
        for address in ("a", "b", "c"):
            stack.enter_context(streams.granted("sse", address))
        stack.enter_context(streams.granted("sse", "a", "ann"))
        with streams.granted("websocket", "b", "ann"):
            for transport in NETWORK:
                with pytest.raises(TooManyConnections, match="2 streams are open for this identity") as refused:
                    stack.enter_context(streams.granted(transport, "c", "ann"))
                assert refused.value.limit == "streams_per_identity"
            stack.enter_context(streams.granted("page", "c", "bob"))
        stack.enter_context(streams.granted("page", "c", "ann"))
    assert set(streams.by_transport.values()) == {0}


def test_a_connection_counts_once_for_each_identity() -> None:
    """However many subscriptions it has; a refused one leaves it as it was."""
    streams = OpenStreams(Limits(streams_per_identity=1))
    with streams.admitted("websocket") as one, streams.admitted("websocket") as two:
        for identity in ("ann", "ann", None, "bob"):
            one.claim(identity)
        with pytest.raises(TooManyConnections):
            two.claim("bob")
        two.claim("cid")
        assert sorted(one.identities) == ["ann", "bob"]
        assert sorted(two.identities) == ["cid"]
    with streams.granted("sse", None, "bob"), streams.granted("sse", None, "cid"):
        pass


def test_who_was_granted_nothing_makes_room() -> None:
    """The oldest such connection ends, and another comes in; those that were granted something stay."""
    streams, told = OpenStreams(Limits(streams=3)), [Stream() for _ in range(3)]
    with ExitStack() as stack:
        places = [stack.enter_context(streams.admitted("websocket")) for _ in range(3)]
        for place, stream in zip(places, told, strict=True):
            place.hold(stream)
        places[0].claim(None)
        stack.enter_context(streams.granted("sse"))
        assert [len(stream.told) for stream in told] == [0, 1, 0]
        assert isinstance(told[1].told[0], TooManyConnections)
        assert told[1].told[0].limit == "streams"
        stack.enter_context(streams.admitted("websocket"))
        assert [len(stream.told) for stream in told] == [0, 1, 1]
        stack.enter_context(streams.granted("page"))
        with pytest.raises(TooManyConnections) as refused:
            stack.enter_context(streams.granted("page"))
        assert refused.value.limit == "streams"
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(streams.granted("sse"))


def test_room_for_an_address_is_made_by_its_own_connections() -> None:
    """What others hold is not touched, nor is the limit of all a reason to end more than one."""
    streams, told = OpenStreams(Limits(streams=2, streams_per_address=1)), [Stream() for _ in range(2)]
    with ExitStack() as stack:
        for address, stream in zip("ab", told, strict=True):
            stack.enter_context(streams.admitted("websocket", address)).hold(stream)
        stack.enter_context(streams.granted("sse", "b"))
        assert [len(stream.told) for stream in told] == [0, 1]
        with pytest.raises(TooManyConnections) as refused:
            stack.enter_context(streams.granted("sse", "b"))
        assert refused.value.limit == "streams_per_address"
        assert [len(stream.told) for stream in told] == [0, 1]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nobody_comes_in_after_the_end(transport: Transport) -> None:
    """The host's own streams included."""
    streams = OpenStreams(Limits())
    streams.end_all(ShuttingDown())
    with pytest.raises(ShuttingDown), streams.granted(transport):
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
            with streams.granted("sse"):
                with streams.granted("websocket"):
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


@pytest.mark.anyio
@pytest.mark.parametrize("request_", ["sse", "page"])
async def test_requests_are_told_last(request_: Transport) -> None:
    """Once no WebSocket is open: a server that waits for requests only does not cut them then."""
    streams, told = OpenStreams(Limits()), {name: Stream() for name in ("websocket", "python", "request")}
    with streams.granted(request_) as last, streams.granted("python") as own:
        last.hold(told["request"])
        own.hold(told["python"])
        with streams.granted("websocket") as first:
            first.hold(told["websocket"])
            streams.end_all(ShuttingDown())
            await wait_all_tasks_blocked()
            assert {name: len(each.told) for name, each in told.items()} == {"websocket": 1, "python": 1, "request": 0}
        assert len(told["request"].told) == 1


@pytest.mark.anyio
async def test_requests_do_not_wait_for_a_websocket_that_stays() -> None:
    """Its client reads nothing; they are told all the same, soon."""
    streams, stream = OpenStreams(Limits()), Stream()
    with streams.granted("sse") as place, streams.granted("websocket"):
        place.hold(stream)
        begun = anyio.current_time()
        streams.end_all(ShuttingDown())
        await until(lambda: stream.told)
        assert LAST <= anyio.current_time() - begun < LAST + 1.0


@pytest.mark.anyio
async def test_who_asks_hears_that_all_have_left() -> None:
    """Once, when the last one has; soon where none is there any more."""
    streams, heard = OpenStreams(Limits()), list[str]()
    with streams.granted("sse"):
        streams.when_left(lambda: heard.append("one"))
        streams.end_all(ShuttingDown())
        await wait_all_tasks_blocked()
        assert heard == []
    await wait_all_tasks_blocked()
    assert heard == ["one"]
    streams.when_left(lambda: heard.append("another"))
    await wait_all_tasks_blocked()
    assert heard == ["one", "another"]
