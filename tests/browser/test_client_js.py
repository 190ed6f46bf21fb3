"""client.js in a browser, over both transports, at servers that stop and networks that fail."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import anyio
import pytest
from playwright.async_api import Browser, Page, Route, WebSocketRoute

from asgi_forum import Forum, Limits
from tests.browser.follower import follow
from tests.client.site import DEADLINE, Site, network
from tests.wire.sources import DistantSource

pytestmark = pytest.mark.anyio


@pytest.fixture
async def site() -> AsyncGenerator[Site, None]:
    """An address where a forum with an empty log is served."""
    place = Site()
    await place.start(Forum(allow_publish=True, heartbeat=0.4))
    yield place
    with anyio.fail_after(DEADLINE, shield=True):
        await place.stop()


@pytest.fixture
async def page(browser: Browser) -> AsyncGenerator[Page, None]:
    """A window; where it is sent first decides its origin."""
    context = await browser.new_context()
    context.set_default_timeout(15_000)
    yield await context.new_page()
    await context.close()


async def test_history_comes_first_and_then_what_happens(site: Site, page: Page, transport: str) -> None:
    """Stored events and new ones arrive in order and once each, with the states that belong to it."""
    await site.publish(1, 2, 3)
    await page.goto(site.url + "/health")
    stream = await follow(page, cursor="earliest", transport=transport)
    await stream.until("told.live === 1")
    await site.publish(4)
    told = await stream.has_numbers(1, 2, 3, 4)
    assert told["states"] == ["catching-up", "live"]
    assert told["resets"] == []


async def test_the_address_is_by_default_that_of_the_module(site: Site, page: Page) -> None:
    """Without an address the stream is that of the forum which served client.js, from now on."""
    await site.publish(1)
    await page.goto(site.url + "/health")
    stream = await follow(page, None)
    await stream.until("told.live === 1")
    await site.publish(2)
    await stream.has_numbers(2)


async def test_filters_keep_the_rest_out(site: Site, page: Page, transport: str) -> None:
    """Only events that match all filters arrive, whichever of a filter's values they have."""
    await page.goto(site.url + "/health")
    stream = await follow(page, ticket=["A", "B"], eventType="forum.post", cursor="earliest", transport=transport)
    await site.publish(1, ticket="A")
    await site.publish(2, ticket="C")
    await site.publish(3, ticket="B")
    await stream.has_numbers(1, 3)


async def test_it_begins_with_the_tail(site: Site, page: Page, transport: str) -> None:
    """`tail` asks for the newest events that match."""
    await site.publish(1, 2, 3)
    await page.goto(site.url + "/health")
    stream = await follow(page, tail=2, transport=transport)
    await stream.has_numbers(2, 3)


async def test_it_goes_on_after_a_restart_of_the_server(site: Site, page: Page, transport: str) -> None:
    """A server that is away for a while costs no event and repeats none, and needs no reset."""
    forum = Forum(allow_publish=True)
    await site.stop()
    await site.start(forum)
    await page.goto(site.url + "/health")
    stream = await follow(page, transport=transport)
    await stream.until("told.live === 1")
    await site.publish(1, 2)
    await stream.has_numbers(1, 2)
    await site.stop()
    await stream.until("told.states.at(-1) === 'reconnecting'")
    await site.start(forum)
    await site.publish(3)
    await stream.until("stream.state === 'live'")
    await site.publish(4)
    told = await stream.has_numbers(1, 2, 3, 4)
    assert told["resets"] == []


async def test_another_log_is_told_as_a_reset(site: Site, page: Page, transport: str) -> None:
    """A server that comes back with a new log leads to one reset, and then to all events of that log."""
    await page.goto(site.url + "/health")
    stream = await follow(page, cursor="earliest", transport=transport)
    await site.publish(1, 2, 3)
    await stream.has_numbers(1, 2, 3)
    await site.stop()
    await site.start(Forum(allow_publish=True))
    await site.publish(7)
    told = await stream.has_numbers(1, 2, 3, 7)
    assert told["resets"] == ["replaced"]


async def test_a_cursor_that_the_server_cant_read_any_more_is_a_reset(site: Site, page: Page) -> None:
    """Where a WebSocket is refused for a cursor that the forum once gave, the stream starts over, and says so."""
    await site.publish(1, 2)
    strange = '{"type": "forum.live", "mode": "push", "next_cursor": "of-another-forum!"}'
    connections = 0

    async def another_forum_first(socket: WebSocketRoute) -> None:
        nonlocal connections
        connections += 1
        if connections > 1:
            socket.connect_to_server()
            return
        socket.send(strange)
        await socket.close(code=1012)

    await page.route_web_socket("**/forum/stream**", another_forum_first)
    await page.goto(site.url + "/health")
    stream = await follow(page, transport="ws")
    told = await stream.has_numbers(1, 2)
    assert told["resets"] == ["replaced"]


