"""Publishing to a source that may be away: repeated as long as the caller waits, and never twice."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from asgi_forum.entries import Entry
from asgi_forum.errors import ForumError, Outcome, SourceUnavailable
from asgi_forum.hub.pump import Backoff
from asgi_forum.logs import EventLogger, event_logger
from asgi_forum.models import Receipt
from asgi_forum.sources.base import WritableSource

__all__ = ["publish"]

logger: EventLogger = event_logger("asgi_forum.publish")


async def publish(source: WritableSource, entries: Sequence[Entry], *, wait: float) -> list[Receipt]:
    """
    Publish entries, whose ids are fixed. With `wait`, repeat it where the source can't be reached, for so many seconds in all.

    Raises SourceUnavailable with the ids, and `unknown` as outcome if that of any try was; a source's bug counts as an outage.
    """
    until = anyio.current_time() + wait if wait else 0.0
    backoff: Backoff | None = None
    outcome: Outcome = "not_published"
    while True:
        if wait:
            found: list[Receipt] | SourceUnavailable = SourceUnavailable(
                f"the source has not answered within {wait:g} s", outcome="unknown"
            )
            with anyio.CancelScope(deadline=until):
                found = await _tried(source, entries)
        else:
            found = await _tried(source, entries)
        if not isinstance(found, SourceUnavailable):
            return found
        outcome = "not_published" if outcome == found.outcome == "not_published" else "unknown"
        backoff = backoff or Backoff(first=0.05, most=1.0)
        delay = backoff.delay()
        if not wait or anyio.current_time() + delay > until:
            ids = [entry.event_id for entry in entries]
            raise SourceUnavailable(str(found), outcome=outcome, event_ids=ids) from found
        await anyio.sleep(delay)


async def _tried(source: WritableSource, entries: Sequence[Entry]) -> list[Receipt] | SourceUnavailable:
    """Publish once; return the receipts, or why that will pass. Raises what will not."""
    try:
        return await source.publish(entries)
    except SourceUnavailable as error:
        return error
    except ForumError:
        raise
    except Exception as error:
        logger.exception("asgi_forum.publish_failed")
        failure = SourceUnavailable("the source failed; the server's log has the cause")
        failure.__cause__ = error
        return failure
