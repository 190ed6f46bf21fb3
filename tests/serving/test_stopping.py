"""A stop with open streams: each is ended properly, and the process is gone within seconds, on every server."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.projects import write_files
from tests.redis.servers import free_port, wait_until
from tests.serving.clients import Client, Kind, open_client, open_clients, read_to_the_end
from tests.serving.servers import HYPERCORN_WITH_WORKERS, SERVERS, Server, Serving, serving, serving_command

STREAMS: tuple[Kind, ...] = ("sse", "websocket", "socket")
EACH = 20
"""Streams of each kind."""

SOON = 5.0
"""Seconds within which a process with open streams exits."""

HOSTS = {"bare": "", "mounted": "/forum", "wired": "/forum", "wrapped": "/forum"}
ONE_EACH = ["uvicorn", "hypercorn -w 0", "granian", "daphne"]
COMPLAINTS = ("Traceback", "was destroyed", "never retrieved", "never awaited")


def of(name: str) -> Server:
    """A server, where it is installed."""
    server = SERVERS[name]
    if not server.installed:
        pytest.skip(f"{server.module} is not installed")
    return server


@contextmanager
def stopping(served: Serving, number: signal.Signals, status: int) -> Generator[None]:
    """Send a signal; when the block ends the process must soon have exited, with this status and without complaints."""
    begun = time.monotonic()
    served.process.popen.send_signal(number)
    yield
    assert served.process.wait() == status
    assert time.monotonic() - begun < SOON
    said = "\n".join(served.process.stderr.rest())  # to its end: no worker is left
    assert not [word for word in COMPLAINTS if word in said], said


def check_endings(clients: Sequence[Client], *, close_code: int = 1012, goodbye: bool = True) -> None:
    """Each stream was ended properly."""
    ends = {"sse": "shutting_down, end", "poll": "200, end"}
    proper = {client.kind: ends.get(client.kind, f"shutting_down, {close_code}") for client in clients}
    found = Counter(f"{client.kind}: {client.verdict}" for client in clients)
    if not goodbye:  # it may be missing, the close code may not
        found = Counter(key.replace("no goodbye", "shutting_down") for key in found.elements())
    assert found == Counter(f"{client.kind}: {proper[client.kind]}" for client in clients)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", ONE_EACH)
def test_streams_end_and_the_process_exits(name: str, host: str) -> None:
    """Wherever the forum stands, by SIGTERM and by a Ctrl-C, with its lifespan wired or not."""
    server, number = of(name), signal.SIGINT if host in ("bare", "wired") else signal.SIGTERM
    with serving(server, host) as served:
        # The polls come first: by the time that the streams after them are live, they have begun.
        with (
            open_clients(served.port, HOSTS[host], "poll", count=EACH) as polls,
            open_clients(served.port, HOSTS[host], *STREAMS, count=EACH) as streams,
        ):
            with stopping(served, number, server.statuses[number]):
                read_to_the_end([*polls, *streams])
            check_endings([*streams, *polls], close_code=server.close_code, goodbye=server.goodbye)


@pytest.mark.parametrize("name", [name for name in SERVERS if name not in ONE_EACH])
def test_so_they_do_on_other_loops_and_in_several_processes(name: str) -> None:
    """The supervisor passes the signal on, and each worker does the same."""
    server = of(name)
    with (
        serving(server, "wired") as served,
        open_clients(served.port, "/forum", *STREAMS, count=EACH) as clients,
    ):
        with stopping(served, signal.SIGTERM, server.statuses[signal.SIGTERM]):
            read_to_the_end(clients)
        check_endings(clients, close_code=server.close_code, goodbye=server.goodbye)


@pytest.mark.parametrize("name", ONE_EACH)
def test_what_is_under_way_is_not_disturbed(name: str) -> None:
    """A request of the host's own comes to its end, where the server waits for it; publishing has an answer or none, and no gaps."""
    server, answers = of(name), list[int]()
    events = json.dumps([{"event_type": "forum.post.added", "ticket": "T-1"}] * 10).encode()
    with serving(server, "wired") as served, open_clients(served.port, "/forum", *STREAMS, count=EACH) as clients:

        def publish() -> None:
            try:
                while True:
                    answers.append(served.ask("POST", "/forum/events", events)[0])
            except OSError:
                pass  # the server has gone

        own = open_client("poll", served.port, "", path="/work")
        own.until(b"begun")
        publisher = threading.Thread(target=publish)
        publisher.start()
        wait_until(lambda: len(answers) > 5)
        with stopping(served, signal.SIGTERM, server.statuses[signal.SIGTERM]):
            read_to_the_end([*clients, own])
        publisher.join()
        own.sock.close()
        if name != "daphne":  # it cancels requests that have not ended
            assert own.body == (b"begun done", True)
        check_endings(clients, close_code=server.close_code, goodbye=server.goodbye)
        assert set(answers) <= {201, 503}
        for client in clients:
            assert client.events == list(range(1, len(client.events) + 1))
            assert len(client.events) >= 40


