"""`asgi-forum publish`: one event, or many, one a line."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import IO, Any

import click
from pydantic_core import from_json

from asgi_forum.cli.input import Pieces
from asgi_forum.cli.ndjson import Batches, LineError, worded
from asgi_forum.cli.progress import Progress
from asgi_forum.cli.publishing import Publisher
from asgi_forum.cli.targets import Target
from asgi_forum.cli.terminal import harmless
from asgi_forum.client.requests import encode_event
from asgi_forum.errors import EventIdConflict, InvalidEvent, PayloadTooLarge, Unavailable
from asgi_forum.models import ForumEvent, Receipt, parse_events

__all__ = ["event_of", "publish_lines", "publish_one"]

_PAUSE = 0.05
_MAX_AGE = 0.25
"""In seconds: how long a pipe may bring nothing, and how long events wait at all, before what is there is published."""


def event_of(fields: Mapping[str, Any], payload: str | None, file: IO[bytes] | None) -> ForumEvent:
    """Make the event that the options describe; UsageError names what is off."""
    given = {name: value for name, value in fields.items() if value is not None}
    text: str | bytes | None = payload if file is None else file.read()
    if text is not None:
        source = "--payload" if file is None else f"--payload-file {file.name}"
        try:
            given["payload"] = from_json(text)
        except ValueError as error:
            raise click.UsageError(f"{source}: not JSON: {error}") from None
    try:
        (event,) = parse_events(given)
        encode_event(event)
    except InvalidEvent as error:
        raise click.UsageError(str(error)) from None
    return event


def publish_one(target: Target, event: ForumEvent, retry_for: float) -> Receipt:
    """Publish one event. One without an id gets one first: then only this command's own try can have published it before."""

    identified = event.with_id()

    async def send() -> Receipt:
        publisher = Publisher(target, retry_for, lambda text: click.echo(harmless(text), err=True))
        try:
            (receipt,) = await publisher.send([identified])
            return receipt if event.event_id else replace(receipt, duplicate=False)
        except Unavailable as error:
            became = "it may have been published all the same" if error.outcome == "unknown" else "it was not published"
            raise click.ClickException(f"{error}; {became} (--event-id {identified.event_id} repeats it)") from error
        except (EventIdConflict, InvalidEvent, PayloadTooLarge) as error:
            raise click.ClickException(worded(error)) from error
        finally:
            await publisher.aclose()

    return asyncio.run(send())


def publish_lines(target: Target, file: IO[bytes], retry_for: float) -> None:
    """Publish the events of a file or pipe in batches; say at the end, or at an error, what was published."""
    progress = Progress(file, sys.stderr)

    def tell(text: str) -> None:
        progress.clear()
        click.echo(harmless(text), err=True)

    publisher = Publisher(target, retry_for, tell)
    with asyncio.Runner() as runner:
        try:
            _pump(runner, publisher, Pieces(file), progress)
        except LineError as error:
            raise click.ClickException(f"{error}; {publisher.totals.so_far()}") from error
        except KeyboardInterrupt:
            tell(publisher.interrupted())
            raise
        finally:
            progress.clear()
            runner.run(publisher.aclose())
    click.echo(f"published {publisher.totals}")


def _pump(runner: asyncio.Runner, publisher: Publisher, pieces: Pieces, progress: Progress) -> None:
    batches = Batches()
    since = time.monotonic()
    while True:
        if not batches.pending:
            since = time.monotonic()
        left = since + _MAX_AGE - time.monotonic()
        piece = pieces.next(min(_PAUSE, max(left, 0.0)) if batches.pending else None)
        if piece is None:
            ready = batches.flush()
        else:
            ready = batches.feed(piece) if piece else batches.finish()
        for batch in ready:
            runner.run(publisher.send_lines(batch))
            progress.advance(0, str(publisher.totals))
        if piece == b"":
            return
        progress.advance(len(piece or b""), str(publisher.totals))
