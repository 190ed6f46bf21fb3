"""`asgi-forum repair`: a log that can't be numbered on is made whole (section 11 of the protocol)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import click

from asgi_forum.cli.over_source import SourceTarget
from asgi_forum.cli.terminal import harmless, tell_log
from asgi_forum.sources.upkeep import Repair

__all__ = ["repair"]

_SHOWN = 20


def repair(url: str, name: str) -> None:
    """Repair a log, and print what was done."""
    tell_log()
    done = asyncio.run(_repair(SourceTarget(url, name)))
    if not done.needed:
        click.echo("nothing to repair")
        return
    for each in done.ids[:_SHOWN]:
        click.echo(harmless(f"removed  {each}"))
    if done.removed > _SHOWN:
        click.echo(f"removed  {done.removed - _SHOWN} more")
    click.echo(f"kept     {done.kept} {'entry' if done.kept == 1 else 'entries'}{' (copied)' if done.copied else ''}")
    click.echo(f"next     0-{done.last + 1}")


async def _repair(target: SourceTarget) -> Repair:
    async with aclosing(target):
        return await target.repair()
