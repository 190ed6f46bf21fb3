"""Which connections are cut, on real sockets; only the clock is ours."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from asgi_forum.cli.stalls import Connection, Stalls

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was acknowledged"),
]

PATIENCE = 10.0
MORE_THAN_FITS = b"x" * 2**20


class Server(asyncio.Protocol):
    """One connection, as a server has it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.made = anyio.Event()
        self.lost = anyio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be there."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.made.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Be gone."""
        self.lost.set()


@dataclass(eq=False)
class Scene:
    """Connections, and a clock that the test turns."""

    stalls: Stalls = field(default_factory=lambda: Stalls(PATIENCE))
    connections: set[Connection] = field(default_factory=set[Connection])
    now: float = 1000.0

    def look(self, seconds: float = 0.0) -> None:
        """Let time go by, a tenth of a second at a time, and look each time; at least once."""
        for _ in range(max(1, round(seconds * 10))):
            self.now += 0.1
            self.stalls.look(self.connections, self.now)


@asynccontextmanager
async def connected(scene: Scene) -> AsyncGenerator[tuple[Server, socket.socket]]:
    """Connect one more, with a client that takes little."""
    server = Server()
    with socket.socket() as listening, socket.socket() as client:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
        listening.bind(("127.0.0.1", 0))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        async with await asyncio.get_running_loop().create_server(lambda: server, sock=listening):
            await asyncio.get_running_loop().sock_connect(client, listening.getsockname())
            await server.made.wait()
            scene.connections.add(server)
            yield server, client
            scene.connections.discard(server)
            server.transport.abort()
            await server.lost.wait()


async def held_up(server: Server) -> None:
    """Send more than the client takes, and return once its window has held that up."""
    server.transport.write(MORE_THAN_FITS)
    with anyio.fail_after(10):
        while True:
            if int.from_bytes(options(server, socket.TCP_INFO, 184)[176:], sys.byteorder):
                return
            await anyio.sleep(0.01)


async def take(client: socket.socket, size: int) -> None:
    """Receive so many bytes."""
    while size > 0:
        size -= len(await asyncio.get_running_loop().sock_recv(client, size))


def options(server: Server, option: int, size: int) -> bytes:
    """Ask the kernel about a connection."""
    found: bytes = server.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, option, size)
    return found


async def test_a_client_that_takes_nothing_is_cut_after_its_time() -> None:
    """By a reset, so that the kernel holds nothing for it any more; not before."""
    scene = Scene()
    async with connected(scene) as (server, client):
        await held_up(server)
        scene.look(PATIENCE - 0.2)
        assert not server.transport.is_closing()
        scene.look(PATIENCE / 4)
        with anyio.fail_after(10):
            await server.lost.wait()
            with pytest.raises(ConnectionResetError):
                await take(client, len(MORE_THAN_FITS))


async def test_the_kernel_keeps_those_whose_window_was_never_closed() -> None:
    """It is right about them; one whose window was is taken from it."""
    scene = Scene()
    async with connected(scene) as (quick, client), connected(scene) as (slow, _):
        for server in (quick, slow):
            server.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
        quick.transport.write(b"x")
        assert await asyncio.get_running_loop().sock_recv(client, 10) == b"x"
        await held_up(slow)
        scene.look(PATIENCE / 2)
        left = [int.from_bytes(options(server, socket.TCP_USER_TIMEOUT, 4), sys.byteorder) for server in (quick, slow)]
        assert left == [60_000, 0]
        scene.look(3 * PATIENCE)
        assert not quick.transport.is_closing()
        assert slow.transport.is_closing()


async def test_whoever_takes_a_little_in_time_stays() -> None:
    """However long it takes over all of it; and once it has all, for ever."""
    scene = Scene()
    async with connected(scene) as (server, client):
        await held_up(server)
        with anyio.fail_after(20):
            for _ in range(0, len(MORE_THAN_FITS), 2**14):
                await take(client, 2**14)
                scene.look(PATIENCE / 3)
        scene.look(5 * PATIENCE)
        assert not server.transport.is_closing()


async def test_all_have_their_turn_a_few_times_in_the_time_of_one() -> None:
    """However many there are; those that have left are forgotten."""
    scene = Scene()
    async with connected(scene) as (first, _), connected(scene) as (second, _), connected(scene) as (third, _):
        scene.look(PATIENCE)
        for server in (first, second, third):
            await held_up(server)
        scene.look(PATIENCE / 4)
        scene.connections.discard(third)
        scene.look(PATIENCE * 2)
        assert [server.transport.is_closing() for server in (first, second, third)] == [True, True, False]


async def test_a_connection_that_is_closing_by_itself_is_no_error() -> None:
    """The kernel knows nothing of it any more, while its server still does."""
    scene = Scene()
    async with connected(scene) as (behind, _), connected(scene) as (idle, _):
        await held_up(behind)
        scene.look(PATIENCE / 4)
        for server in (behind, idle):
            server.transport.abort()
            await server.lost.wait()
        scene.look(PATIENCE * 2)
