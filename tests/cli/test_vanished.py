"""Clients of `asgi-forum serve` that vanish without a word, that stop reading, and that read slowly."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.cli.command import Forum, serving
from tests.cli.processes import until
from tests.serving.clients import KINDS, Kind, open_client, vanish

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux lets a socket go deaf, and shows what the kernel holds"
)

SOON = ("--heartbeat", "1", "--limit", "send_timeout=1")


def held_for(port: int) -> list[int]:
    """What the kernel holds for each client of a port, in bytes, as it has not taken it yet."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[4].partition(":")[0], 16) for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]


def publish(forum: Forum, *sizes: int) -> None:
    """Publish events of so many bytes, in one request."""
    drafts = [{"event_type": "a", "ticket": "T", "payload": {"x": "y" * size}} for size in sizes]
    assert httpx2.post(f"{forum.url}/events", json=drafts).status_code == 201


def streams(forum: Forum) -> dict[str, int]:
    """How many are open."""
    found: dict[str, int] = httpx2.get(f"{forum.url}/health").json()["streams"]
    return found


def test_clients_that_vanish_leave_nothing_behind() -> None:
    """Streams, a page that waits and who never asked: none of them says anything, and all are gone a little later."""
    with serving(*SOON) as forum, ExitStack() as stack:
        socks = [open_client(kind, forum.port, "/forum").sock for kind in KINDS for _ in range(5)]
        socks += [socket.create_connection(("127.0.0.1", forum.port)) for _ in range(5)]
        for sock in socks:
            stack.enter_context(sock)
        assert streams(forum) == {"sse": 5, "websocket": 10}
        for sock in socks:
            vanish(sock)
        until(lambda: streams(forum) == {"sse": 0, "websocket": 0})
        until(lambda: not held_for(forum.port))


@pytest.mark.parametrize("kind", ["sse", "websocket"])
def test_a_client_that_vanishes_while_it_is_behind_goes_too(kind: Kind) -> None:
    """Its window had closed before: then it is not the kernel that finds out."""
    with serving(*SOON, "--allow-publish") as forum:
        client = open_client(kind, forum.port, "/forum", receive_buffer=4096)
        with client.sock:
            publish(forum, *[100_000] * 3)
            client.until(b'"sequence":3')  # by then it has been held up
            vanish(client.sock)
            until(lambda: not held_for(forum.port))
            assert streams(forum) == {"sse": 0, "websocket": 0}


@pytest.mark.parametrize("kind", ["sse", "websocket"])
def test_a_client_that_takes_nothing_costs_little_and_goes(kind: Kind) -> None:
    """The kernel holds no 4 MB for it, and lets go of it soon after the forum has: nothing else could."""
    with serving("--limit", "send_timeout=0.5", "--allow-publish") as forum:
        client = open_client(kind, forum.port, "/forum", receive_buffer=4096)
        with client.sock:
            publish(forum, *[10_000] * 500)
            assert max(held_for(forum.port), default=0) < 300_000
            until(lambda: not held_for(forum.port))
        assert streams(forum) == {"sse": 0, "websocket": 0}


@pytest.mark.parametrize("kind", ["sse", "websocket"])
def test_a_client_that_stalls_now_and_again_stays(kind: Kind) -> None:
    """Its window closes for a moment, and once more after a longer time than it may take nothing: Linux takes that for one long stall."""
    with serving("--limit", "send_timeout=3", "--allow-publish") as forum:
        client = open_client(kind, forum.port, "/forum", receive_buffer=4096)
        with client.sock:
            last, pause = 0, threading.Event()
            for idle in (3.3, 0):
                publish(forum, *[10_000] * 40, 1)  # of the last one all comes with its beginning
                pause.wait(0.6)  # the kernel has looked whether the window is still closed
                last += 41
                client.until(f'"sequence":{last},'.encode())
                pause.wait(idle)
        assert client.events == list(range(1, 83))
