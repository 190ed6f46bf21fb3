"""`tail`, `publish` and `check` on the URL of a source: the same as on the address of a forum that serves it."""

from __future__ import annotations

import json
import signal
from collections.abc import Generator
from pathlib import Path

import httpx2
import pytest

from tests.cli.command import Forum, one_line, run, serving, started
from tests.cli.processes import fresh_name, until
from tests.redis.servers import RedisServer, free_port, running

EVENT = ("--ticket", "T-1", "--type", "forum.post.added")
AWAY = "redis://me:secret@127.0.0.1:1/0"


@pytest.fixture
def log(redis_server: RedisServer) -> tuple[str, ...]:
    """A log of a name of its own: its URL, and the option that names it."""
    return (redis_server.url, "--name", fresh_name())


@pytest.fixture
def served(log: tuple[str, ...]) -> Generator[Forum]:
    """A forum that serves that log."""
    url, *name = log
    with serving("--source", url, *name, "--allow-publish") as forum:
        yield forum


def keys(server: RedisServer, name: str) -> bytes:
    """Return what there is of a forum."""
    return server.command("KEYS", f"asgi_forum:{{{name}}}:*")


def test_both_ways_are_one_log(served: Forum, log: tuple[str, ...]) -> None:
    """What one publishes the other has, with the same cursors, duplicates and bytes."""
    first = run("publish", *log, *EVENT, "--event-id", "a", "--payload", '{"x": 1e22}')
    second = run("publish", served.url, *EVENT, "--event-id", "b")
    again = run("publish", *log, *EVENT, "--event-id", "b")
    assert [each.stderr for each in (first, second, again)] == [b"", b"", b""]
    assert again.stdout == second.stdout.rstrip(b"\n") + b" duplicate\n"
    lines: list[list[str]] = []
    for target in (log, (served.url,)):
        with started("tail", *target, "--cursor", "earliest", "--json") as tail:
            lines.append(tail.stdout.take(2))
            assert tail.stop(signal.SIGINT) == 130
            assert tail.stderr.rest() == []
    assert lines[0] == lines[1]
    assert [
        f"{each['sequence']} {each['envelope']['event_id']} {each['cursor']}" for each in map(json.loads, lines[0])
    ] == [found.stdout.decode().strip() for found in (first, second)]


def test_tail_takes_what_it_takes_elsewhere(log: tuple[str, ...]) -> None:
    """Filters, where to start, lines for people; what is off is refused in the same words."""
    for ticket in ("T-1", "T-2", "T-3"):
        assert run("publish", *log, "--ticket", ticket, "--type", "a.b", "--actor-name", "me").returncode == 0
    with started("tail", *log, "--tail", "2", "--ticket", "t-1", "--ticket", "T-3", "--type", "a") as tail:
        assert [line.split("  ")[1:4] for line in tail.stdout.take(2)] == [["a.b", "T-1", "me"], ["a.b", "T-3", "me"]]
        run("publish", *log, "--ticket", "T-1", "--type", "a")
        assert tail.stdout.next().split("  ")[1:3] == ["a", "T-1"]
    found = run("tail", *log, "--cursor", "nonsense")
    assert found.returncode == 1
    assert "cursor: got 'nonsense'" in one_line(found.stderr)


def test_many_are_published_once(log: tuple[str, ...]) -> None:
    """In batches, counted; a rerun finds them all, an event with other content is named by its line."""
    lines = [{"event_type": "a", "ticket": "T", "event_id": f"e{n}", "payload": {"n": n}} for n in range(2500)]
    content = "".join(json.dumps(each) + "\n" for each in lines).encode()
    assert (
        run("publish", *log, "--ndjson", "-", stdin=content).stdout
        == b"published 2500 events: 2500 new, 0 duplicates\n"
    )
    assert (
        run("publish", *log, "--ndjson", "-", stdin=content).stdout
        == b"published 2500 events: 0 new, 2500 duplicates\n"
    )
    other = json.dumps({**lines[7], "ticket": "X"}).encode()
    found = run("publish", *log, "--ndjson", "-", stdin=b"\n" + other)
    assert found.returncode == 1
    assert "line 2: event_id 'e7' is taken by an event with another ticket" in one_line(found.stderr)


def test_an_event_that_is_too_large_is_refused_as_by_a_forum(served: Forum, log: tuple[str, ...]) -> None:
    """In the same words."""
    content = json.dumps({"event_type": "a", "ticket": "T", "payload": {"x": "y" * 2**20}}).encode()
    said = [run("publish", *target, "--ndjson", "-", stdin=content) for target in (log, (served.url,))]
    assert [each.returncode for each in said] == [1, 1]
    assert one_line(said[0].stderr) == one_line(said[1].stderr)


