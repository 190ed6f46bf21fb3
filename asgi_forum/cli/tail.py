"""`asgi-forum tail`: the events of a forum, a line each, until interrupted."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import shutil
import stat
import sys
from collections.abc import Callable, Generator
from contextlib import aclosing, contextmanager
from typing import Any

import anyio
import click

from asgi_forum.cli.targets import Stream, Target
from asgi_forum.cli.terminal import event_line, harmless, harmless_json, tell_log
from asgi_forum.client import Unreachable
from asgi_forum.client.refusals import unreachable
from asgi_forum.entries import StoredEvent
from asgi_forum.errors import ForumReset

__all__ = ["follow"]


def follow(target: Target, *, as_json: bool, retry_for: float, **parameters: Any) -> None:
    """
    Print every event as it comes. `retry_for`: seconds until the first contact has to be made; later it never gives
    up.
    """
    logging.getLogger("asgi_forum").addHandler(logging.NullHandler())  # Python would print what nobody handles
    anyio.run(_follow, target.follow(**parameters), target.shown, _writer(as_json), retry_for)


async def _follow(stream: Stream, shown: str, write: Callable[[StoredEvent], None], retry_for: float) -> None:
    try:
        with anyio.fail_after(retry_for):
            await stream.__aenter__()
    except TimeoutError:
        trouble = stream.trouble or Unreachable(f"no answer within {retry_for:g} s")
        raise unreachable(trouble, shown) if isinstance(trouble, Unreachable) else trouble from None
    tell_log()  # not before: where there is no contact, one line says so
    with anyio.CancelScope() as scope, _until_nobody_reads(scope):
        async with aclosing(stream):
            while True:
                try:
                    async for event in stream:
                        write(event)
                except ForumReset as reset:
                    click.echo(harmless(f"reset: {reset}"), err=True)
    raise BrokenPipeError


@contextmanager
def _until_nobody_reads(scope: anyio.CancelScope) -> Generator[None]:
    """
    Cancel the scope once the pipe that stdout is has lost its reader: the next event, which would tell, may be far.
    """
    descriptor = sys.stdout.fileno()
    if not hasattr(select, "poll") or not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        yield
        return
    loop = asyncio.get_running_loop()
    poll = select.poll()
    poll.register(descriptor, 0)

    def look() -> None:
        loop.remove_reader(descriptor)
        if poll.poll(0):
            scope.cancel()

    loop.add_reader(descriptor, look)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)


def _writer(as_json: bool) -> Callable[[StoredEvent], None]:
    """Return what prints an event: harmless on a terminal, and byte for byte as it came where JSON goes elsewhere."""
    out = sys.stdout.buffer
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 160
    colour = terminal and "NO_COLOR" not in os.environ

    def line(event: StoredEvent) -> bytes:
        if not as_json:
            text = event_line(event, width=width, colour=colour)
            return text.encode(sys.stdout.encoding, "backslashreplace")
        return harmless_json(event.json.decode()).encode() if terminal else event.json

    def write(event: StoredEvent) -> None:
        out.write(line(event) + b"\n")
        out.flush()

    return write
