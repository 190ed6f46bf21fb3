"""From a command's URL, and the options beside it, to what it stands for."""

from __future__ import annotations

import click

from asgi_forum.cli.options import given, shown
from asgi_forum.cli.targets import Target
from asgi_forum.sources.registry import registered

__all__ = ["target_of"]

_OF_FORUMS = ("headers", "transport", "heartbeat")
_OF_SOURCES = ("name",)


def target_of(context: click.Context) -> Target:
    """Return what a command's URL stands for; UsageError names an option that does not go with it. Raises ConfigurationError."""
    url: str = context.params["url"]
    source = registered(url)
    for name in _OF_FORUMS if source else _OF_SOURCES:
        if name in context.params and given(context, name):
            goes = "the address of a forum (http://...)" if source else "the URL of a source (redis://...)"
            raise click.UsageError(f"{shown(context, name)} only goes with {goes}", context)
    if source:
        from asgi_forum.cli.over_source import SourceTarget

        return SourceTarget(url, context.params["name"])
    from asgi_forum.cli.over_http import ForumTarget

    return ForumTarget(url, context.params["headers"])
