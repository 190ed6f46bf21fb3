"""`asgi-forum tail`, in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest

from tests.cli.command import COMMAND, DEADLINE, Forum, environment, one_line, run, serving, started

TRANSPORTS = ("sse", "ws")


def publish(forum: Forum, *numbers: int, ticket: str = "T-1", **fields: str) -> list[str]:
    """Publish events, and return their cursors."""
    drafts = [
        {"event_type": "forum.post.added", "ticket": ticket, "payload": {"n": each}, **fields} for each in numbers
    ]
    return [each["cursor"] for each in httpx2.post(f"{forum.url}/events", json=drafts).json()["events"]]


def stored(forum: Forum) -> list[bytes]:
    """Return the events of the log as the forum writes them, a line each."""
    body = b""
    with httpx2.stream("GET", f"{forum.url}/stream?cursor=earliest") as stream:
        for chunk in stream.iter_bytes():
            body += chunk
            if b"event: forum.live" in body:
                break
    events = body.partition(b"event: forum.live")[0]
    return [line.removeprefix(b"data: ") for line in events.split(b"\n") if line.startswith(b"data: ")]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_json_is_byte_for_byte_what_the_forum_wrote(forum: Forum, transport: str) -> None:
    """One event a line, from the beginning to what comes while it runs; Ctrl-C ends it."""
    payload = {"x": 1e22, "y": "é😀\u2028\x7f\x9b", "z": [1.0, 1e-7, 2**70]}
    draft = {"event_type": "forum.post.added", "ticket": "T-1", "payload": payload}
    assert httpx2.post(f"{forum.url}/events", json=draft).status_code == 201
    with started("tail", forum.url, "--cursor", "earliest", "--json", "--transport", transport) as tail:
        found = tail.stdout.take(1)
        publish(forum, 1, 2)
        found += tail.stdout.take(2)
        assert tail.stop(signal.SIGINT) == 130
        assert tail.stdout.rest() == tail.stderr.rest() == []
    assert [line.encode() for line in found] == stored(forum)


def test_without_json_a_line_is_for_people(shared_forum: Forum) -> None:
    """Time, type, ticket, who, payload; no colour where it is no terminal."""
    with started("tail", shared_forum.url, "--ticket", "people", "--cursor", "earliest") as tail:
        publish(shared_forum, 7, ticket="People", occurred_at="2026-02-10T12:56:00.9Z", agent_name="planner")
        assert tail.stdout.next() == '2026-02-10 12:56:00Z  forum.post.added  People  planner  {"n":7}'


def test_it_starts_where_it_is_told_and_shows_what_matches(forum: Forum) -> None:
    """At a cursor, a number, or so that the last of what matches come first; filters are repeatable."""
    cursors = publish(forum, 1, 2) + publish(forum, 3, ticket="T-2") + publish(forum, 4, ticket="T-3", run_id="r")

    def first(*arguments: str) -> int:
        with started("tail", forum.url, "--json", *arguments) as tail:
            number: int = json.loads(tail.stdout.next())["payload"]["n"]
            return number

    assert first("--cursor", cursors[1]) == 3
    assert first("--cursor", "3") == 4
    assert first("--tail", "2") == 3
    assert first("--tail", "2", "--ticket", "t-1", "--ticket", "T-2") == 2
    assert first("--cursor", "earliest", "--run-id", "R", "--type", "forum.post") == 4


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_it_goes_on_when_the_server_was_away(transport: str) -> None:
    """A memory log is another one after that: the reset is told on stderr, and what is new is shown."""
    with ExitStack() as stack:
        with serving("--allow-publish") as forum:
            publish(forum, 1)
            arguments = (forum.url, "--cursor", "earliest", "--json", "--transport", transport)
            tail = stack.enter_context(started("tail", *arguments))
            assert json.loads(tail.stdout.next())["payload"] == {"n": 1}
            assert forum.process.stop() == 0
        assert "next try in" in tail.stderr.next()
        stack.enter_context(serving("--allow-publish", port=forum.port))
        for number in (2, 3):
            publish(forum, number)
            assert json.loads(tail.stdout.next())["payload"] == {"n": number}
        assert tail.stop(signal.SIGINT) == 130
        said = tail.stderr.rest()
        assert any(line.startswith("reset: replaced") for line in said), said
        assert any("connected again" in line for line in said), said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cursor", "nonsense"), "cursor: got 'nonsense'"),
        (("--ticket", ""), "ticket"),
        (("--type", "forum..post"), "type"),
    ],
)
def test_what_the_forum_refuses_is_one_line(shared_forum: Forum, arguments: tuple[str, ...], message: str) -> None:
    """With exit status 1."""
    found = run("tail", shared_forum.url, *arguments)
    assert found.returncode == 1
    assert message in one_line(found.stderr)


def test_an_address_without_a_forum_is_one_line(shared_forum: Forum) -> None:
    """Another path of a server, or nothing that listens; for the latter it tries for a while."""
    elsewhere = run("tail", shared_forum.url + "/elsewhere")
    assert elsewhere.returncode == 1
    one_line(elsewhere.stderr)
    for transport in ("sse", "ws"):
        nobody = run("tail", "http://me:secret@127.0.0.1:1/forum", "--retry-for", "0.2", "--transport", transport)
        assert nobody.returncode == 1
        assert one_line(nobody.stderr).startswith("Error: http://127.0.0.1:1/forum: ")


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_a_reader_that_leaves_ends_it_quietly(shared_forum: Forum, output: tuple[str, ...]) -> None:
    """As `| head -1` does: at once, without another event to notice it by."""
    publish(shared_forum, 1)
    command = [*COMMAND, "tail", shared_forum.url, "--cursor", "earliest", *output]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), bufsize=0
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert tail.stdout.read(10)
        tail.stdout.close()
        assert tail.wait(DEADLINE) == 0
        assert tail.stderr.read() == b""


HOSTILE = "\x1b]0;owned\x07\x9b31m\u202eevil\r"


def shown_on_a_terminal(forum: Forum, *arguments: str, env: dict[str, str]) -> Iterator[str]:
    """Run `tail` on a terminal, and yield its lines."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "tail", forum.url, *arguments], stdout=theirs, env=environment(env), stderr=subprocess.DEVNULL
    ) as tail:
        os.close(theirs)
        try:
            with open(ours, "rb") as terminal:
                for line in terminal:
                    yield line.decode().removesuffix("\r\n")
        finally:
            tail.kill()
            tail.wait(DEADLINE)


