"""All that a source owes, in one class to inherit from."""

from __future__ import annotations

from asgi_forum.testing.sources.cancelling import CancelTests
from asgi_forum.testing.sources.cursors import CursorTests
from asgi_forum.testing.sources.feed import FeedTests
from asgi_forum.testing.sources.pages import PageTests
from asgi_forum.testing.sources.publishing import PublishTests
from asgi_forum.testing.sources.reopening import ReopenTests
from asgi_forum.testing.sources.replacing import ReplaceTests
from asgi_forum.testing.sources.trimming import TrimTests

__all__ = ["SourceSuite"]


class SourceSuite(PageTests, PublishTests, TrimTests, CursorTests, FeedTests, CancelTests, ReopenTests, ReplaceTests):
    """
    The tests that every source passes. Inherit from it in a class named `Test...`, and say how a source is made.

    `make_source(options)` is all that is needed; `shared`, `keeps_beyond`, `append` and `wipe` tell what the source can do. What it
    can't is skipped with a word: publishing, the live feed, trimming. Every log gets a name that was not used before. The tests run
    on asyncio, by the pytest plugin that anyio brings.
    """
