"""The demo in several windows at once: what one person does, the others see."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from asgi_forum.client import publish
from tests.browser.conftest import AGENT_KEY, OpenWindow

pytestmark = pytest.mark.anyio


async def test_a_question_appears_in_every_window(demo: str, windows: OpenWindow) -> None:
    """A question asked in one window is in the list of another at once, with all that was said about it."""
    ada, ben = await windows(demo), await windows(demo)
    await ben.has_state("live")
    await ada.ask(
        "Who has seen the keys?", ticket="OPS-1", run="run-7", body="They were here.", priority="High", name="Ada"
    )
    row = ben.row("Who has seen the keys?")
    await expect(row).to_contain_text("Ada They were here.")
    await expect(row.locator(".tag")).to_have_text(["OPS-1", "run-7"])
    await expect(row.locator(".priority")).to_have_text("High")
    await expect(ada.heading).to_have_text("Who has seen the keys?")
    await ben.open("Who has seen the keys?")
    await expect(ben.posts).to_have_text(["They were here."])
    await expect(ben.page.locator(".question .badge")).to_have_text("human")


async def test_what_is_done_to_a_thread_shows_live_in_the_others(demo: str, windows: OpenWindow) -> None:
    """Replies, assignment, state, priority and closing arrive in another window that has the thread open."""
    ada, ben = await windows(demo), await windows(demo)
    await ada.ask("Is it done?", name="Ada")
    await ben.open("Is it done?")
    await ben.reply("Nearly.")
    await expect(ada.posts).to_have_text(["Nearly."])
    await ada.page.get_by_role("button", name="Assign to me").click()
    await expect(ben.select("assignee")).to_have_value("Ada")
    await ben.select("state").select_option("Blocked")
    await expect(ada.select("state")).to_have_value("blocked")
    await ben.select("priority").select_option("Urgent")
    await expect(ada.select("priority")).to_have_value("urgent")
    await ada.page.get_by_role("button", name="Close thread").click()
    await expect(ben.notes).to_have_text(
        ["took this on", "marked this blocked", "set the priority to urgent", "closed this"]
    )
    await expect(ben.reply_box).to_be_disabled()
    await expect(ben.page.get_by_text("Ctrl + Enter sends")).to_have_count(0)
    await expect(ben.row("Is it done?")).to_have_count(0)
    await ben.show("Closed")
    await expect(ben.row("Is it done?").locator(".state")).to_have_text("Closed")
    await ben.page.get_by_role("button", name="Reopen").first.click()
    await expect(ada.reply_box).to_be_enabled()


async def test_control_signals_show_in_the_threads_of_the_run(demo: str, windows: OpenWindow) -> None:
    """A run that somebody pauses is shown as paused to everyone, and who paused it counts as an operator."""
    ada, ben = await windows(demo), await windows(demo)
    await ada.ask("How far is the run?", run="run-7")
    await ben.open("How far is the run?")
    await ada.page.get_by_role("button", name="Pause").click()
    await expect(ben.page.locator(".run-state")).to_have_text("Paused")
    await expect(ben.notes).to_have_text(["paused run-7"])
    await expect(ben.page.locator(".note .badge")).to_have_text("operator")
    await ben.page.get_by_role("button", name="Resume").click()
    await expect(ada.page.locator(".run-state")).to_have_text("Running")


async def test_filters_by_ticket_run_and_words(demo: str, windows: OpenWindow) -> None:
    """Each filter leaves its own threads, the address keeps the filter, and one that leaves none says so."""
    window = await windows(demo)
    await window.ask("First", ticket="A-1", run="run-1")
    await window.ask("Second", ticket="A-1", run="run-2", body="about bananas")
    await window.ask("Third", ticket="B-2", run="run-3")
    await expect(window.titles).to_have_text(["Third", "Second", "First"])
    await window.select("ticket").select_option("A-1")
    await expect(window.titles).to_have_text(["Second", "First"])
    await window.select("run").select_option("run-1")
    await expect(window.titles).to_have_text(["First"])
    await window.page.reload()
    await expect(window.titles).to_have_text(["First"])
    await window.select("run").select_option("")
    await window.page.get_by_role("searchbox").fill("BANANAS")
    await expect(window.titles).to_have_text(["Second"])
    await window.page.get_by_role("searchbox").fill("no such word")
    await expect(window.page.get_by_text("No thread matches")).to_be_visible()


async def test_unread_marks_come_with_what_others_write_and_go_by_reading(demo: str, windows: OpenWindow) -> None:
    """What others wrote is marked until its thread is opened; what one wrote oneself is not."""
    ada, ben = await windows(demo), await windows(demo)
    await ada.has_state("live")
    await ben.has_state("live")
    await ada.ask("First")
    await ada.ask("Second")
    await expect(ben.row("First").locator(".unread")).to_have_text("1")
    await expect(ben.page).to_have_title("(2) Forum")
    await expect(ada.page.locator(".unread")).to_have_count(0)
    await ben.open("First")
    await expect(ben.row("First").locator(".unread")).to_have_count(0)
    await ben.reply("Seen.")
    await expect(ada.row("First").locator(".unread")).to_have_text("1")
    await expect(ada.page).to_have_title("(1) Forum")
    await ben.page.reload()
    await expect(ben.page).to_have_title("(1) Forum")
    await ben.show("Unread")
    await expect(ben.titles).to_have_text(["First", "Second"])  # the one that is open stays in the list


async def test_unread_marks_follow_the_log_and_no_clock(demo: str, windows: OpenWindow) -> None:
    """What is published after it was read is unread, whatever time it claims to be of."""
    headers = {"Authorization": f"Bearer {AGENT_KEY}"}
    await publish(
        f"{demo}/forum", {"event_type": "forum.post.added", "ticket": "T-1", "thread_id": "old"}, headers=headers
    )
    window = await windows(demo)
    await window.has_state("live")
    unread = window.row("First").locator(".unread")
    opened = {"event_type": "forum.thread.opened", "ticket": "T-1", "thread_id": "thr-1", "payload": {"title": "First"}}
    await publish(f"{demo}/forum", {**opened, "occurred_at": "2025-03-01T12:00:00Z"}, headers=headers)
    await expect(unread).to_have_text("1")
    await window.open("First")
    await expect(unread).to_have_count(0)
    await window.page.keyboard.press("Escape")
    post = {"event_type": "forum.post.added", "ticket": "T-1", "thread_id": "thr-1", "payload": {"body": "more"}}
    await publish(f"{demo}/forum", {**post, "occurred_at": "2099-01-01T00:00:00Z"}, headers=headers)
    await expect(unread).to_have_text("1")
    await window.open("First")
    await expect(unread).to_have_count(0)
    await window.page.keyboard.press("Escape")
    await publish(f"{demo}/forum", post, headers=headers)
    await expect(unread).to_have_text("1")
    await window.page.reload()
    await expect(unread).to_have_text("1")
    await window.open("First")
    await expect(window.page.locator(".divider + .post")).to_have_text(re.compile("more"))
    await expect(window.page.locator(".divider ~ .post")).to_have_count(1)


@pytest.mark.parametrize(
    "kept", ['{"since": 4102444800000, "seen": {"thr-1": 4102444800000}}', '{"log": "another", "since": 900}', "[", "7"]
)
async def test_marks_that_are_not_of_this_log_count_for_nothing(demo: str, windows: OpenWindow, kept: str) -> None:
    """What an older page, another log or anything else left in the browser's storage is as a first visit."""
    window = await windows(demo)
    await window.page.evaluate("(kept) => localStorage.setItem('forum.read', kept)", kept)
    await window.page.reload()
    await window.has_state("live")
    await (await windows(demo)).ask("First")
    await expect(window.row("First").locator(".unread")).to_have_text("1")


