"""`asgi-forum serve`, in a process of its own."""

from __future__ import annotations

import json
import re
import signal
import socket
import time

import httpx2
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from tests.cli.command import DEADLINE, Forum, one_line, run, serving, started

EVENT = ("--ticket", "T-1", "--type", "forum.post.added")


def stream(forum: Forum) -> str:
    """Return the address of the forum's stream over a WebSocket."""
    return forum.url.replace("http", "ws", 1) + "/stream"


def test_it_says_where_it_listens() -> None:
    """In one line of stdout, once it does, and says nothing else there."""
    with started("serve", "--port", "0") as process:
        said = process.stdout.next()
        found = re.fullmatch(r"asgi-forum: listening on (http://127\.0\.0\.1:[0-9]+/forum)", said)
        assert found, said
        assert httpx2.get(f"{found[1]}/health").json()["status"] == "ok"
        assert process.stop() == 0
        assert process.stdout.rest() == []
        assert process.stderr.rest() == []


def test_what_it_serves_is_set_by_options() -> None:
    """Path, heartbeat and how much is retained; beside the forum there is nothing."""
    with serving("--path", "/a/b", "--heartbeat", "0.1", "--retain", "10", "--allow-publish") as forum:
        assert forum.url.endswith("/a/b")
        assert httpx2.get(forum.url.removesuffix("/a/b") + "/elsewhere").status_code == 404
        with connect(stream(forum)) as reader:
            kinds = [json.loads(reader.recv(DEADLINE))["type"] for _ in range(2)]
        assert kinds == ["forum.live", "heartbeat"]
        lines = "".join(f'{{"event_type": "a", "ticket": "T", "payload": {{"n": {n}}}}}\n' for n in range(2000))
        assert run("publish", forum.url, "--ndjson", "-", stdin=lines.encode()).returncode == 0
        page = httpx2.get(f"{forum.url}/events?tail=1000").json()
        assert 10 <= len(page["events"]) < 1000


def test_it_may_be_the_whole_server() -> None:
    """With `/` as its path."""
    with serving("--path", "/") as forum:
        assert httpx2.get(f"{forum.url}health").json()["status"] == "ok"
        assert run("check", forum.url).returncode == 0


def test_settings_come_from_the_environment_too() -> None:
    """The command line wins."""
    environment = {
        "ASGI_FORUM_PATH": "/env",
        "ASGI_FORUM_ALLOW_PUBLISH": "1",
        "ASGI_FORUM_HOST": "127.0.0.2",
        "ASGI_FORUM_ALLOW_ORIGIN": "https://a.example https://b.example",
    }
    with serving("--host", "127.0.0.1", env=environment) as forum:
        assert forum.url == f"http://127.0.0.1:{forum.port}/env"
        assert run("publish", forum.url, *EVENT).returncode == 0
        for origin, status in (("https://b.example", 201), ("https://c.example", 403)):
            draft = {"event_type": "a", "ticket": "T"}
            assert httpx2.post(f"{forum.url}/events", json=draft, headers={"Origin": origin}).status_code == status


def test_a_setting_of_the_environment_that_is_off_is_one_line() -> None:
    """It names the variable."""
    found = run("serve", "--port", "0", env={"ASGI_FORUM_ON_LAG": "panic"})
    assert found.returncode == 1
    assert "ASGI_FORUM_ON_LAG" in one_line(found.stderr)


def test_publishing_is_off_unless_it_is_allowed() -> None:
    """What is refused is told by one line."""
    with serving() as forum:
        found = run("publish", forum.url, *EVENT)
    assert found.returncode == 1
    assert "publishing over HTTP is off" in one_line(found.stderr)


def test_a_port_in_use_is_one_line() -> None:
    """It names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = run("serve", "--port", str(port))
    assert found.returncode == 1
    said = one_line(found.stderr)
    assert f"can't listen on 127.0.0.1 port {port}" in said
    assert "in use" in said


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.1"])
def test_a_host_that_is_not_here_is_one_line(host: str) -> None:
    """One that no name server knows, or that is another machine's."""
    found = run("serve", "--host", host, "--port", "0")
    assert found.returncode == 1
    assert f"can't listen on {host} port 0: " in one_line(found.stderr)


def test_ipv6_stands_in_brackets() -> None:
    """In the line that is printed; where the machine has none, one line says so."""
    with started("serve", "--host", "::1", "--port", "0") as process:
        if socket.has_ipv6 and _has_loopback():
            said = process.stdout.next()
            assert re.fullmatch(r"asgi-forum: listening on http://\[::1\]:[0-9]+/forum", said), said
            assert run("check", said.rpartition(" ")[2]).returncode == 0
        else:
            assert process.wait() == 1
            assert "can't listen on ::1 port 0" in process.stderr.next()