async def test_an_event_that_comes_again_is_not_told_again(site: Site, page: Page) -> None:
    """Whatever lies between repeats a frame or mixes up the order: each event is told once, and none out of order."""

    async def stammer(socket: WebSocketRoute) -> None:
        for numbers in ([1, 2], [1, 2], [2, 3], [1]):
            events = [{"sequence": n, "cursor": f"c{n}", "envelope": {}, "payload": {"n": n}} for n in numbers]
            socket.send(json.dumps({"type": "forum.events", "events": events, "next_cursor": events[-1]["cursor"]}))

    await page.route_web_socket("**/forum/stream**", stammer)
    await page.goto(site.url + "/health")
    stream = await follow(page, transport="ws")
    await stream.has_numbers(1, 2, 3)


async def test_connections_that_break_midway_lose_and_repeat_nothing(site: Site, page: Page, transport: str) -> None:
    """Cut again and again in the middle of a long history, the stream delivers every event of it once, in order."""
    await site.stop()
    await site.start(Forum(allow_publish=True), ws_per_message_deflate=False)  # or all of it would be a few bytes
    await site.publish(*range(400))
    async with network(site.port) as net:
        await page.goto(net.url + "/health")
        await page.evaluate("import('/forum/client.js')")
        net.budgets = [20_000, 9_000, 300, 31_000]
        net.cut()
        stream = await follow(page, f"{net.url}/", cursor="earliest", limit=7, transport=transport)
        await page.evaluate("setInterval(() => stream.reconnect(), 20)")
        told = await stream.has_numbers(*range(400))
        assert told["resets"] == []
        assert net.budgets == []


async def test_a_connection_that_falls_silent_is_made_anew(site: Site, page: Page, transport: str) -> None:
    """Where nothing comes for two and a half heartbeats, though the connection stands, another one is made."""
    async with network(site.port) as net:
        await page.goto(net.url + "/health")
        stream = await follow(page, transport=transport, heartbeat=0.4)
        await stream.until("told.live === 1")
        net.hush()
        await stream.until("told.states.includes('reconnecting')")
        assert (await stream.told())["reasons"] == ["silent"]
        await site.publish(1)
        await stream.until("told.live === 2")
        await stream.has_numbers(1)


async def test_a_machine_that_slept_connects_anew(site: Site, page: Page, transport: str) -> None:
    """When the clock has jumped, the old connection isn't trusted, and what came meanwhile is delivered."""
    await page.clock.install()
    await page.goto(site.url + "/health")
    stream = await follow(page, transport=transport, heartbeat=3600)
    await stream.until("told.live === 1")
    await page.clock.fast_forward("08:00:00")
    await stream.until("told.states.includes('reconnecting')")
    await page.evaluate("stream.reconnect()")
    await stream.until("told.live === 2")
    await site.publish(1)
    await stream.has_numbers(1)


async def test_a_refusal_for_good_ends_it_and_says_why(site: Site, page: Page, transport: str) -> None:
    """A parameter that is off closes the stream, with the forum's own code and message."""
    await page.goto(site.url + "/health")
    stream = await follow(page, cursor="rubbish!", transport=transport)
    told = await stream.until("stream.state === 'closed'")
    [(code, message)] = told["errors"]
    assert code == "invalid_cursor"
    assert "rubbish!" in message


async def test_a_refusal_that_passes_is_tried_again(site: Site, page: Page, transport: str) -> None:
    """A forum that is full is asked again, and followed once there is room."""
    await site.stop()
    await site.start(Forum(allow_publish=True, limits=Limits(streams=1)))
    await page.goto(site.url + "/health")
    await follow(page, transport=transport)
    await page.wait_for_function("told.live === 1")
    await page.evaluate("globalThis.first = stream")
    second = await follow(page, transport=transport)
    await second.until("told.states.includes('reconnecting')")
    # A browser doesn't tell its page why a WebSocket was refused.
    assert (await second.told())["reasons"] == ["too_many_connections" if transport == "sse" else "unreachable"]
    await page.evaluate("first.close()")
    await page.evaluate("setInterval(() => stream.reconnect(), 50)")
    await second.until("stream.state === 'live'")


