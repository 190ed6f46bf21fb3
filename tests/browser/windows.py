"""A window of the demo, by what a person does and sees in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from playwright.async_api import Browser, ConsoleMessage, Error, Locator, Page, expect

__all__ = ["Window", "open_window"]

LOST_CONNECTION = re.compile(r"net::ERR_|WebSocket connection to .* failed")
"""What a browser writes to its console while a server is away, and can't be kept from."""


@dataclass
class Window:
    """A window, with what went wrong in it."""

    page: Page
    faults: list[str] = field(default_factory=list[str])
    expected: list[str] = field(default_factory=list[str])
    """Parts of console errors that belong to the test."""

    def on_console(self, message: ConsoleMessage) -> None:
        """Keep what the page or the browser complains about."""
        if message.type in ("error", "warning") and not any(part in message.text for part in self.expected):
            self.faults.append(f"{message.type}: {message.text}")

    def on_error(self, error: Error) -> None:
        """Keep what the page did not catch."""
        self.faults.append(f"uncaught: {error}")

    def may_lose_connection(self) -> None:
        """Forget complaints about a server that was away."""
        self.faults = [fault for fault in self.faults if not LOST_CONNECTION.search(fault)]

    async def has_state(self, state: str) -> None:
        """Wait for a state of the connection."""
        await expect(self.page.locator(f'body[data-connection="{state}"]')).to_be_attached()

    async def ask(
        self,
        title: str,
        *,
        ticket: str = "T-1",
        run: str = "",
        body: str = "",
        priority: str = "Normal",
        name: str = "",
    ) -> None:
        """Ask a question, and wait until it is taken."""
        await self.page.get_by_role("button", name="Ask a question").first.click()
        sheet = self.page.get_by_role("dialog", name="Ask a question")
        await sheet.get_by_label("Title").fill(title)
        await sheet.get_by_label("Details").fill(body)
        await sheet.get_by_label("Ticket").fill(ticket)
        await sheet.get_by_label("Run").fill(run)
        await sheet.locator("label", has=self.page.get_by_role("radio", name=priority)).click()
        if name:
            await sheet.get_by_label("Your name").fill(name)
        await sheet.get_by_role("button", name="Ask", exact=True).click()
        await expect(sheet).to_be_hidden()

    def row(self, title: str) -> Locator:
        """A thread's row in the list."""
        return self.page.locator("#rows li", has=self.page.locator(".row-title", has_text=title))

    @property
    def titles(self) -> Locator:
        """The titles in the list, from the top."""
        return self.page.locator("#rows .row-title")

    async def open(self, title: str) -> None:
        """Open a thread, and wait until it is shown."""
        await self.row(title).click()
        await expect(self.heading).to_have_text(title)

    @property
    def heading(self) -> Locator:
        """The title of the open thread."""
        return self.page.locator("#thread h1")

    @property
    def posts(self) -> Locator:
        """What was said in the open thread."""
        return self.page.locator("#thread .timeline .prose")

    @property
    def notes(self) -> Locator:
        """What was done to the open thread."""
        return self.page.locator("#thread .timeline .note-text")

    @property
    def reply_box(self) -> Locator:
        """Where a reply is typed."""
        return self.page.get_by_label("Reply", exact=True)

    async def reply(self, text: str) -> None:
        """Reply in the open thread, by the keyboard."""
        await self.reply_box.fill(text)
        await self.reply_box.press("Control+Enter")
        await expect(self.reply_box).to_have_value("")

    def select(self, name: str) -> Locator:
        """One of the filters (ticket, run), or of the open thread's properties (state, priority, assignee)."""
        return self.page.locator(f"select[name={name}]")

    async def show(self, which: str) -> None:
        """Show only such threads: Open, Unread, Closed or All."""
        await self.page.locator("#filters .segments label", has_text=which).click()


async def open_window(browser: Browser, url: str, *, width: int, height: int) -> Window:
    """Open an address in a window with a memory of its own."""
    context = await browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    page = await context.new_page()
    window = Window(page)
    page.on("console", window.on_console)
    page.on("pageerror", window.on_error)
    await page.goto(url)
    return window
