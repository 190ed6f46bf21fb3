"""How commands are called: help, environment, wrong usage. What the commands do stands in the other modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from asgi_forum import __version__
from asgi_forum.cli.commands import asgi_forum
from tests.cli.command import COMMAND, run

URL = "http://127.0.0.1:1/forum"
REDIS = "redis://me:secret@127.0.0.1:1/0"
EVENT = ("--ticket", "T-1", "--type", "forum.post.added")


def call(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Call a command that does not get as far as doing anything."""
    return CliRunner().invoke(asgi_forum, list(arguments), env=env, prog_name="asgi-forum")


def test_help_and_version_are_to_be_had() -> None:
    """By the module as by the script."""
    assert run("--version").stdout.decode() == f"asgi-forum {__version__}\n"
    shown = run("--help").stdout.decode()
    assert all(f"\n  {name} " in shown for name in ("serve", "tail", "publish", "check", "repair"))


OPTIONS = [
    (name, each)
    for name, command in asgi_forum.commands.items()
    for each in command.params
    if isinstance(each, click.Option)
]


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=lambda each: getattr(each, "name", each))
def test_every_option_has_an_environment_variable(command: str, option: click.Option) -> None:
    """One flat name each, which its help shows."""
    long = next(each for each in option.opts if each.startswith("--"))
    variable = f"ASGI_FORUM_{long.removeprefix('--').replace('-', '_').upper()}"
    assert option.envvar == variable
    assert variable in "".join(call(command, "--help").output.split()).replace("envvar:", "")
    assert option.help


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Usage"),
        (("nonsense",), "No such command 'nonsense'"),
        (("serve", "--nonsense"), "No such option"),
        (("serve", "--port", "99999"), "99999 is not in the range"),
        (("serve", "--port", "http"), "'http' is not a valid integer"),
        (("serve", "--heartbeat", "0"), "0.0 is not in the range"),
        (("serve", "--retain", "0"), "0 is not in the range"),
        (("serve", "--path", "forum"), "begins with '/'"),
        (("serve", "--path", "/forum/"), "does not end with it"),
        (("serve", "--workers", "2"), "2 workers can't share memory://: a memory:// log lives inside one process"),
        (("serve", "--workers", "0"), "0 is not in the range"),
        (("tail",), "Missing argument 'URL'"),
        (("tail", "memory://"), "lives inside the process that serves it"),
        (("tail", "nosuch://localhost"), "expected the address of a forum, such as 'http://"),
        (("tail", "nosuch://localhost"), "or the URL of a source, such as 'redis://"),
        (("tail", REDIS, "--transport", "ws"), "--transport only goes with the address of a forum (http://...)"),
        (("tail", REDIS, "--heartbeat", "5"), "--heartbeat only goes with the address of a forum"),
        (("publish", REDIS, *EVENT, "--header", "A: secret"), "--header only goes with the address of a forum"),
        (("check", REDIS, "--header", "A: secret"), "--header only goes with the address of a forum"),
        (("check", URL, "--name", "a"), "--name only goes with the URL of a source (redis://...)"),
        (("tail", REDIS, "--name", "a b"), "got 'a b', expected 1 to 64 of A-Z a-z 0-9 _ . -"),
        (("serve", "--name", ""), "expected 1 to 64 of A-Z a-z 0-9 _ . -"),
        (("serve", "--retain-for", "0"), "0.0 is not in the range"),
        (("check", "memory://"), "lives inside the process that serves it"),
        (("repair", "memory://"), "lives inside the process that serves it"),
        (("repair", URL), "a log is not repaired over HTTP"),
        (("repair",), "Missing argument 'URL'"),
        (("tail", "localhost:8000/forum"), "expected the address of a forum"),
        (("tail", URL, "--cursor", "earliest", "--tail", "5"), "--cursor and --tail exclude each other"),
        (("tail", URL, "--tail", "1001"), "1001 is not in the range"),
        (("tail", URL, "--transport", "pigeon"), "'pigeon' is not one of 'sse', 'ws'"),
        (("tail", URL, "--header", "secret"), "expected 'Name: value'"),
        (("publish", "memory://", *EVENT), "lives inside the process that serves it"),
        (("publish", URL), "missing option --ticket"),
        (("publish", URL, "--ticket", "T-1"), "missing option --type"),
        (("publish", URL, "--ticket", " ", "--type", "a"), "ticket: "),
        (("publish", URL, "--ticket", "T", "--type", "A b"), "event_type: expected dot-separated lower-case words"),
        (("publish", URL, *EVENT, "--payload", "{"), "--payload: not JSON"),
        (("publish", URL, *EVENT, "--payload", "[1]"), "payload: "),
        (("publish", URL, *EVENT, "--payload", '{"x": NaN}'), "payload: not JSON"),
        (("publish", URL, *EVENT, "--actor-type", "robot"), "actor_type: expected one of agent, operator"),
        (("publish", URL, *EVENT, "--occurred-at", "now"), "occurred_at: expected an RFC 3339 time"),
        (("publish", URL, *EVENT, "--event-version", "0"), "event_version: "),
        (("publish", URL, *EVENT, "--payload-file", "/no/such/file"), "/no/such/file"),
        (("publish", URL, "--ndjson", "/no/such/file"), "/no/such/file"),
        (("publish", URL, *EVENT, "--payload", "{}", "--payload-file", "-"), "exclude each other"),
        (("publish", URL, "--ndjson", "-", "--ticket", "T-1"), "--ndjson and --ticket exclude each other"),
        (("publish", URL, "--ndjson", "-", "--type", "a"), "--ndjson and --type exclude each other"),
        (("check", "ftp://host/"), "expected the address of a forum"),
        (("check", "http://me:secret@"), "expected the address of a forum"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], message: str) -> None:
    """With exit status 2, and no secret in it."""
    found = call(*arguments)
    assert found.exit_code == 2
    assert message in " ".join(found.output.split())
    assert "secret" not in found.output


