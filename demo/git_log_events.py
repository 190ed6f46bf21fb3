"""
Turn a repository's history into events, one a line of JSON, oldest first, for `asgi-forum publish URL --ndjson -`:

    python demo/git_log_events.py [REPOSITORY [GIT-LOG-ARGUMENT...]]

A commit's hash is its `event_id`, so publishing the same history again adds nothing. Its ticket is the folder at the top of
the first path that it changed: that never changes again, as the name of a branch might.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Any

_FIELDS = ("%H", "%P", "%an", "%ae", "%aI", "%at", "%s", "%b")
# The NUL in front marks where a commit begins: no other token that follows a file's name is empty.
_FORMAT = "%x00" + "%x00".join(_FIELDS) + "%x00"
_COMMAND = (
    "log",
    "--reverse",
    "-z",
    "--name-only",
    "--no-renames",
    "--diff-merges=first-parent",
    f"--format={_FORMAT}",
)

_MOST_FILES = 50
_LONGEST = 256


def tokens(stream: IO[bytes]) -> Iterator[str]:
    """Yield what stands between NULs, as it comes."""
    part = b""
    while chunk := stream.read(2**16):
        *whole, part = (part + chunk).split(b"\0")
        yield from (token.decode("utf-8", "replace") for token in whole)


def commits(parts: Iterable[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the fields and the changed paths of each commit."""
    rest = iter(parts)
    start = next(rest, None)
    while start is not None:
        fields = list(islice(rest, len(_FIELDS)))
        if len(fields) < len(_FIELDS):  # git has stopped in the middle, and says why
            return
        next(rest, None)  # what ends the message
        paths: list[str] = []
        start = None
        for token in rest:
            if not token:
                start = token
                break
            paths.append(token.removeprefix("\n"))
        yield fields, paths


def clean(text: str, default: str) -> str:
    """Make an identifier: no control characters, 1 to 256 characters."""
    return "".join(each for each in text if each.isprintable() or each == " ").strip()[:_LONGEST].strip() or default


def moment(iso: str, seconds: str) -> str | None:
    """Return when it was written; a commit may claim an offset, or a year, that no clock has."""
    try:
        return datetime.fromisoformat(iso).isoformat()
    except ValueError:
        pass
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def event(fields: list[str], paths: list[str]) -> dict[str, Any]:
    """Make the event of a commit."""
    commit, parents, author, address, iso, seconds, subject, body = fields
    found = {
        "event_id": commit,
        "event_type": "git.commit.merged" if " " in parents else "git.commit.added",
        "occurred_at": moment(iso, seconds),
        "ticket": clean(paths[0].partition("/")[0] if paths else "", "no files"),
        "actor_type": "human",
        "actor_name": clean(author, "nobody"),
        "payload": {
            "subject": subject,
            "body": body.rstrip("\n"),
            "parents": parents.split(),
            "author": {"name": author, "address": address},
            "files": paths[:_MOST_FILES],
            "changed": len(paths),
        },
    }
    return {name: value for name, value in found.items() if value is not None}


def main(arguments: list[str]) -> int:
    """Print the events; return git's exit status."""
    repository, *rest = arguments or ["."]
    with subprocess.Popen(["git", "-C", repository, *_COMMAND, *rest], stdout=subprocess.PIPE) as git:
        assert git.stdout is not None
        try:
            for fields, paths in commits(tokens(git.stdout)):
                line = json.dumps(event(fields, paths), ensure_ascii=False, separators=(",", ":"))
                sys.stdout.buffer.write(line.encode() + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # whoever read has left; nor must the interpreter write the rest
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            git.kill()
            return 0
    return git.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
