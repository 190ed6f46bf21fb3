"""One Chromium for all tests of this package, and the demo that most of them look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Literal

import anyio.to_thread
import pytest
from playwright.async_api import Browser, Playwright, async_playwright, expect

from demo.app import create_app
from tests.browser.windows import Window, open_window
from tests.servers import serve

NO_CHROMIUM = "no Chromium was found: install one (`apt-get install chromium`), or Playwright's own (`playwright install chromium`)"
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]

AGENT_KEY = "the-key-of-these-tests"

OpenWindow = Callable[..., Awaitable[Window]]


def _chromium(playwright: Playwright) -> str:
    """Return where a Chromium is; without one the tests are skipped, but fail in CI."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None and Path(playwright.chromium.executable_path).exists():
        found = playwright.chromium.executable_path
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(NO_CHROMIUM)
    return found


@pytest.fixture(scope="package")
async def browser() -> AsyncGenerator[Browser, None]:
    """Start the browser once; each test opens windows of its own, which share nothing."""
    expect.set_options(timeout=15_000)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=_chromium(playwright), headless=True, args=ARGUMENTS
        )
        yield chromium
        await chromium.close()


@pytest.fixture(params=["sse", "ws"])
def transport(request: pytest.FixtureRequest) -> Literal["sse", "ws"]:
    """Each transport in turn."""
    name: Literal["sse", "ws"] = request.param
    return name


@pytest.fixture
async def demo() -> AsyncGenerator[str, None]:
    """The address of a demo without agents, whose log is empty."""
    serving = serve(create_app(agent_key=AGENT_KEY))
    yield (await anyio.to_thread.run_sync(serving.__enter__)).url
    await anyio.to_thread.run_sync(lambda: serving.__exit__(None, None, None))


@pytest.fixture
async def windows(browser: Browser) -> AsyncGenerator[OpenWindow, None]:
    """Open windows, as people at different machines would; at the end none of them may have had an error to report."""
    opened: list[Window] = []

    async def open_one(url: str, *, width: int = 1280, height: int = 800) -> Window:
        window = await open_window(browser, url, width=width, height=height)
        opened.append(window)
        return window

    yield open_one
    for window in opened:
        await window.page.context.close()
    assert [fault for window in opened for fault in window.faults] == []
