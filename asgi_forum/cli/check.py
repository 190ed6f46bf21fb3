"""`asgi-forum check`: how a forum, or the log in a source, is, seen from outside."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import click

from asgi_forum.cli.targets import Target
from asgi_forum.cli.terminal import harmless, tell_log

__all__ = ["check"]


def check(target: Target) -> None:
    """
    Print health, head cursor and the time of one read; raise what keeps it from being well. Writes nothing.
    """
    tell_log()
    trouble = asyncio.run(_check(target))
    if trouble is not None:
        raise click.ClickException(trouble)


async def _check(target: Target) -> str | None:
    async with aclosing(target):
        return await target.check(lambda line: click.echo(harmless(line)))
