"""The tutorial's app does in a real browser what the tutorial promises."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import pytest
from playwright.async_api import Browser, Page, expect

from tests.docs.pages import ROOT, blocks
from tests.docs.projects import served, write_files

pytestmark = pytest.mark.anyio

TUTORIAL = ROOT / "docs" / "tutorial.md"


@asynccontextmanager
async def serving(folder: Path, port: int = 0) -> AsyncGenerator[str]:
    """Serve the app, as `uvicorn app:app` does, while the block runs."""
    server = served("app", folder, port)
    url = await anyio.to_thread.run_sync(server.__enter__)
    try:
        yield url
    finally:
        await anyio.to_thread.run_sync(server.__exit__, *sys.exc_info())


async def add(page: Page, note: str) -> None:
    """Add a note, as a visitor does."""
    await page.get_by_placeholder("Add a note").fill(note)
    await page.get_by_role("button", name="Add").click()


async def test_the_page_is_live_and_survives_a_restart(browser: Browser, tmp_path: Path) -> None:
    """What one window adds the other shows; both come back to a restarted server, and show its empty log."""
    write_files({block.title: block.text for block in blocks(TUTORIAL) if block.title}, tmp_path)
    context = await browser.new_context()
    one, other = await context.new_page(), await context.new_page()
    async with serving(tmp_path) as url:
        for page in (one, other):
            await page.goto(url)
            await expect(page.locator("#state")).to_have_text("live")
        await add(one, "It does not start.")
        await expect(other.locator("li")).to_have_text(["It does not start."])
        await add(other, "Have you turned it off and on?")
        for page in (one, other):
            await expect(page.locator("li")).to_have_text(["It does not start.", "Have you turned it off and on?"])
    for page in (one, other):
        await expect(page.locator("#state")).to_have_text("reconnecting")
    async with serving(tmp_path, int(url.rpartition(":")[2])):
        for page in (one, other):
            await expect(page.locator("#state")).to_have_text("live")
            await expect(page.locator("li")).to_have_count(0)
        await add(one, "It starts.")
        await expect(other.locator("li")).to_have_text(["It starts."])
        await context.close()
