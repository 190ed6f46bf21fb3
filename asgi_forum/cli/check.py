"""`asgi-forum check`: how a forum is, seen from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping

import click

from asgi_forum.cli.terminal import harmless
from asgi_forum.client import Health, health, read
from asgi_forum.client.libraries import httpx2
from asgi_forum.errors import SourceUnavailable

__all__ = ["check"]

_TIMEOUT = 10.0


def check(url: str, headers: Mapping[str, str]) -> None:
    """
    Print health, head cursor and the time of one read; raise what keeps the forum from being well. Writes nothing.
    """
    trouble = asyncio.run(_check(url, headers))
    if trouble is not None:
        raise click.ClickException(trouble)


async def _check(url: str, headers: Mapping[str, str]) -> str | None:
    async with httpx2.AsyncClient() as http:
        state = await health(url, headers=headers, answer_timeout=_TIMEOUT, http=http)
        for line in _lines(state):
            click.echo(harmless(line))
        before = time.perf_counter()
        try:
            page = await read(url, tail=1, headers=headers, answer_timeout=_TIMEOUT, http=http)
        except SourceUnavailable as error:
            return f"degraded: {error}"
        taken = time.perf_counter() - before
    click.echo(harmless(f"cursor   {page.next_cursor}"))
    click.echo(f"read     {taken * 1000:.1f} ms")
    return "degraded: the forum can't reach its source just now" if state.degraded else None


def _lines(state: Health) -> Iterator[str]:
    yield f"status   {state.status}"
    if state.source:
        told = [f"{name} {value}" for name, value in state.source.items() if name not in ("kind", "available")]
        available = "available" if state.source.get("available") else "away"
        yield f"source   {', '.join([str(state.source.get('kind')), available, *told])}"
    if state.streams:
        yield f"streams  {', '.join(f'{name} {count}' for name, count in state.streams.items())}"