async def test_a_link_to_a_thread_opens_it(demo: str, windows: OpenWindow) -> None:
    """The address of an open thread opens the same thread in a window that never saw the list."""
    ada = await windows(demo)
    await ada.ask("Where is it?", body="Here.")
    await expect(ada.heading).to_have_text("Where is it?")
    ben = await windows(ada.page.url)
    await expect(ben.heading).to_have_text("Where is it?")
    await expect(ben.posts).to_have_text(["Here."])


async def test_a_date_of_another_year_tells_the_year(demo: str, windows: OpenWindow) -> None:
    """What is more than a year old, or claims to be as far ahead, shows a date that can't be taken for this year's."""
    moments = [datetime.now(UTC) + timedelta(days=days) for days in (-400, 400)]
    opened = [
        {"event_type": "forum.thread.opened", "ticket": "T-1", "thread_id": str(at.year), "occurred_at": at.isoformat()}
        for at in moments
    ]
    await publish(f"{demo}/forum", opened, headers={"Authorization": f"Bearer {AGENT_KEY}"})
    window = await windows(demo)
    years = [re.compile(str(at.year)) for at in reversed(moments)]
    await expect(window.page.locator("#rows time")).to_have_text(years)


@pytest.mark.parametrize("key", ["n", "N"])
async def test_an_empty_forum_says_what_to_do(demo: str, windows: OpenWindow, key: str) -> None:
    """A visitor to an empty forum is told so, and how to begin."""
    window = await windows(demo)
    await expect(window.page.get_by_text("Nothing here yet")).to_be_visible()
    await expect(window.page.get_by_text("Ask something: everyone who is here sees it at once.")).to_be_visible()
    await window.page.keyboard.press(key)
    await expect(window.page.get_by_role("dialog", name="Ask a question")).to_be_visible()


