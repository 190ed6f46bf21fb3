"""The requests that the `curl` commands of a transcript make, and what they print, without a curl."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx2

__all__ = ["Command", "commands", "pattern", "plain", "printed"]

DEADLINE = 15.0

_VARYING = [
    (r"[A-Za-z0-9_-]{12}\.(\d+)\.([A-Za-z0-9_-]{8}|-(?![A-Za-z0-9_-]))", r"CURSOR.\1"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"),
    (r"retry: \d+", "retry: N"),
]


class Command:
    """One `$ curl …` of a transcript, and the lines below it."""

    def __init__(self, text: str, expected: str) -> None:
        self.text = text
        self.expected = expected

    @contextmanager
    def sent(self, base: str) -> Generator[httpx2.Response]:
        """Send it to the server at `base`, whatever local server it names."""
        name, *arguments = shlex.split(self.text)
        if name != "curl":
            raise ValueError(f"got {name!r}, expected curl")
        asked = _parser().parse_args(arguments)
        parts = urlsplit(str(asked.url))
        if parts.hostname not in ("localhost", "127.0.0.1"):
            raise ValueError(f"got {asked.url!r}, expected an address of this machine")
        headers = [tuple(each.split(": ", 1)) for each in asked.header]
        body = asked.json or asked.data
        if asked.json:
            headers += [("Content-Type", "application/json"), ("Accept", "application/json")]
        elif asked.data:
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
        method = asked.request or ("HEAD" if asked.head else "POST" if body else "GET")
        url = f"{base}{parts.path}{f'?{parts.query}' if parts.query else ''}"
        with (
            httpx2.Client(trust_env=False, timeout=DEADLINE) as client,
            client.stream(method, url, headers=headers, content=body) as answer,
        ):
            yield answer

    @property
    def shows_head(self) -> bool:
        """Whether it prints the status and the headers too."""
        options = _parser().parse_args(shlex.split(self.text)[1:])
        return bool(options.include or options.head)


def commands(transcript: str) -> list[Command]:
    """Read a transcript: commands, and what each prints."""
    text = transcript.replace("\\\n", "")
    found = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
    return [Command(command, expected.strip("\n")) for command, expected in found]


def printed(answer: httpx2.Response, *, head: bool) -> Iterator[str]:
    """Yield what curl prints of an answer, as it comes."""
    if head:
        yield f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}\n"
        yield "".join(f"{name}: {value}\n" for name, value in answer.headers.items()) + "\n"
    yield from answer.iter_text()


def pattern(expected: str) -> re.Pattern[str]:
    """Return what a transcript's lines stand for: `...` on a line of its own for any lines, elsewhere for any text of a line."""
    lines = [
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*?") + "\n"
        for line in plain(expected).split("\n")
    ]
    return re.compile("".join(lines))


def plain(text: str) -> str:
    """Put words in place of what differs from one run to the next."""
    for varying, word in _VARYING:
        text = re.sub(varying, word, text)
    return text


def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("url")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-X", "--request")
    parser.add_argument("-d", "--data")
    parser.add_argument("--json")
    parser.add_argument("-i", "--include", action="store_true")
    parser.add_argument("-I", "--head", action="store_true")
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-N", "--no-buffer", action="store_true")
    return parser
