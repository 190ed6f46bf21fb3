"""The policies for slow readers, seen from the host's own subscription."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from asgi_forum import Forum, ForumClosed, ForumReset, Limits
from asgi_forum.errors import TooSlow

pytestmark = pytest.mark.anyio

OpenForum = Callable[..., Forum]


@pytest.fixture
async def open_forum() -> AsyncIterator[OpenForum]:
    """Make forums that are closed when the test ends; nothing in it may take longer than a few seconds."""
    async with AsyncExitStack() as stack:

        def make(**settings: Any) -> Forum:
            forum = Forum("memory://", handle_signals=False, **settings)
            stack.push_async_callback(forum.aclose)
            return forum

        with anyio.fail_after(10):
            yield make


async def publish(forum: Forum, count: int = 1, ticket: str = "T-1") -> None:
    """Publish events one by one."""
    for _ in range(count):
        await forum.publish(event_type="forum.post.added", ticket=ticket)


async def test_a_reader_too_far_behind_is_skipped_to_the_newest(open_forum: OpenForum) -> None:
    """With a lag of 1 allowed and 2 events unread it is told `skipped`, gets the second, and goes on."""
    forum = open_forum(on_lag="skip", limits=Limits(max_lag=1))
    async with forum.subscribe() as events:
        await publish(forum, 2)
        with pytest.raises(ForumReset) as reset:
            await anext(events)
        assert reset.value.reason == "skipped"
        assert (await anext(events)).sequence == 2
        await publish(forum)
        assert (await anext(events)).sequence == 3
        page = await forum.read(cursor=reset.value.next_cursor)
        assert [event.sequence for event in page.events] == [2, 3]


async def test_a_reader_just_within_its_lag_is_not_skipped(open_forum: OpenForum) -> None:
    """As many unread events as are allowed come one after the other."""
    forum = open_forum(on_lag="skip", limits=Limits(max_lag=3))
    async with forum.subscribe() as events:
        await publish(forum, 3)
        assert [(await anext(events)).sequence for _ in range(3)] == [1, 2, 3]


async def test_only_events_that_match_count_as_lag(open_forum: OpenForum) -> None:
    """What the filter leaves out does not put a reader behind; the newest event is the newest that matches."""
    forum = open_forum(on_lag="skip", limits=Limits(max_lag=1))
    async with forum.subscribe(ticket="T-1") as events:
        await publish(forum, 20, ticket="T-2")
        await publish(forum)
        await publish(forum, 20, ticket="T-2")
        assert (await anext(events)).sequence == 21
        await publish(forum, 2)
        await publish(forum, 5, ticket="T-2")
        with pytest.raises(ForumReset):
            await anext(events)
        assert (await anext(events)).sequence == 43


async def test_a_reader_may_be_disconnected(open_forum: OpenForum) -> None:
    """The iteration ends with an error that says so; from the subscription's cursor a new one loses nothing."""
    forum = open_forum(on_lag="disconnect", limits=Limits(max_lag=1))
    async with forum.subscribe() as events:
        await publish(forum, 3)
        with pytest.raises(TooSlow):
            await anext(events)
        cursor = events.cursor
    assert cursor is not None
    async with forum.subscribe(cursor=cursor) as events:
        assert [(await anext(events)).sequence for _ in range(3)] == [1, 2, 3]


async def test_by_default_nothing_is_skipped(open_forum: OpenForum) -> None:
    """A reader that comes late gets everything, whatever its lag."""
    forum = open_forum(limits=Limits(max_lag=1, tail_bytes=1))
    async with forum.subscribe() as events:
        await publish(forum, 50)
        assert [(await anext(events)).sequence for _ in range(50)] == list(range(1, 51))


async def test_history_is_not_lag(open_forum: OpenForum) -> None:
    """A reader that begins far behind catches up undisturbed."""
    forum = open_forum(on_lag="skip", limits=Limits(max_lag=1))
    await publish(forum, 30)
    async with forum.subscribe(cursor="earliest") as events:
        assert [(await anext(events)).sequence for _ in range(30)] == list(range(1, 31))


async def test_closing_twice_is_harmless(open_forum: OpenForum) -> None:
    """A subscription, an observer and the forum may each be closed again."""
    forum = open_forum()
    unregister = forum.observe("forum", lambda event: None)
    subscription = forum.subscribe()
    async with subscription:
        await publish(forum)
        await subscription.aclose()
        await subscription.aclose()
    await subscription.aclose()
    unregister()
    unregister()
    await forum.aclose()
    await forum.aclose()


async def test_a_closed_forum_says_so(open_forum: OpenForum) -> None:
    """Publishing, reading and subscribing after the end is a clear error, and so it is for who was waiting."""
    forum = open_forum()
    async with forum.subscribe() as events:
        await forum.aclose()
        with pytest.raises(ForumClosed):
            await anext(events)
    with pytest.raises(ForumClosed, match="closed"):
        await publish(forum)
    with pytest.raises(ForumClosed):
        await forum.read()
    with pytest.raises(ForumClosed):
        async with forum.subscribe():
            pass


async def test_a_closed_subscription_says_so(open_forum: OpenForum) -> None:
    """Iterating a subscription that was left is an error, not an endless wait."""
    forum = open_forum()
    async with forum.subscribe() as events:
        await publish(forum)
    with pytest.raises(ForumClosed):
        await anext(events)
