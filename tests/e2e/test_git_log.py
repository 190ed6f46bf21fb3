"""
Real input: the history of a repository, piped through the command line, read in every way from every starting
point.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

from tests.cli.command import COMMAND, DEADLINE, Forum, environment, run, serving, spawned, started

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "demo" / "git_log_events.py")

COMMITS = 400
AUTHORS = ["Ada Lovelace", "Zoë «Ünï»", "李小龍", 'O"Brien \\ Söhne', "🤖 agent-7", "x"]
ZONES = ["+0000", "-0000", "+0545", "-1130", "+1400", "-0330", "+0100"]
PATHS = ["README", "src/a.py", "src/deep/b.py", "docs/über uns.md", 'odd "name"/x', "漢字/y", "-dash/z", " blank/w"]
MESSAGES = [
    "Add a thing",
    'Say "hello" and \\ and {"json": true}',
    "Größe, naïveté, 漢字, emoji 👩‍👩‍👧 and \u202eright to left",
    "Subject\n\nA body\nof several lines\n\n- with a list\n\n\nand blank lines\n",
    "Subject\r\n\r\nwith CRLF\r\n",
    "Control \x01 and \x1b[31m colours \x7f and \x9b\u2028 ends of lines",
    "",
    "   leading blanks",
    "Subject that goes\nover two lines\n\nbody: " + "x" * 5000,
    '[]\n\n{"event_id": "no"}\n',
]


def history() -> Iterator[bytes]:
    """
    Yield a history for `git fast-import`: two branches that are merged again and again, and an empty commit now and
    then.
    """
    tips = {"main": 0, "topic": 0}
    for number in range(1, COMMITS + 1):
        branch = "topic" if number % 3 == 0 else "main"
        merges = number % 10 == 0 and tips["topic"] not in (0, tips["main"])
        branch = "main" if merges else branch
        parent = tips[branch] or tips["main"]
        message = MESSAGES[number % len(MESSAGES)].encode()
        who = f"{AUTHORS[number % len(AUTHORS)]} <a{number}@example.org> {1_600_000_000 + 7919 * number}"
        yield f"commit refs/heads/{branch}\nmark :{number}\n".encode()
        yield f"author {who} {ZONES[number % len(ZONES)]}\ncommitter {who} +0000\n".encode()
        yield b"data %d\n%b\n" % (len(message), message)
        if parent:
            yield b"from :%d\n" % parent
        if merges:
            yield b"merge :%d\n" % tips["topic"]
        if number % 17:
            path = PATHS[number % len(PATHS)].replace("\\", "\\\\").replace('"', '\\"')
            content = str(number).encode()
            yield f'M 100644 inline "{path}"\n'.encode() + b"data %d\n%b\n" % (len(content), content)
        tips[branch] = number
        if merges:
            tips["topic"] = number
    yield b"done\n"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository whose history has all that is tricky."""
    path = tmp_path_factory.mktemp("repository")
    git(path, "init", "--quiet")
    git(path, "fast-import", "--quiet", "--done", stdin=b"".join(history()))
    return path


