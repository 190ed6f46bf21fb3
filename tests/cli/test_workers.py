"""`asgi-forum serve --source redis://...`, with one process and with several on one socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.cli.command import DEADLINE, Forum, one_line, run, serving, started
from tests.cli.processes import fresh_name, runs, until, workers
from tests.redis.servers import RedisServer, free_port, running

DRAFT = {"event_type": "forum.post.added", "ticket": "T-1"}


def several(server: RedisServer, *arguments: str, count: int = 2) -> tuple[str, ...]:
    """Return the options of a forum with so many workers and a log of its own."""
    options = ("--source", server.url, "--name", fresh_name(), "--workers", str(count), "--allow-publish")
    return (*options, *arguments)


def websocket(forum: Forum) -> str:
    """Return the address of the forum's stream over a WebSocket."""
    return forum.url.replace("http", "ws", 1) + "/stream"


def test_all_workers_serve_one_log(redis_server: RedisServer) -> None:
    """What is published to one reaches the streams of all; stdout has the one line that says where they listen."""
    with serving(*several(redis_server, count=3)) as forum, ExitStack() as stack:
        assert len(workers(forum.process.popen.pid)) == 3
        readers = [stack.enter_context(connect(websocket(forum))) for _ in range(12)]
        assert {json.loads(each.recv(DEADLINE))["type"] for each in readers} == {"forum.live"}
        for _ in range(3):
            assert httpx2.post(f"{forum.url}/events", json=DRAFT).status_code == 201
        for each in readers:
            seen: list[int] = []
            while len(seen) < 3:
                seen += [event["sequence"] for event in json.loads(each.recv(DEADLINE))["events"]]
            assert seen == [1, 2, 3]
        assert forum.process.stop() == 0
        assert forum.process.stdout.rest() == forum.process.stderr.rest() == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_all_workers_soon(redis_server: RedisServer, number: signal.Signals, status: int) -> None:
    """With open streams, which are told so, and without a traceback; no process is left."""
    with serving(*several(redis_server)) as forum, ExitStack() as stack:
        streams = [stack.enter_context(httpx2.stream("GET", f"{forum.url}/stream")) for _ in range(6)]
        readers = [stack.enter_context(connect(websocket(forum))) for _ in range(6)]
        processes = workers(forum.process.popen.pid)
        begun = time.monotonic()
        assert forum.process.stop(number) == status
        assert time.monotonic() - begun < 5
        for stream in streams:
            assert '"code":"shutting_down"' in stream.read().decode()
        for reader in readers:
            with pytest.raises(ConnectionClosedError) as closed:
                list(reader)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert forum.process.stderr.rest() == []
        assert not any(map(runs, processes))


