"""Publishing to a source that may be away: repeated as long as the caller waits, and never twice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio

from asgi_forum.errors import ForumError, Outcome, SourceUnavailable
from asgi_forum.hub.pump import Backoff
from asgi_forum.logs import EventLogger, event_logger
from asgi_forum.models import Entry, Receipt
from asgi_forum.sources.base import WritableSource

__all__ = ["publish"]

logger: EventLogger = event_logger("asgi_forum.publish")


async def publish(source: WritableSource, entries: Sequence[Entry], *, wait: float) -> list[Receipt]:
    """
    Publish entries, whose ids are fixed. With `wait`, repeat it where the source can't be reached, for so many seconds in all.

    Raises SourceUnavailable with the ids, and `unknown` as outcome if that of any try was; a source's bug counts as an outage.
    """
    ids = [entry.event_id for entry in entries]
    until = anyio.current_time() + wait
    backoff = Backoff(first=0.05, most=1.0)
    outcome: Outcome = "not_published"
    while True:
        failure = SourceUnavailable(f"the source has not answered within {wait:g} s", outcome="unknown")
        try:
            with anyio.CancelScope(deadline=until if wait else math.inf):
                return await source.publish(entries)
        except SourceUnavailable as error:
            failure = error
        except ForumError:
            raise
        except Exception as error:
            logger.exception("asgi_forum.publish_failed")
            failure = SourceUnavailable("the source failed; the server's log has the cause")
            failure.__cause__ = error
        outcome = "not_published" if outcome == failure.outcome == "not_published" else "unknown"
        delay = backoff.delay()
        if anyio.current_time() + delay > until:
            raise SourceUnavailable(str(failure), outcome=outcome, event_ids=ids) from failure
        await anyio.sleep(delay)