def git(path: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Run git."""
    done = subprocess.run(
        ["git", "-C", str(path), *arguments], input=stdin, capture_output=True, timeout=60, check=True
    )
    return done.stdout.decode()


def own_history() -> bool:
    """Whether this is a checkout with a history of its own (a source distribution has none)."""
    asked = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", "HEAD"]
    return (ROOT / ".git").exists() and subprocess.run(asked, capture_output=True, check=False).returncode == 0


def script(repository: Path) -> list[str]:
    """Return the command that turns a repository's history into events."""
    return [sys.executable, SCRIPT, str(repository), *(["--all"] if repository != ROOT else [])]


def events_of(repository: Path) -> list[bytes]:
    """Return the events of a history, a line each."""
    done = subprocess.run(script(repository), capture_output=True, timeout=60, check=True)
    return done.stdout.splitlines(keepends=True)


def piped(repository: Path, forum: Forum) -> str:
    """Run `git_log_events.py REPOSITORY | asgi-forum publish URL --ndjson -`, and return what it says."""
    publish = [*COMMAND, "publish", forum.url, "--ndjson", "-"]
    with subprocess.Popen(script(repository), stdout=subprocess.PIPE) as source:
        done = subprocess.run(
            publish, stdin=source.stdout, capture_output=True, env=environment(), timeout=2 * DEADLINE, check=False
        )
    assert (source.returncode, done.returncode, done.stderr) == (0, 0, b"")
    return done.stdout.decode().strip()


Read = Callable[[int], list[Any]]
"""Reads on up to the event with a sequence, and returns all events that came."""


def read_by_curl(stack: ExitStack, url: str) -> Read:
    """Open an event stream with curl, or where there is none with a plain HTTP client."""
    curl = shutil.which("curl")
    plain = (
        "import sys, urllib.request as u\nfor line in u.urlopen(sys.argv[1]): print(line.decode(), end='', flush=True)"
    )
    command = [curl, "--silent", "--no-buffer", url] if curl else [sys.executable, "-c", plain, url]
    lines = stack.enter_context(spawned(command)).stdout

    def read(last: int) -> list[Any]:
        found: list[Any] = []
        while not found or found[-1]["sequence"] < last:
            line = lines.next()
            if line.startswith("data: ") and "sequence" in (document := json.loads(line.removeprefix("data: "))):
                found.append(document)
        return found

    return read


def read_by_websocket(stack: ExitStack, url: str) -> Read:
    """Open a WebSocket."""
    socket = stack.enter_context(connect(url.replace("http", "ws", 1), max_size=None))

    def read(last: int) -> list[Any]:
        found: list[Any] = []
        while not found or found[-1]["sequence"] < last:
            found += json.loads(socket.recv(DEADLINE)).get("events", [])
        return found

    return read


def read_by_tail(stack: ExitStack, *arguments: str) -> Read:
    """Run `asgi-forum tail --json`."""
    lines = stack.enter_context(started("tail", "--json", *arguments)).stdout

    def read(last: int) -> list[Any]:
        found: list[Any] = []
        while not found or found[-1]["sequence"] < last:
            found.append(json.loads(lines.next()))
        return found

    return read


def wait_for_streams(forum: Forum, **counts: int) -> None:
    """Wait until so many streams of a kind are open."""
    deadline = time.monotonic() + DEADLINE
    while (found := httpx2.get(f"{forum.url}/health").json()["streams"]) != counts:
        assert time.monotonic() < deadline, found


def test_a_history_reaches_every_reader_whole(repository: Path) -> None:
    """
    From the earliest, after a number, from the end, and from the last few: all end with the same events, each once.
    """
    histories = [repository, *([ROOT] if own_history() else [])]
    drafts = [line for each in histories for line in events_of(each)]
    half = COMMITS // 2
    with ExitStack() as stack:
        forum = stack.enter_context(serving("--allow-publish"))
        first = run("publish", forum.url, "--ndjson", "-", stdin=b"".join(drafts[:half]))
        assert first.stdout.decode() == f"published {half} events: {half} new, 0 duplicates\n"

        stream = f"{forum.url}/stream"
        readers = {
            1: read_by_curl(stack, f"{stream}?cursor=earliest"),
            half - 49: read_by_tail(stack, forum.url, "--tail", "50"),
            100 + 1: read_by_websocket(stack, f"{stream}?cursor=100&limit=7"),
            half + 1: read_by_websocket(stack, stream),
            half // 2 + 1: read_by_tail(stack, forum.url, "--cursor", str(half // 2), "--transport", "ws"),
        }
        wait_for_streams(forum, sse=2, websocket=3)

        for each in histories:
            count = len(events_of(each))
            known = half if each == repository else 0
            assert piped(each, forum) == f"published {count} events: {count - known} new, {known} duplicates"
        read = {start: reader(len(drafts)) for start, reader in readers.items()}

        whole = read[1]
        assert len(whole) >= COMMITS
        assert [event["sequence"] for event in whole] == list(range(1, len(drafts) + 1))
        for start, events in read.items():
            assert events == whole[start - 1 :], start
        assert [(event["envelope"]["event_id"], event["payload"]) for event in whole] == [
            (draft["event_id"], draft["payload"]) for draft in map(json.loads, drafts)
        ]

        for each in histories:
            count = len(events_of(each))
            assert piped(each, forum) == f"published {count} events: 0 new, {count} duplicates"
        assert httpx2.get(f"{forum.url}/health").json()["cursor"] == whole[-1]["cursor"]


def test_every_commit_is_an_event(repository: Path) -> None:
    """With the subject, body, author and parents that git itself tells, however odd."""
    events = [json.loads(line) for line in events_of(repository)]
    assert len(events) == COMMITS
    assert len({event["event_id"] for event in events}) == COMMITS
    for event in events[:: COMMITS // 40]:

        def told(field: str, commit: str = event["event_id"]) -> str:
            return git(repository, "show", "--no-patch", f"--format={field}", commit).removesuffix("\n")

        payload = event["payload"]
        assert payload["subject"] == told("%s")
        assert payload["body"] == told("%b").rstrip("\n")
        assert payload["author"] == {"name": told("%an"), "address": told("%ae")}
        assert payload["parents"] == told("%P").split()
        assert event["occurred_at"].replace("+00:00", "Z") == told("%aI").replace("+00:00", "Z")
        assert event["ticket"] == (payload["files"][0].partition("/")[0].strip() if payload["files"] else "no files")
    kinds = {event["event_type"] for event in events}
    assert kinds == {"git.commit.added", "git.commit.merged"}
    assert any(len(event["payload"]["files"]) == 0 for event in events)


def test_a_path_that_is_no_repository_is_told() -> None:
    """By git, with its exit status."""
    done = subprocess.run([sys.executable, SCRIPT, "/no/such/place"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 128
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr
