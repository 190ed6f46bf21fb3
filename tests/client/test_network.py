"""connect() on a network that fails: connections cut anywhere, silence, refusals that pass, servers that misbehave."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from asgi_forum import Forum
from asgi_forum.client import ErrorFrame, ForumStream, Transport, UnexpectedAnswer, connect
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import Forbidden, ForumClosed, ForumReset, Unauthorized
from asgi_forum.frames import EventsFrame
from tests.client.events import document, event
from tests.client.site import DEADLINE, Site, network

pytestmark = pytest.mark.anyio

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


class Script:
    """An app that gives one answer after the other, the last one again and again, and keeps what was asked and when."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[Scope] = []
        self.times: list[float] = []
        self._answers = list(answers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        self.asked.append(scope)
        self.times.append(time.monotonic())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        await answer(scope, receive, send)

    def header(self, number: int, name: str) -> str | None:
        """Return a header of one of the requests."""
        return dict(self.asked[number]["headers"]).get(name.encode(), b"").decode() or None

    def query(self, number: int) -> str:
        """Return the query of one of the requests."""
        text: bytes = self.asked[number]["query_string"]
        return text.decode()


def sse(body: bytes, *, retry_ms: int = 10, holds: bool = False) -> Answer:
    """Answer with an event stream that ends, or stays open."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"retry: %d\n\n" % retry_ms + body
        if holds:
            await anyio.sleep_forever()

    return lambda scope, receive, send: StreamingResponse(chunks(), media_type="text/event-stream")(
        scope, receive, send
    )


def websocket(*texts: str, code: int | None = None, reason: str = "") -> Answer:
    """Answer with a WebSocket that sends these, and is closed with a code, or stays open."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        for text in texts:
            await socket.send_text(text)
        if code is None:
            await socket.receive()
        else:
            await socket.close(code, reason)

    return answer


def batch(*sequences: int) -> EventsFrame:
    """Make a frame of these events."""
    return EventsFrame([event(each) for each in sequences], event(sequences[-1]).cursor)


def sending(transport: Transport, *sequences: int, holds: bool) -> Answer:
    """Answer with a stream of these events that ends, or stays open."""
    if transport == "sse":
        return sse(batch(*sequences).sse, holds=holds)
    return websocket(batch(*sequences).text, code=None if holds else 1012)


async def take(stream: ForumStream, count: int) -> list[StoredEvent]:
    """Return the next events."""
    with anyio.fail_after(DEADLINE):
        return [await anext(stream) for _ in range(count)]


async def test_connections_cut_anywhere_lose_nothing(site: Site, transport: Transport) -> None:
    """In the middle of headers, of a message, or between two."""
    for start in range(0, 300, 100):
        await site.publish(*range(start, start + 100))
    async with network(site.port) as net:
        cuts = [700, 9_001, 25_000, 101] if transport == "ws" else [100, 12_345, 33_333]
        net.budgets = list(cuts)
        stream = connect(net.url, cursor="earliest", limit=7, transport=transport, max_delay=0.05)
        found = await take(stream, 300)
        await stream.aclose()
        assert net.connections == len(cuts) + 1
    assert [each.payload["n"] for each in found] == list(range(300))


async def test_a_silent_connection_is_given_up(address: Site, transport: Transport) -> None:
    """Nothing says that it is dead, but no heartbeat comes: the next connection goes on where it was."""
    await address.start(Forum(allow_publish=True, heartbeat=0.1))
    async with (
        network(address.port) as net,
        connect(net.url, transport=transport, heartbeat=0.4, max_delay=0.05) as stream,
    ):
        net.hush()
        await address.publish(1)
        (found,) = await take(stream, 1)
        assert found.payload == {"n": 1}
        assert net.connections > 1


async def test_a_quiet_connection_with_heartbeats_is_not(address: Site, transport: Transport) -> None:
    """Heartbeats are sign of life enough."""
    await address.start(Forum(allow_publish=True, heartbeat=0.1))
    async with (
        network(address.port) as net,
        connect(net.url, transport=transport, heartbeat=0.8, max_delay=0.05) as stream,
    ):
        frames = stream.frames()
        with anyio.fail_after(DEADLINE):
            for _ in range(25):
                await anext(frames)
        assert net.connections == 1


async def test_a_server_that_takes_connections_and_says_nothing_is_given_up(transport: Transport) -> None:
    """A connection has to stand in time."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        stream = connect(f"http://127.0.0.1:{port}/", transport=transport, open_timeout=0.1, max_delay=0.05)
        with anyio.move_on_after(1.0):
            await anext(stream)
        assert stream.trouble is not None
        assert "time" in str(stream.trouble).lower()
        await stream.aclose()


async def test_the_next_connection_goes_on_from_the_last_cursor(address: Site, transport: Transport) -> None:
    """In `Last-Event-ID`, as a browser would, or in `cursor`; the filters stay, the old start is gone."""
    app = Script(sending(transport, 1, 2, holds=False), sending(transport, 3, holds=True))
    await address.start(app=app)
    async with connect(address.url, tail=5, ticket="T-1", transport=transport, max_delay=0.05) as stream:
        assert [each.sequence for each in await take(stream, 3)] == [1, 2, 3]
    assert app.query(0) == "ticket=T-1&tail=5"
    if transport == "sse":
        assert (app.query(1), app.header(1, "last-event-id")) == ("ticket=T-1", "e.2.c2")
    else:
        assert (app.query(1), app.header(1, "last-event-id")) == ("ticket=T-1&cursor=e.2.c2", None)


async def test_what_a_server_repeats_is_not_delivered_twice(address: Site, transport: Transport) -> None:
    """A server that pays no heed to the cursor."""
    await address.start(app=Script(sending(transport, 1, 2, holds=False), sending(transport, 1, 2, 3, holds=True)))
    async with connect(address.url, cursor=0, transport=transport, max_delay=0.05) as stream:
        assert [each.sequence for each in await take(stream, 3)] == [1, 2, 3]


async def test_a_refusal_that_will_pass_is_waited_out(address: Site, transport: Transport) -> None:
    """At least as long as `Retry-After` says."""
    busy = JSONResponse({"error": {"code": "shutting_down", "message": "later"}}, 503, headers={"Retry-After": "1"})

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await busy(scope, receive, send)
        else:
            await WebSocket(scope, receive, send).send_denial_response(busy)

    app = Script(refuse, sending(transport, 1, holds=True))
    await address.start(app=app)
    async with connect(address.url, transport=transport, max_delay=0.05) as stream:
        await take(stream, 1)
    assert app.times[1] - app.times[0] >= 1.0


async def test_a_farewell_is_told_and_waited_out(address: Site, transport: Transport) -> None:
    """`forum.error` and the end: a restart, or a limit that is reached. Iterating over frames shows it."""
    farewell = ErrorFrame("too_many_connections", "this server is full")
    first = sse(farewell.sse, retry_ms=300) if transport == "sse" else websocket(farewell.text, code=1013)
    app = Script(first, sending(transport, 1, holds=True))
    await address.start(app=app)
    async with connect(address.url, transport=transport, max_delay=0.05) as stream:
        frames = stream.frames()
        with anyio.fail_after(DEADLINE):
            assert await anext(frames) == farewell
            assert isinstance(await anext(frames), EventsFrame)
    if transport == "sse":
        assert app.times[1] - app.times[0] >= 0.3


async def test_a_farewell_for_good_is_raised(address: Site, transport: Transport) -> None:
    """After the events that came before it. Iterating again tries again."""
    farewell = ErrorFrame("forbidden", "you may not")
    body = batch(1).sse + farewell.sse
    first = sse(body) if transport == "sse" else websocket(batch(1).text, farewell.text, code=1008)
    await address.start(app=Script(first, sending(transport, 2, holds=True)))
    async with connect(address.url, transport=transport, max_delay=0.05) as stream:
        assert (await take(stream, 1))[0].sequence == 1
        with pytest.raises(Forbidden, match="you may not"):
            await take(stream, 1)
        assert (await take(stream, 1))[0].sequence == 2


async def test_a_stream_that_only_ever_refuses_cannot_be_entered(address: Site, transport: Transport) -> None:
    """The refusal inside the stream is raised as one before it would be."""
    farewell = ErrorFrame("unauthorized", "who are you?")
    await address.start(app=sse(farewell.sse) if transport == "sse" else websocket(farewell.text, code=1008))
    with anyio.fail_after(DEADLINE), pytest.raises(Unauthorized, match="who are you"):
        async with connect(address.url, transport=transport, max_delay=0.05):
            pass


async def test_a_cursor_that_a_new_forum_cannot_read_is_a_reset(address: Site) -> None:
    """Over a WebSocket that is a refusal; the reader starts over, as it would over SSE."""
    refused = JSONResponse({"error": {"code": "invalid_cursor", "message": "cursor: got 'e.5.c5'"}}, 400)

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await WebSocket(scope, receive, send).send_denial_response(refused)

    app = Script(websocket(batch(5).text, code=1012), refuse, websocket(batch(1).text))
    await address.start(app=app)
    async with connect(address.url, transport="ws", max_delay=0.05) as stream:
        assert (await take(stream, 1))[0].sequence == 5
        with pytest.raises(ForumReset, match="replaced"):
            await take(stream, 1)
        assert stream.cursor == "earliest"
        assert (await take(stream, 1))[0].sequence == 1
    assert [app.query(number) for number in range(3)] == ["", "cursor=e.5.c5", "cursor=earliest"]


async def test_a_frame_that_is_too_large_is_told(address: Site, transport: Transport) -> None:
    """Rather than asked for again and again."""
    await address.start(app=sending(transport, *range(1, 50), holds=True))
    with anyio.fail_after(DEADLINE), pytest.raises(UnexpectedAnswer, match="more than 100 bytes"):
        async with connect(address.url, transport=transport, max_frame=100):
            pass


async def test_closing_ends_the_wait_of_another_task(site: Site, transport: Transport) -> None:
    """Which then learns that the stream is closed."""
    stream = connect(site.url, transport=transport)
    await stream.__aenter__()
    async with anyio.create_task_group() as tasks:

        async def read() -> None:
            with pytest.raises(ForumClosed):
                await take(stream, 1)

        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await stream.aclose()


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 4012])
async def test_a_closed_websocket_is_opened_again(address: Site, code: int) -> None:
    """Whatever the code; it and the reason are the trouble that is told."""
    app = Script(websocket(batch(1).text, code=code, reason="bye"), websocket(batch(2).text))
    await address.start(app=app)
    async with connect(address.url, transport="ws", max_delay=0.05) as stream:
        assert [each.sequence for each in await take(stream, 2)] == [1, 2]


async def test_frames_from_the_future_are_passed_over(address: Site, transport: Transport) -> None:
    """Before and between those that are known."""
    new = json.dumps({"type": "forum.weather"})
    if transport == "sse":
        app = sse(b"event: forum.weather\ndata: " + new.encode() + b"\n\n" + batch(1).sse, holds=True)
    else:
        app = websocket(new, batch(1).text)
    await address.start(app=app)
    async with connect(address.url, transport=transport) as stream:
        assert (await take(stream, 1))[0].sequence == 1


@pytest.mark.parametrize(
    "answer",
    [
        HTMLResponse("<html>welcome</html>"),
        Response(status_code=204),
        sse(b"data: hello\n\n"),
        sse(b"event: forum.live\ndata: {}\n\n"),
    ],
    ids=["a page", "nothing", "another stream", "broken"],
)
async def test_what_is_no_forum_is_told(address: Site, answer: Answer) -> None:
    """Rather than tried again for ever."""
    await address.start(app=answer)
    with anyio.fail_after(DEADLINE), pytest.raises(UnexpectedAnswer, match=address.url):
        async with connect(address.url):
            pass


@pytest.mark.parametrize("text", ["hello", "{}", json.dumps({"type": "forum.events", "events": [document(1)]})])
async def test_what_is_no_forum_s_websocket_is_told(address: Site, text: str) -> None:
    """The same over a WebSocket."""
    await address.start(app=websocket(text))
    with anyio.fail_after(DEADLINE), pytest.raises(UnexpectedAnswer, match=address.url):
        async with connect(address.url, transport="ws"):
            pass


def moved_to(url: str) -> Answer:
    """Answer every request with a redirect."""

    async def redirect(scope: Scope, receive: Receive, send: Send) -> None:
        answer = RedirectResponse(f"{url}/stream?{scope['query_string'].decode()}")
        if scope["type"] == "http":
            await answer(scope, receive, send)
        else:
            await WebSocket(scope, receive, send).send_denial_response(answer)

    return redirect


@pytest.mark.parametrize(("transport", "scheme"), [("sse", "http"), ("ws", "ws")])
async def test_redirects_are_followed(site: Site, old_address: Site, transport: Transport, scheme: str) -> None:
    """A forum that has moved is found; the events are the same."""
    await site.publish(1)
    await old_address.start(app=moved_to(site.url.replace("http", scheme)))
    async with connect(old_address.url, cursor=0, transport=transport) as stream:
        assert (await take(stream, 1))[0].sequence == 1


async def test_a_websocket_that_is_redirected_to_a_page_says_so(site: Site, old_address: Site) -> None:
    """The message names where it leads to."""
    await old_address.start(app=moved_to(site.url))
    with anyio.fail_after(DEADLINE), pytest.raises(UnexpectedAnswer, match=f"redirects to {site.url}"):
        async with connect(old_address.url, transport="ws"):
            pass


async def test_tls_is_checked(address: Site, transport: Transport) -> None:
    """A server whose certificate is not trusted is never spoken to; one that the given context trusts is."""
    pem = str(Path(__file__).with_name("tls.pem"))
    await address.start(Forum(allow_publish=True), ssl_certfile=pem, ssl_keyfile=pem)
    url = address.url.replace("http:", "https:")
    stream = connect(url, transport=transport, max_delay=0.05)
    with anyio.move_on_after(0.5):
        await anext(stream)
    assert "certificate" in str(stream.trouble).lower()
    await stream.aclose()
    trusting = ssl.create_default_context(cafile=pem)
    async with connect(url, transport=transport, tls=trusting) as stream:
        assert stream.connected