def _has_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("source", ["nosuch://host/0", "nonsense"])
def test_a_source_that_nobody_knows_is_one_line(source: str) -> None:
    """It names what there is, and no password."""
    found = run("serve", "--port", "0", "--source", source.replace("host", "me:secret@host"))
    assert found.returncode == 1
    said = one_line(found.stderr)
    assert "memory://" in said
    assert "secret" not in said


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_soon(number: signal.Signals, status: int) -> None:
    """With open streams, which are told so: by a last frame and a close code, and without a traceback."""
    with serving() as forum, httpx2.stream("GET", f"{forum.url}/stream") as events, connect(stream(forum)) as reader:
        chunks = events.iter_text()
        body = next(chunks)
        assert json.loads(reader.recv(DEADLINE))["type"] == "forum.live"
        begun = time.monotonic()
        assert forum.process.stop(number) == status
        assert time.monotonic() - begun < 3
        body += "".join(chunks)
        assert json.loads(reader.recv(DEADLINE))["code"] == "shutting_down"
        with pytest.raises(ConnectionClosedError) as closed:
            reader.recv(DEADLINE)
        assert forum.process.stderr.rest() == []
    assert "event: forum.error\ndata: " in body
    assert '"code":"shutting_down"' in body
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


def test_a_client_that_takes_nothing_does_not_hold_it_up(forum: Forum) -> None:
    """Its connection is cut after a few seconds, and one line says so at most."""
    content = b"".join(
        json.dumps({"event_type": "a", "ticket": "T", "payload": {"x": "y" * 10_000}}).encode() + b"\n"
        for _ in range(1500)
    )
    assert run("publish", forum.url, "--ndjson", "-", stdin=content).returncode == 0
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", forum.port))
        stuck.sendall(b"GET /forum/stream?cursor=earliest HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stuck.recv(12) == b"HTTP/1.1 200"
        with connect(f"{stream(forum)}?cursor=earliest", max_size=None) as reader:  # by its end the other one is stuck
            while json.loads(reader.recv(DEADLINE))["type"] != "forum.live":
                pass
        begun = time.monotonic()
        assert forum.process.stop() == 0
        assert time.monotonic() - begun < 5
    assert len(forum.process.stderr.rest()) <= 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("streams=0", "streams: got 0, expected an integer above 0"),
        ("streams=many", "streams: got 'many', expected an integer above 0"),
        ("streams", "streams: got '', expected an integer above 0"),
        ("stream=5", "got 'stream', expected one of streams, "),
        ("send_timeout=none", "send_timeout: got None, expected a number of seconds above 0"),
    ],
)
def test_a_limit_that_is_off_is_wrong_usage(given: str, says: str) -> None:
    """It names what it got and what it takes."""
    found = run("serve", "--port", "0", "--limit", given)
    assert found.returncode == 2
    assert says in " ".join(found.stderr.decode().replace("│", " ").split())


def test_limits_are_options_and_variables() -> None:
    """By name; a variable holds where there is no option."""
    cases: list[tuple[list[str], dict[str, str]]] = [
        (["--limit", "streams=1", "--limit", "max_stream_age=None"], {"ASGI_FORUM_LIMITS": '{"streams": 2}'}),
        ([], {"ASGI_FORUM_LIMITS": '{"streams": 1, "max_stream_age": 60}'}),
        ([], {"ASGI_FORUM_LIMIT": "streams=1 max_stream_age=60"}),
    ]
    for options, environment in cases:
        with serving(*options, env=environment) as forum, connect(stream(forum)):
            assert httpx2.get(f"{forum.url}/stream").status_code == 429


def test_websockets_are_not_compressed(shared_forum: Forum) -> None:
    """Compression costs more memory for each connection than the connection itself."""
    with connect(stream(shared_forum), compression="deflate") as reader:
        assert reader.protocol.extensions == []


def test_a_client_s_long_message_ends_its_stream(shared_forum: Forum) -> None:
    """More than 64 KiB are not taken in."""
    with connect(stream(shared_forum)) as reader:
        reader.send("x" * (2**16 + 1))
        with pytest.raises(ConnectionClosedError) as closed:
            list(reader)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_a_refused_upgrade_fills_no_log() -> None:
    """Anybody could send many; the client has its answer."""
    with serving() as forum:
        with pytest.raises(InvalidStatus):
            connect(f"{stream(forum)}?limit=0").__enter__()
        forum.process.stop()
        assert forum.process.stderr.rest() == []


def test_requests_are_logged_on_demand() -> None:
    """To stderr: stdout is for what was asked for."""
    with serving("--log-level", "info") as forum:
        httpx2.get(f"{forum.url}/health")
        forum.process.stop()
        assert any('"GET /forum/health HTTP/1.1" 200' in line for line in forum.process.stderr.rest())
        assert forum.process.stdout.rest() == []