def test_the_command_line_gives_way_to_nothing() -> None:
    """What stands there wins over the environment, also where the two exclude each other."""
    environment = {"ASGI_FORUM_TAIL": "5", "ASGI_FORUM_TRANSPORT": "pigeon"}
    found = call("tail", URL, "--cursor", "0", "--transport", "ws", "--retry-for", "0", env=environment)
    assert found.exit_code == 1
    both = call("tail", URL, env={"ASGI_FORUM_TAIL": "5", "ASGI_FORUM_CURSOR": "earliest"})
    assert both.exit_code == 2
    assert call("tail", URL, env={"ASGI_FORUM_TRANSPORT": "pigeon"}).exit_code == 2


def test_one_event_on_the_command_line_wins_over_a_file_in_the_environment(tmp_path: Path) -> None:
    """It is tried, and nothing of the file is read."""
    events = tmp_path / "events"
    events.write_text("no event\n")
    found = call("publish", URL, *EVENT, "--retry-for", "0", env={"ASGI_FORUM_NDJSON": str(events)})
    assert found.exit_code == 1
    assert "it was not published" in found.output


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("tail", "--help")])
def test_help_that_nobody_reads_is_no_error(arguments: tuple[str, ...]) -> None:
    """As with `| true`."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        found = subprocess.run([*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(writing)
    assert (found.returncode, found.stderr) == (0, b"")


def test_a_missing_click_is_named() -> None:
    """With the command that installs it."""
    code = "import sys; sys.modules['click'] = None; from asgi_forum.cli import main; main()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 1
    assert found.stderr == "Error: the command line needs click: pip install 'asgi-forum[cli]'\n"


@pytest.mark.parametrize(
    ("library", "arguments"),
    [
        ("httpx2", ("check", URL)),
        ("websockets", ("tail", URL)),
        ("httpx2", ("publish", URL, *EVENT)),
        ("uvicorn", ("serve",)),
    ],
)
def test_a_missing_library_is_one_line(library: str, arguments: tuple[str, ...]) -> None:
    """Of the command that needs it."""
    code = f"import sys; sys.modules[{library!r}] = None; from asgi_forum.cli import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 1
    assert found.stderr.startswith("Error: ")
    assert library in found.stderr
    assert found.stderr.count("\n") == 1
    assert "pip install" in found.stderr