@pytest.mark.parametrize(("env", "colours"), [({"TERM": "xterm"}, 4), ({"TERM": "xterm", "NO_COLOR": "1"}, 0)])
def test_a_terminal_cannot_be_taken_over(forum: Forum, env: dict[str, str], colours: int) -> None:
    """What an event brings is shown as escapes; the only ones that are sent are the colours of its fields."""
    draft = {"event_type": "a", "ticket": "T\u202e", "payload": {HOSTILE: HOSTILE}}
    assert httpx2.post(f"{forum.url}/events", json=draft).status_code == 201
    line = next(shown_on_a_terminal(forum, "--cursor", "earliest", env=env))
    assert line.count("\x1b[") == 2 * colours
    assert not set(line) & {"\x07", "\x9b", "\u202e", "\r"}
    assert "T\\u202e" in line


def test_json_on_a_terminal_is_harmless_too(forum: Forum) -> None:
    """And still the same JSON."""
    draft = {"event_type": "a", "ticket": "T", "payload": {"x": HOSTILE}}
    assert httpx2.post(f"{forum.url}/events", json=draft).status_code == 201
    line = next(shown_on_a_terminal(forum, "--cursor", "earliest", "--json", env={"TERM": "xterm"}))
    assert line.isprintable()
    assert json.loads(line)["payload"] == {"x": HOSTILE}
