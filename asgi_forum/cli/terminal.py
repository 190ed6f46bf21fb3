"""An event as a line for people, safe to be shown on a terminal."""

from __future__ import annotations

import logging
import os
import re
import sys
import unicodedata
from json import JSONEncoder

import click

from asgi_forum.entries import StoredEvent

__all__ = ["event_line", "harmless", "harmless_json", "hush", "tell_log"]

_EVENT = re.compile(r"asgi_forum\.\w+: ")

_encode = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def hush() -> None:
    """Write nothing to stdout any more: whoever read it has left (`| head`), and the rest is for nobody."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def harmless(text: str) -> str:
    """
    Write every character that a terminal could obey, or that is not visible, as an escape.

    That takes in control characters, marks that turn the direction of writing, and ends of lines.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def harmless_json(line: str) -> str:
    """Do the same for a line of JSON, which stays the same JSON: such characters stand in its strings only."""
    return line if line.isprintable() else "".join(map(_json_escaped, line))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else ascii(character)[1:-1]


def _json_escaped(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


class _Tell(logging.Handler):
    """Shows what is logged, such as a connection that was lost, or is there again."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        click.echo(harmless(text[found.end() :] if (found := _EVENT.match(text)) else text), err=True)


def tell_log() -> None:
    """Show on stderr what the forum's own code warns of, and what its client has to say."""
    logging.getLogger("asgi_forum").addHandler(_Tell())
    logging.getLogger("asgi_forum.client").setLevel(logging.INFO)


def event_line(event: StoredEvent, *, width: int, colour: bool) -> str:
    """Write an event in one line of about `width` characters: time, type, ticket, who, and what fits of the payload."""
    envelope = event.envelope
    who = envelope.actor_name or envelope.agent_name or envelope.actor_type
    texts = (f"{envelope.occurred_at:%Y-%m-%d %H:%M:%S}Z", envelope.event_type, envelope.ticket, who)
    shown = [harmless(each) for each in texts]
    payload = _encode(event.payload) if event.payload else ""
    room = max(width - sum(map(len, shown)) - 2 * len(shown), 20)
    short = harmless(payload[:room])
    if len(short) > room or len(payload) > room:
        short = short[: room - 1] + "…"
    if colour:
        colours = ("bright_black", "cyan", "yellow", "green")
        shown = [click.style(each, fg=fg) for each, fg in zip(shown, colours, strict=True)]
    return "  ".join(filter(None, [*shown, short]))