async def test_the_phone_shows_one_pane_at_a_time(demo: str, windows: OpenWindow) -> None:
    """On a phone a thread covers the list, back returns to it, and nothing is wider than the screen."""
    phone = await windows(demo, width=390, height=844)
    await phone.ask("A question whose title is long enough for two lines", ticket="A-1", body="x" * 400)
    await expect(phone.page.locator("#list")).to_be_hidden()
    await expect(phone.posts).to_be_visible()
    await expect(phone.page.locator(".thread-head").get_by_text("Live")).to_be_visible()
    width = await phone.page.evaluate("document.documentElement.scrollWidth")
    assert width == 390
    await phone.page.get_by_role("button", name="Properties").click()
    await phone.select("priority").select_option("High")
    await expect(phone.notes).to_have_text(["set the priority to high"])
    await phone.page.get_by_role("button", name="Back to the list").click()
    await expect(phone.page.locator("#thread")).to_be_hidden()
    await phone.row("A question").click()
    await phone.page.go_back()
    await expect(phone.row("A question")).to_be_visible()


async def test_open_properties_stay_under_the_finger(demo: str, windows: OpenWindow) -> None:
    """On a phone neither what others write nor a change of one's own scrolls the open properties away; one's reply may."""
    phone, other = await windows(demo, width=390, height=844), await windows(demo)
    await phone.ask("First", body="b\n\n" * 6)
    await phone.reply("one\n\n" * 3)
    await phone.page.get_by_role("button", name="Properties").click()
    await other.open("First")
    await other.reply("two\n\n" * 3)
    await expect(phone.posts).to_have_count(3)
    await expect(phone.select("state")).to_be_in_viewport(ratio=1)
    await phone.select("state").select_option("Blocked")
    await expect(phone.notes).to_have_count(1)
    await expect(phone.select("state")).to_be_in_viewport(ratio=1)
    await expect(phone.page.get_by_role("button", name="New replies below")).to_be_visible()
    await phone.reply("three\n\n" * 3)
    await expect(phone.posts.last).to_be_in_viewport(ratio=1)


async def test_a_long_title_leaves_room_on_a_phone(demo: str, windows: OpenWindow) -> None:
    """A phone shows three lines of a title, and all of it after a tap."""
    phone = await windows(demo, width=390, height=844)
    await phone.ask("word " * 39)
    three_lines = "(title) => title.offsetHeight < 80 && title.scrollHeight > title.offsetHeight"
    assert await phone.heading.evaluate(three_lines)
    await phone.heading.click()
    assert await phone.heading.evaluate("(title) => title.scrollHeight === title.offsetHeight")


