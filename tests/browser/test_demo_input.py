"""What visitors type: shown as text, refused with a sentence, and never lost."""

from __future__ import annotations

import pytest
from playwright.async_api import Route, expect

from tests.browser.conftest import OpenWindow

pytestmark = pytest.mark.anyio

MARKUP = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"


async def test_markup_is_shown_as_text(demo: str, windows: OpenWindow) -> None:
    """Tags in a title, a post, a name, a ticket or a run are letters like all others, in every place that shows them."""
    ada, ben = await windows(demo), await windows(demo)
    await ada.ask(
        MARKUP[:80], ticket=MARKUP[:60], run=MARKUP[:50], body=f"{MARKUP}\n\n```\n{MARKUP}\n```", name=MARKUP[:60]
    )
    await ben.row(MARKUP[:30]).click()
    await expect(ben.heading).to_have_text(MARKUP[:80])
    await expect(ben.posts.locator("p")).to_have_text(MARKUP)
    await expect(ben.posts.locator("pre")).to_have_text(MARKUP)
    await expect(ben.page.locator(".question b")).to_have_text(MARKUP[:60])
    assert await ben.page.locator("#rows img, #rows script, #thread img, #thread script").count() == 0
    assert "hacked" not in await ben.page.title()


async def test_links_lead_only_where_they_say(demo: str, windows: OpenWindow) -> None:
    """An http address in a post becomes a link that takes nothing along; a javascript: one stays text."""
    window = await windows(demo)
    await window.ask("Links", body="See https://example.org/a?b=c&d=e. Not javascript:alert(1) though.")
    link = window.posts.locator("a")
    await expect(link).to_have_text("https://example.org/a?b=c&d=e")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    await expect(window.posts).to_contain_text("Not javascript:alert(1) though.")


async def test_a_refused_question_says_why_and_keeps_what_was_typed(demo: str, windows: OpenWindow) -> None:
    """Without a title the form stays open, with a sentence at the field and everything else as it was typed."""
    window = await windows(demo)
    window.expected.append("status of 422")
    await window.page.get_by_role("button", name="Ask a question").first.click()
    sheet = window.page.get_by_role("dialog")
    await sheet.get_by_label("Details").fill("A long explanation.")
    await sheet.get_by_label("Ticket").fill("T-1")
    await sheet.get_by_label("Title").press("Control+Enter")
    await expect(sheet.get_by_text("Please give your question a title.")).to_be_visible()
    await expect(sheet.get_by_label("Title")).to_be_focused()
    await expect(sheet.get_by_label("Details")).to_have_value("A long explanation.")
    await sheet.get_by_label("Title").fill("Now it has one")
    await sheet.get_by_label("Title").press("Control+Enter")
    await expect(sheet).to_be_hidden()
    await expect(window.posts).to_have_text(["A long explanation."])


async def test_half_written_text_outlives_a_reload(demo: str, windows: OpenWindow) -> None:
    """A question and a reply that were not sent yet are there again after the page was loaded anew."""
    window = await windows(demo)
    await window.ask("First")
    await window.reply_box.fill("half a re")
    await window.page.get_by_role("button", name="Ask a question").first.click()
    await window.page.get_by_role("dialog").get_by_label("Details").fill("half a question")
    await window.page.reload()
    await expect(window.reply_box).to_have_value("half a re")
    await window.page.get_by_role("button", name="Ask a question").first.click()
    await expect(window.page.get_by_role("dialog").get_by_label("Details")).to_have_value("half a question")


async def test_sending_again_after_a_lost_answer_counts_once(demo: str, windows: OpenWindow) -> None:
    """Where the answer to a reply was lost the text stays, and sending it again makes no second post."""
    window = await windows(demo)
    await window.ask("First")
    lost = 0

    async def lose_the_answer(route: Route) -> None:
        nonlocal lost
        await route.fetch()
        lost += 1
        await route.abort()

    await window.page.route("**/api/reply", lose_the_answer, times=1)
    await window.reply_box.fill("once")
    await window.reply_box.press("Control+Enter")
    await expect(window.page.locator(".composer .form-error")).to_contain_text("can't be reached")
    await expect(window.reply_box).to_have_value("once")
    await expect(window.posts).to_have_text(["once"])
    await window.reply("once")
    await window.reply("twice")
    await expect(window.posts).to_have_text(["once", "twice"])
    assert lost == 1
    window.may_lose_connection()


async def test_the_same_question_can_be_asked_again(demo: str, windows: OpenWindow) -> None:
    """What was asked once and taken is, asked again in the same words, a thread of its own."""
    window = await windows(demo)
    for count in (1, 2):
        await window.ask("Is anybody there?")
        await expect(window.titles).to_have_text(["Is anybody there?"] * count)


async def test_a_reply_that_comes_too_late_is_refused_and_kept(demo: str, windows: OpenWindow) -> None:
    """Somebody who is still writing when the thread is closed keeps the text, and sends it after reopening."""
    ada, ben = await windows(demo), await windows(demo)
    await ada.ask("First")
    await ben.open("First")
    await ben.reply_box.fill("one more thing")
    await ada.page.get_by_role("button", name="Close thread").click()
    await expect(ben.reply_box).to_be_disabled()
    await expect(ben.reply_box).to_have_value("one more thing")
    await ben.page.locator(".composer").get_by_role("button", name="Reopen").click()
    await ben.page.locator(".composer").get_by_role("button", name="Reply").click()
    await expect(ada.posts).to_have_text(["one more thing"])