async def test_a_source_that_is_away_shows_as_degraded(site: Site, page: Page, transport: str) -> None:
    """While the forum can't reach its source the stream says so, and goes on without loss afterwards."""
    await site.stop()
    source = DistantSource()
    await site.start(Forum(source, allow_publish=True, heartbeat=0.4))
    await page.goto(site.url + "/health")
    stream = await follow(page, cursor="earliest", transport=transport)
    await site.publish(1)
    await stream.has_numbers(1)

    async def change(away: bool) -> None:
        source.leave() if away else source.come_back()

    await site.in_server(lambda: change(True))
    await stream.until("stream.state === 'degraded'")
    await site.in_server(lambda: change(False))
    await stream.until("stream.state === 'live'")
    await site.publish(2)
    told = await stream.has_numbers(1, 2)
    assert told["states"] == ["catching-up", "live", "degraded", "live"]


async def test_a_closed_stream_is_silent(site: Site, page: Page, transport: str) -> None:
    """After close() no event and no state comes, and the server counts the stream no more."""
    await page.goto(site.url + "/health")
    stream = await follow(page, transport=transport)
    await stream.until("told.live === 1")
    await page.evaluate("stream.close()")
    await site.publish(1)
    await page.wait_for_function(
        "fetch('/forum/health').then((answer) => answer.json()).then(({ streams }) => streams.sse + streams.websocket === 0)"
    )
    told = await stream.told()
    assert told["numbers"] == []
    assert told["states"] == ["catching-up", "live", "closed"]


async def test_options_that_cant_be_right_are_refused_at_once(site: Site, page: Page) -> None:
    """A transport or an interval that can't be is a TypeError which says what is taken."""
    await page.goto(site.url + "/health")
    refused = await page.evaluate("""async () => {
      const { connect } = await import("/forum/client.js");
      return [{ transport: "carrier pigeon" }, { heartbeat: 0 }].map((options) => {
        try { connect(options); } catch (error) { return `${error.name}: ${error.message}`; }
      });
    }""")
    assert refused == [
        'TypeError: transport: got "carrier pigeon", expected "sse" or "ws"',
        "TypeError: heartbeat: got 0, expected seconds above 0",
    ]


async def test_publishing_again_after_a_lost_answer_publishes_once(site: Site, page: Page) -> None:
    """Where the answer is lost, publish() tries again with the same ids, and the forum has the events once."""
    await page.goto(site.url + "/health")

    async def lose_the_answer(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await page.route("**/forum/events", lose_the_answer, times=1)
    receipts = await page.evaluate("""async () => {
      const { publish } = await import("/forum/client.js");
      return publish([1, 2].map((n) => ({ event_type: "forum.post.added", ticket: "T-1", payload: { n } })));
    }""")
    assert [(receipt["sequence"], receipt["duplicate"]) for receipt in receipts] == [(1, True), (2, True)]
    stream = await follow(page, cursor="earliest")
    await stream.has_numbers(1, 2)


async def test_a_refused_publish_says_what_is_wrong(site: Site, page: Page) -> None:
    """An event that doesn't pass is not tried again; the error has the forum's code, status and details."""
    await page.goto(site.url + "/health")
    refused = await page.evaluate("""async () => {
      const { publish } = await import("/forum/client.js");
      const refused = publish("/forum", { event_type: "forum.post.added" });
      return refused.catch(({ name, code, status, details }) => [name, code, status, details[0].loc]);
    }""")
    assert refused == ["ForumError", "invalid_event", 422, [0, "ticket"]]


async def test_a_page_is_read_with_its_cursor(site: Site, page: Page) -> None:
    """read() returns a page and where to go on; `latest` is the cursor to take before a snapshot."""
    await site.publish(1, 2, 3)
    await page.goto(site.url + "/health")
    numbers, more, nothing = await page.evaluate("""async () => {
      const { read } = await import("/forum/client.js");
      const first = await read({ limit: 2 });
      const rest = await read("/forum", { cursor: first.next_cursor });
      const latest = await read({ cursor: "latest" });
      const after = await read({ cursor: latest.next_cursor, wait: 0.1 });
      return [[...first.events, ...rest.events].map(({ payload }) => payload.n), [first.has_more, rest.has_more], after.events];
    }""")
    assert (numbers, more, nothing) == ([1, 2, 3], [True, False], [])


async def test_a_page_that_cant_go_on_is_a_reset(site: Site, page: Page) -> None:
    """Where events are missing read() throws a ForumReset with the reason and where to go on."""
    await page.goto(site.url + "/health")
    reset = await page.evaluate("""async () => {
      const { read, ForumReset } = await import("/forum/client.js");
      return read({ cursor: 99 }).catch((error) => [error instanceof ForumReset, error.reason, typeof error.nextCursor]);
    }""")
    assert reset == [True, "ahead", "string"]