@pytest.mark.parametrize("name", ["uvicorn", "granian", "daphne"])
def test_clients_that_read_nothing_hold_up_nobody(name: str) -> None:
    """The others are told goodbye at once; these are cut, with the option that the server has for it (hypercorn has none)."""
    server = of(name)
    events = json.dumps([{"event_type": "forum.post.added", "ticket": "T-1", "payload": {"x": "x" * 900_000}}] * 12)
    with serving(server, "wired", *server.patience) as served:
        assert served.ask("POST", "/forum/events", events.encode())[0] == 201
        stuck = [
            open_client(kind, served.port, "/forum", query="?cursor=earliest", receive_buffer=4096, read=False)
            for kind in ("sse", "websocket")
        ]
        with open_clients(served.port, "/forum", *STREAMS, count=EACH) as clients:
            with stopping(served, signal.SIGTERM, server.statuses[signal.SIGTERM]):
                read_to_the_end(clients)
            check_endings(clients, close_code=server.close_code, goodbye=server.goodbye)
        for client in stuck:
            client.sock.close()


@pytest.mark.parametrize("name", [*ONE_EACH, "hypercorn"])
def test_a_host_may_drain_first(name: str) -> None:
    """By a route that a preStop hook calls: all streams have left before the signal comes, on every server."""
    server = HYPERCORN_WITH_WORKERS if name == "hypercorn" else of(name)
    if not server.installed:
        pytest.skip(f"{server.module} is not installed")
    with (
        serving(server, "wired") as served,
        open_clients(served.port, "/forum", *STREAMS, count=EACH) as clients,
    ):
        assert served.ask("GET", "/drain") == (200, b"drained")
        assert served.ask("GET", "/streams") == (200, b"{}")
        assert served.ask("GET", "/forum/stream")[0] == 503
        assert served.ask("GET", "/forum/events")[0] == 200
        with stopping(served, signal.SIGTERM, server.statuses[signal.SIGTERM]):
            read_to_the_end(clients)
        check_endings(clients, close_code=server.close_code)


def test_streams_of_a_greatest_age_let_a_server_go_that_tells_nothing() -> None:
    """Hypercorn's own workers see no signal, and wait for their streams: these end by themselves."""
    server = HYPERCORN_WITH_WORKERS
    if not server.installed:
        pytest.skip("hypercorn is not installed")
    with (
        serving(server, "wired", env={"SITE_MAX_STREAM_AGE": "1.5"}) as served,
        open_clients(served.port, "/forum", *STREAMS, count=EACH) as clients,
    ):
        with stopping(served, signal.SIGTERM, server.statuses[signal.SIGTERM]):
            read_to_the_end(clients)
        check_endings(clients, close_code=server.close_code, goodbye=server.goodbye)


def test_a_program_that_runs_its_server_may_drain_first(tmp_path: Path) -> None:
    """As docs/mounting.md has it: streams leave before the server hears that it has to stop."""
    if not HYPERCORN_WITH_WORKERS.installed:
        pytest.skip("hypercorn is not installed")
    write_files({block.title: block.text for block in blocks(ROOT / "docs/mounting.md") if block.title}, tmp_path)
    port = free_port()
    command = [sys.executable, str(tmp_path / "serve_hypercorn.py")]
    with (
        serving_command(command, port, {"PORT": str(port)}) as served,
        open_clients(port, "/forum", *STREAMS, count=EACH) as clients,
    ):
        with stopping(served, signal.SIGTERM, 0):
            read_to_the_end(clients)
        check_endings(clients)