def test_a_terminal_s_ctrl_c_ends_it_like_any_signal(redis_server: RedisServer) -> None:
    """It reaches every process of the group at once, also while workers are still starting."""
    with started("serve", "--port", "0", *several(redis_server), group=True) as process:
        until(lambda: len(workers(process.popen.pid)) == 2)
        os.killpg(process.popen.pid, signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr.rest() == []


def test_a_worker_that_is_killed_is_replaced(redis_server: RedisServer) -> None:
    """One line tells of it; the others serve meanwhile, and the new one takes its place."""
    with serving(*several(redis_server)) as forum:
        lost, kept = workers(forum.process.popen.pid)
        os.kill(lost, signal.SIGKILL)
        assert f"worker {lost} ended by signal 9" in forum.process.stderr.next()
        assert httpx2.post(f"{forum.url}/events", json=DRAFT).status_code == 201
        until(lambda: len(workers(forum.process.popen.pid)) == 2)
        (new,) = set(workers(forum.process.popen.pid)) - {kept}
        os.kill(kept, signal.SIGKILL)
        assert f"worker {kept} ended" in forum.process.stderr.next()
        assert httpx2.get(f"{forum.url}/events", timeout=DEADLINE).json()["events"][0]["sequence"] == 1
        assert runs(new)
        assert forum.process.stop() == 0


def test_workers_do_not_outlive_their_parent(redis_server: RedisServer) -> None:
    """Also when that is killed: the port is free for the next one."""
    with serving(*several(redis_server)) as forum:
        processes = workers(forum.process.popen.pid)
        assert forum.process.stop(signal.SIGKILL) == -signal.SIGKILL
        until(lambda: not any(map(runs, processes)))


class _Old(socketserver.StreamRequestHandler):
    """A Redis that says it is of another age."""

    def handle(self) -> None:
        """Answer each command: INFO with a version, whatever else with OK."""
        while head := self.rfile.readline():
            words: list[bytes] = []
            for _ in range(int(head[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2])
            text = b"# Server\r\nredis_version:6.2.14\r\n"
            self.wfile.write(b"$%d\r\n%b\r\n" % (len(text), text) if words[0] == b"INFO" else b"+OK\r\n")


@contextmanager
def old_redis() -> Generator[str]:
    """Run it, and yield its address; RESP2, since it knows no HELLO."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Old) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"redis://me:secret@127.0.0.1:{server.server_address[1]}/0?protocol=2"
        server.shutdown()
        thread.join(DEADLINE)


@pytest.fixture(scope="module")
def locked_redis() -> Generator[RedisServer]:
    """A Redis with a password."""
    with running("--requirepass", "right") as server:
        yield server


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_start_that_fails_is_one_line(locked_redis: RedisServer, count: str) -> None:
    """A wrong password, a Redis that is too old, a URL that is off: the reason, no password, no second try."""
    with old_redis() as old:
        cases = {
            f"redis://:secret@127.0.0.1:{locked_redis.port}/0": "refuses the user or password",
            old: "Redis 6.2.14 is too old",
            "redis://:secret@127.0.0.1:none/0": "the redis:// URL is off",
        }
        for url, reason in cases.items():
            found = run("serve", "--port", "0", "--source", url, "--workers", count)
            assert (found.returncode, found.stdout) == (1, b"")
            said = one_line(found.stderr)
            assert said.startswith("Error: ")
            assert reason in said
            assert "secret" not in said


PLUGIN = """
import multiprocessing
from asgi_forum.errors import ConfigurationError
from asgi_forum.sources.memory import MemorySource

class Source(MemorySource):
    async def open(self):
        if multiprocessing.parent_process() is not None:
            raise ConfigurationError("not in a worker")

def make(url, options):
    return Source()
"""


def test_workers_that_cannot_start_end_it(tmp_path: Path) -> None:
    """With exit status 1; they are not started again and again."""
    (tmp_path / "only_here.py").write_text(PLUGIN)
    info = tmp_path / "only_here-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: only-here\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[asgi_forum.sources]\nhere = only_here:make\n")
    arguments = ("serve", "--port", "0", "--source", "here://", "--workers", "2")
    found = run(*arguments, env={"PYTHONPATH": str(tmp_path)})
    assert (found.returncode, found.stdout) == (1, b"")
    said = found.stderr.decode()
    assert said.splitlines()[-1].startswith("Error: a worker did not start")
    assert "not in a worker" in said
    assert said.count("asgi_forum.startup_failed") <= 2


@pytest.mark.parametrize("count", ["1", "2"])
def test_it_serves_while_redis_cannot_be_reached(tmp_path: Path, count: str) -> None:
    """Streams are open and degraded, one line warns; when Redis is there they go on."""
    server = RedisServer(tmp_path / "data", port=free_port())
    with serving("--source", server.url, "--workers", count, "--allow-publish") as forum:
        with connect(websocket(forum)) as reader:
            first = json.loads(reader.recv(DEADLINE))
            assert (first["type"], first["degraded"]) == ("heartbeat", True)
            assert httpx2.get(f"{forum.url}/health").json()["status"] == "degraded"
            server.start()
            try:
                until(lambda: httpx2.post(f"{forum.url}/events", json=DRAFT).status_code == 201)
                kinds: list[str] = []
                while "forum.live" not in kinds:
                    kinds.append(json.loads(reader.recv(DEADLINE))["type"])
                assert forum.process.stop() == 0
            finally:
                server.kill()
        (said,) = forum.process.stderr.rest()
        assert "asgi_forum.source_lost: Redis can't be reached" in said


def test_retention_by_age_is_an_option(redis_server: RedisServer) -> None:
    """In seconds; the last event of a log that is quiet goes too."""
    name = fresh_name()
    options = ("--source", redis_server.url, "--name", name, "--retain-for", "1", "--allow-publish")
    with serving(*options) as forum:
        assert httpx2.post(f"{forum.url}/events", json=DRAFT).status_code == 201
        until(lambda: redis_server.command("XLEN", f"asgi_forum:{{{name}}}:log") == b":0\r\n")


def test_a_port_in_use_is_one_line_with_workers_too(redis_server: RedisServer) -> None:
    """Before any worker is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = run("serve", "--port", port, "--source", redis_server.url, "--workers", "2")
    assert found.returncode == 1
    assert "in use" in one_line(found.stderr)