def test_what_others_keep_is_not_trimmed(log: tuple[str, ...]) -> None:
    """How much is kept is for those who serve the log: an environment for them says nothing here."""
    content = b"".join(b'{"event_type": "a", "ticket": "T"}\n' for _ in range(1500))
    done = run("publish", *log, "--ndjson", "-", stdin=content, env={"ASGI_FORUM_RETAIN": "10"})
    assert done.returncode == 0
    assert b"entries  1500\n" in run("check", *log).stdout


def test_tail_goes_on_when_redis_was_away(tmp_path: Path) -> None:
    """It says so on stderr; nothing is lost."""
    server = RedisServer(tmp_path / "data", "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    try:
        with started("tail", server.url, "--cursor", "earliest", "--json") as tail:
            assert run("publish", server.url, *EVENT).returncode == 0
            assert json.loads(tail.stdout.next())["sequence"] == 1
            server.kill()
            assert tail.stderr.next().startswith("Redis can't be reached: ")
            server.start()
            assert run("publish", server.url, *EVENT).returncode == 0
            assert json.loads(tail.stdout.next())["sequence"] == 2
            assert tail.stop(signal.SIGINT) == 130
            assert tail.stderr.rest() == ["connected again"]
    finally:
        server.kill()


def test_publish_waits_for_redis(tmp_path: Path) -> None:
    """For as long as --retry-for says, and says so."""
    server = RedisServer(tmp_path / "data", port=free_port())
    with started("publish", server.url, *EVENT) as publish:
        assert "trying again for up to 30 s" in publish.stderr.next()
        server.start()
        try:
            assert publish.wait() == 0
            assert publish.stdout.next().startswith("1 ")
        finally:
            server.kill()


@pytest.mark.parametrize(
    "arguments",
    [
        ("tail", AWAY, "--retry-for", "0.5"),
        ("publish", AWAY, *EVENT, "--retry-for", "0"),
        ("check", AWAY),
        ("repair", AWAY),
    ],
    ids=lambda each: each[0],
)
def test_a_redis_that_is_not_there_is_told(arguments: tuple[str, ...]) -> None:
    """By one line at the end, without the password."""
    found = run(*arguments)
    assert found.returncode == 1
    assert found.stderr.decode().splitlines()[-1].startswith("Error: Redis can't be reached: ")
    assert b"secret" not in found.stderr
    assert b"Traceback" not in found.stderr
    if arguments[0] == "publish":
        assert b"it was not published" in found.stderr
    if arguments[0] in ("check", "repair"):
        one_line(found.stderr)


@pytest.fixture(scope="module")
def locked() -> Generator[RedisServer]:
    """A Redis with a password."""
    with running("--requirepass", "right") as server:
        yield server


@pytest.mark.parametrize("command", [("tail",), ("publish", *EVENT), ("check",), ("repair",)], ids=lambda each: each[0])
def test_a_wrong_password_is_one_line(locked: RedisServer, command: tuple[str, ...]) -> None:
    """At once, and it is not shown; a URL that is off is told as soon."""
    for url, reason in (
        (f"redis://:secret@127.0.0.1:{locked.port}/0", "refuses the user or password"),
        (f"redis://:secret@127.0.0.1:{locked.port}/0?nonsense=secret", "URL is off"),
    ):
        found = run(command[0], url, *command[1:])
        assert found.returncode == 1
        said = one_line(found.stderr)
        assert reason in said
        assert "secret" not in said


@pytest.mark.parametrize(
    "command", [("check",), ("tail",), ("serve", "--port", "0", "--source")], ids=lambda each: each[0]
)
@pytest.mark.parametrize(
    "url",
    ["redis://me:secret/x@h/0", "reddis://me:secret/x@h/0", "redis+sentinel://me:12/secret@h/main", "me:secret@h/0"],
)
def test_a_password_that_was_not_encoded_is_not_shown(command: tuple[str, ...], url: str) -> None:
    """Wherever in the URL a piece of it comes to stand."""
    found = run(*command, url)
    assert found.returncode in (1, 2)
    assert b"secret" not in found.stdout + found.stderr
    assert b"Traceback" not in found.stderr


def test_check_describes_a_log(redis_server: RedisServer, log: tuple[str, ...]) -> None:
    """Health, head cursor, how much there is, the time of one read; nothing is written."""
    name = log[-1]
    receipt = run("publish", *log, *EVENT).stdout.decode().split()
    before = [
        redis_server.command(*words)
        for words in (("XINFO", "STREAM", f"asgi_forum:{{{name}}}:log"), ("HGETALL", f"asgi_forum:{{{name}}}:meta"))
    ]
    found = run("check", *log)
    assert (found.returncode, found.stderr) == (0, b"")
    told = dict(line.split(None, 1) for line in found.stdout.decode().splitlines())
    assert told.pop("read").endswith(" ms")
    assert told == {"status": "ok", "source": "redis, available", "cursor": receipt[2], "entries": "1"}
    after = [
        redis_server.command(*words)
        for words in (("XINFO", "STREAM", f"asgi_forum:{{{name}}}:log"), ("HGETALL", f"asgi_forum:{{{name}}}:meta"))
    ]
    assert after == before


def test_check_leaves_a_log_that_nobody_has_begun(redis_server: RedisServer, log: tuple[str, ...]) -> None:
    """It says so, and that is no failure; also where others have published, and no forum has read it yet."""
    name = log[-1]
    found = run("check", *log)
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"cursor   none: nobody has begun this log\nentries  0\n" in found.stdout
    assert keys(redis_server, name) == b"*0\r\n"
    redis_server.command("XADD", f"asgi_forum:{{{name}}}:log", "0-*", "event", "{}")
    found = run("check", *log)
    assert found.returncode == 0
    assert b"cursor   none: no forum has read this log yet\nentries  1\n" in found.stdout
    assert keys(redis_server, name).startswith(b"*1\r\n")


def test_check_tells_of_a_log_that_was_emptied(redis_server: RedisServer, log: tuple[str, ...]) -> None:
    """Its cursors are of no use any more."""
    assert run("publish", *log, *EVENT).returncode == 0
    redis_server.command("DEL", f"asgi_forum:{{{log[-1]}}}:log")
    found = run("check", *log)
    assert found.returncode == 0
    assert b"cursor   none: the log was emptied" in found.stdout


def test_check_names_an_entry_without_a_number(redis_server: RedisServer, log: tuple[str, ...]) -> None:
    """And the way out, with exit status 1."""
    assert run("publish", *log, *EVENT).returncode == 0
    redis_server.command("XADD", f"asgi_forum:{{{log[-1]}}}:log", "7-7", "event", "{}")
    found = run("check", *log)
    assert found.returncode == 1
    assert found.stdout.startswith(b"status   degraded\n")
    said = one_line(found.stderr)
    assert "the entry 7-7" in said
    assert "asgi-forum repair" in said


def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    """As any URL of a source."""
    path = tmp_path / "redis.sock"
    with running("--unixsocket", str(path)):
        url = f"unix://{path}"
        assert run("publish", url, *EVENT).stdout.startswith(b"1 ")
        assert b"entries  1\n" in run("check", url).stdout


PLUGIN = """
from pathlib import Path
from asgi_forum.sources.memory import MemorySource

def make(url, options):
    assert options.name == "mine"
    return MemorySource()
"""


def test_a_source_of_others_will_do(tmp_path: Path) -> None:
    """One whose scheme is registered; it has nothing that could be repaired."""
    (tmp_path / "theirs.py").write_text(PLUGIN)
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[asgi_forum.sources]\ntheirs = theirs:make\n")
    env = {"PYTHONPATH": str(tmp_path), "ASGI_FORUM_NAME": "mine"}
    assert run("publish", "theirs://", *EVENT, env=env).stdout.startswith(b"1 ")
    told = run("check", "theirs://", env=env)
    assert told.returncode == 0
    assert told.stdout.startswith(b"status   ok\nsource   memory, available\ncursor   ")
    found = run("repair", "theirs://", env=env)
    assert found.returncode == 1
    assert "knows nothing that could be repaired" in one_line(found.stderr)


def test_a_forum_named_by_the_environment_is_the_same(redis_server: RedisServer, log: tuple[str, ...]) -> None:
    """For `serve` and for what goes to the source."""
    env = {"ASGI_FORUM_NAME": log[-1], "ASGI_FORUM_URL": redis_server.url, "ASGI_FORUM_SOURCE": redis_server.url}
    assert run("publish", *EVENT, env=env).stdout.startswith(b"1 ")
    with serving(env=env) as forum:
        until(lambda: len(httpx2.get(f"{forum.url}/events").json()["events"]) == 1)