@pytest.mark.parametrize("width", [390, 1280])
async def test_no_word_is_too_long_for_the_page(demo: str, windows: OpenWindow, width: int) -> None:
    """The longest title, names and identifiers, without a blank in them, push nothing off the page."""
    window = await windows(demo, width=width)
    long = "W" * 80
    await window.ask("W" * 200, ticket=long, run=long, body=long, name=long)
    await window.reply(long)
    for button in ("Reply", "Properties", "Ask a question"):
        for each in await window.page.get_by_role("button", name=button, exact=True).all():
            await expect(each).to_be_in_viewport(ratio=1)
    assert await window.page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
    outside = (
        "[...document.querySelectorAll('#thread *')].filter((one) => one.getBoundingClientRect().right > innerWidth)"
    )
    assert await window.page.evaluate(f"{outside}.map((one) => one.className)") == []


async def test_two_thousand_threads_stay_quick(demo: str, windows: OpenWindow) -> None:
    """The page holds only the rows that were scrolled to, and a new post draws no other row again."""
    opened = [
        {
            "event_type": "forum.thread.opened",
            "ticket": "T-1",
            "thread_id": f"thr-{n}",
            "payload": {"title": f"Thread {n}"},
        }
        for n in range(2000)
    ]
    headers = {"Authorization": f"Bearer {AGENT_KEY}"}
    for start in (0, 1000):
        await publish(f"{demo}/forum", opened[start : start + 1000], headers=headers)
    window = await windows(demo)
    await expect(window.titles.first).to_have_text("Thread 1999")
    assert await window.titles.count() == 60
    await window.page.evaluate("for (const row of document.querySelectorAll('.row > *')) row.old = true")
    await publish(
        f"{demo}/forum",
        {"event_type": "forum.post.added", "ticket": "T-1", "thread_id": "thr-7", "payload": {"body": "new"}},
        headers=headers,
    )
    await expect(window.titles.first).to_have_text("Thread 7")
    drawn = (
        "[...document.querySelectorAll('.row')].filter((row) => ![...row.children].every((part) => part.old)).length"
    )
    assert await window.page.evaluate(drawn) == 1
    await window.page.locator("#rows li").last.scroll_into_view_if_needed()
    await expect(window.titles).to_have_count(120)


async def test_the_keyboard_is_enough(demo: str, windows: OpenWindow) -> None:
    """Keys reach the search, walk through the list, open a thread, and leave it."""
    window = await windows(demo)
    await window.ask("First")
    await window.ask("Second")
    keyboard = window.page.keyboard
    await keyboard.press("Escape")
    await expect(window.page.get_by_text("People and agents, in one forum")).to_be_visible()
    await window.row("Second").locator("a").focus()
    await keyboard.press("ArrowDown")
    await expect(window.row("First").locator("a")).to_be_focused()
    await keyboard.press("Enter")
    await expect(window.heading).to_have_text("First")
    await keyboard.press("/")
    await keyboard.type("Sec")
    await expect(window.titles).to_have_text(["Second"])


async def test_a_new_name_is_said_wherever_one_writes(demo: str, windows: OpenWindow) -> None:
    """After a change of the name the reply box says the new one at once, in the other tabs too, and replies go by it."""
    window = await windows(demo)
    await window.ask("First", name="Ada")
    tab = await window.page.context.new_page()
    await tab.goto(window.page.url)
    await expect(tab.get_by_text("as Ada, Ctrl + Enter sends")).to_be_visible()
    await window.page.get_by_role("button", name="Ada").click()
    await window.page.get_by_role("dialog", name="Your name").get_by_role("textbox").fill("Grace")
    await window.page.keyboard.press("Enter")
    for page in (window.page, tab):
        await expect(page.get_by_text("as Grace, Ctrl + Enter sends")).to_be_visible()
    await window.reply("Hello.")
    await expect(window.page.locator(".post b")).to_have_text(["Ada", "Grace"])


async def test_the_chosen_colours_stay(demo: str, windows: OpenWindow) -> None:
    """The scheme is the system's until another one is chosen, which a reload keeps."""
    window = await windows(demo)
    background = "getComputedStyle(document.body).backgroundColor"
    light = await window.page.evaluate(background)
    await window.page.emulate_media(color_scheme="dark")
    dark = await window.page.evaluate(background)
    assert light != dark
    await window.page.get_by_role("button", name="Colours as the system has them").click()
    assert await window.page.evaluate(background) == light
    await window.page.reload()
    assert await window.page.evaluate(background) == light
