"""The stream for a browser without any script of ours: its own EventSource."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from asgi_forum import Forum
from tests.browser.test_client_js import page, site
from tests.client.site import Site

__all__ = ["page", "site"]

pytestmark = pytest.mark.anyio

LISTEN = """(query) => {
  globalThis.told = { numbers: [], resets: [], errors: 0 };
  const source = globalThis.source = new EventSource(`/forum/stream?${query}`);
  source.onmessage = ({ data }) => told.numbers.push(JSON.parse(data).payload.n);
  source.addEventListener("forum.reset", ({ data }) => told.resets.push(JSON.parse(data).reason));
  source.onerror = () => { told.errors += 1; };
}"""


async def test_an_eventsource_resumes_by_itself_across_a_restart(site: Site, page: Page) -> None:
    """A plain EventSource reconnects with its Last-Event-ID: it misses nothing, and nothing comes twice."""
    forum = Forum(allow_publish=True)
    await site.stop()
    await site.start(forum)
    await site.publish(1)
    await page.goto(site.url + "/health")
    await page.evaluate(LISTEN, "cursor=earliest&ticket=T-1")
    await site.publish(2)
    await page.wait_for_function("told.numbers.length >= 2")
    await site.stop()
    await page.wait_for_function("told.errors > 0")
    await site.start(forum)
    await site.publish(3)
    # Its address says `earliest`: without a Last-Event-ID all would come again.
    await page.wait_for_function("told.numbers.length >= 3")
    assert await page.evaluate("[told.numbers, told.resets]") == [[1, 2, 3], []]


async def test_an_eventsource_of_a_log_that_is_gone_hears_a_reset(site: Site, page: Page) -> None:
    """Back at a server with another log, it is told so by a forum.reset, and gets that log's events."""
    await site.publish(1)
    await page.goto(site.url + "/health")
    await page.evaluate(LISTEN, "cursor=earliest")
    await page.wait_for_function("told.numbers.length >= 1")
    await site.stop()
    await site.start(Forum(allow_publish=True))
    await site.publish(2)
    await page.wait_for_function("told.numbers.length >= 2")
    assert await page.evaluate("[told.numbers, told.resets]") == [[1, 2], ["replaced"]]
