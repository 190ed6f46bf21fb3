"""The demo as a process: killed, started again, and stopped, with windows that stay open all the while."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenWindow
from tests.browser.processes import DEADLINE, DemoProcess, demo_process, first_line, start_demo
from tests.browser.windows import Window
from tests.redis.servers import wait_until

pytestmark = pytest.mark.anyio


async def lose_and_recover(server: DemoProcess, *windows: Window) -> None:
    """Kill the server, see that every window says so, start it again, and see every window recover by itself."""
    await server.kill()
    for window in windows:
        await window.has_state("reconnecting")
        await expect(window.page.get_by_text("No connection since")).to_be_visible()
    await server.start()
    for window in windows:
        await window.has_state("live")
        window.may_lose_connection()


async def written(journal: Path, text: str) -> None:
    """Wait until it stands in the journal: an observer writes that, so it comes after the answer."""
    await anyio.to_thread.run_sync(wait_until, lambda: text in journal.read_text("utf-8"))


async def test_windows_recover_from_a_killed_server(windows: OpenWindow) -> None:
    """Both windows notice the loss, are rebuilt from the new log, and go on live; half-written text survives."""
    async with demo_process("--no-agents") as server:
        ada, ben = await windows(server.url), await windows(server.url)
        await ada.ask("Before", name="Ada")
        await ben.open("Before")
        await ben.reply_box.fill("half a reply")
        await ada.page.get_by_role("button", name="Ask a question").first.click()
        await ada.page.get_by_role("dialog").get_by_label("Details").fill("half a question")
        await lose_and_recover(server, ada, ben)
        await expect(ben.row("Before")).to_have_count(0)
        await expect(ben.page.get_by_text("The server has a new log")).to_be_visible()
        await expect(ben.page.locator("#thread pre")).to_have_text("half a reply")
        sheet = ada.page.get_by_role("dialog")
        await expect(sheet.get_by_label("Details")).to_have_value("half a question")
        await sheet.get_by_label("Title").fill("After")
        await sheet.get_by_label("Ticket").fill("T-1")
        await sheet.get_by_role("button", name="Ask", exact=True).click()
        await expect(ada.heading).to_have_text("After")
        await ben.open("After")
        await expect(ben.posts).to_have_text(["half a question"])
        await ben.reply("And live again.")
        await expect(ada.posts).to_have_text(["half a question", "And live again."])


async def test_unread_marks_begin_anew_with_a_new_log(windows: OpenWindow) -> None:
    """What is asked after a restart is unread, though the new log numbers its events from one again."""
    async with demo_process("--no-agents") as server:
        ada = await windows(server.url)
        await ada.ask("Before")
        await ada.reply("One.")
        ben = await windows(server.url)
        await ben.open("Before")
        await expect(ben.posts).to_have_text(["One."])
        await lose_and_recover(server, ada, ben)
        await ada.ask("After")
        await expect(ben.row("After").locator(".unread")).to_have_text("1")
        await ben.page.reload()
        await expect(ben.row("After").locator(".unread")).to_have_text("1")


async def test_a_journal_keeps_the_discussion(windows: OpenWindow, tmp_path: Path) -> None:
    """With a journal a killed server comes back with everything that was said, once, and open threads stay open."""
    journal = tmp_path / "forum.ndjson"
    async with demo_process("--no-agents", "--journal", str(journal)) as server:
        ada = await windows(server.url)
        await ada.ask("Before", body="It stays.")
        await ada.reply("This too.")
        await expect(ada.posts).to_have_text(["It stays.", "This too."])
        await written(journal, "This too.")
        await lose_and_recover(server, ada)
        await expect(ada.heading).to_have_text("Before")
        await expect(ada.posts).to_have_text(["It stays.", "This too."])
        await ada.reply("And this.")
        await written(journal, "And this.")
        await lose_and_recover(server, ada)
        await expect(ada.posts).to_have_text(["It stays.", "This too.", "And this."])


async def test_a_question_asked_while_the_server_is_away_is_kept(windows: OpenWindow) -> None:
    """Sending fails with a sentence while the server is away, and works with the same text when it is back."""
    async with demo_process("--no-agents") as server:
        ada = await windows(server.url)
        await ada.has_state("live")
        await server.kill()
        await ada.page.get_by_role("button", name="Ask a question").first.click()
        sheet = ada.page.get_by_role("dialog")
        await sheet.get_by_label("Title").fill("Is anybody there?")
        await sheet.get_by_label("Ticket").fill("T-1")
        await sheet.get_by_label("Title").press("Control+Enter")
        await expect(sheet.get_by_role("alert")).to_contain_text("can't be reached")
        await server.start()
        await ada.has_state("live")
        await sheet.get_by_label("Title").press("Control+Enter")
        await expect(ada.heading).to_have_text("Is anybody there?")
        ada.may_lose_connection()


async def test_ctrl_c_ends_it_at_once_with_windows_open(windows: OpenWindow) -> None:
    """Interrupted, the demo ends with status 0 although streams are open, and its agents with it."""
    async with demo_process() as server:
        window = await windows(server.url)
        await window.has_state("live")
        assert await server.interrupt() == 0
        await window.has_state("reconnecting")
        window.may_lose_connection()


@pytest.mark.parametrize("kind", ["port", "journal", "nested journal"])
async def test_a_start_that_fails_says_why_in_one_line(kind: str, tmp_path: Path) -> None:
    """A port in use, or a journal that isn't one, ends the start with status 1 and a sentence, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        journal = tmp_path / "forum.ndjson"
        line = json.dumps({"event_type": "forum.post.added"}) if kind == "journal" else "[" * 60_000
        journal.write_text(f"{line}\n")
        port = taken.getsockname()[1]
        process = await start_demo(
            *(("--port", str(port)) if kind == "port" else ("--port", "0", "--journal", str(journal)))
        )
        assert await first_line(process) == ""
        assert process.stderr is not None
        said = b"".join([chunk async for chunk in process.stderr]).decode()
        with anyio.fail_after(DEADLINE):
            assert await process.wait() == 1
    assert said.startswith("Error: ")
    assert said.count("\n") == 1
    assert (str(port) if kind == "port" else "line 1") in said


async def test_an_agent_answers_a_person(windows: OpenWindow) -> None:
    """A person's question is taken on and answered by an agent within seconds, in front of a board that is not empty."""
    async with demo_process("--seed", "7") as server:
        window = await windows(server.url)
        await expect(window.titles.first).to_be_visible()
        await window.ask("How do I resume a stream?", ticket="PAY-101", body="After a restart.")
        await expect(window.page.locator(".post[data-type=agent]")).to_be_visible(timeout=10_000)
        await expect(window.select("state")).to_have_value("answered")
