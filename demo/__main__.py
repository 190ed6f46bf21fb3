"""`python -m demo`: the server, and with it the agents."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import click
import uvicorn

from demo import agents
from demo.app import create_app
from demo.journal import Journal, JournalError


def listen(host: str, port: int) -> socket.socket:
    """Bind before anything else starts. Raises a ClickException that says what is in the way."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family)
        if os.name == "posix":  # elsewhere it would let two programs listen on one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        return sock
    except OSError as error:
        other = " Another program listens there: try --port 0 for a free one." if "in use" in str(error) else ""
        raise click.ClickException(f"can't listen on {host}:{port}: {error.strerror or error}.{other}") from None


class Server(uvicorn.Server):
    """uvicorn, with a word to say once it answers."""

    started_at: str = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell the address."""
        await super().startup(sockets)
        if self.started:
            click.echo(f"The forum is open: {self.started_at}  (Ctrl-C ends it)")


async def serve(
    sock: socket.socket, url: str, key: str, *, with_agents: bool, journal: Journal | None, seed: int | None
) -> None:
    """Serve until a signal ends it."""
    app = create_app(agent_key=key, journal=journal)
    server = Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=3, ws_per_message_deflate=False))
    server.started_at = url
    async with AsyncExitStack() as stack:
        if with_agents:
            await stack.enter_async_context(agents.run(f"{url}/forum", key, seed=seed))
        await server.serve(sockets=[sock])
    if not server.started:
        raise click.ClickException("the server could not start; the log says why")


@click.command(context_settings={"show_default": True})
@click.option(
    "--host", default="127.0.0.1", help="The address to listen on; 0.0.0.0 for every network this machine is in."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="The port; 0 picks a free one.")
@click.option("--agents/--no-agents", "with_agents", default=True, help="Let agents ask, answer and work along.")
@click.option("--seed", type=int, help="Repeats the agents' choices.")
@click.option(
    "--agent-key", envvar="DEMO_AGENT_KEY", help="Lets agents of your own publish; by default nobody else may."
)
@click.option(
    "--journal", type=click.Path(dir_okay=False, path_type=Path), help="A file that keeps the discussion over restarts."
)
def main(
    host: str, port: int, with_agents: bool, seed: int | None, agent_key: str | None, journal: Path | None
) -> None:
    """A small live forum where people and agents answer each other."""
    logging.getLogger("asgi_forum.client").setLevel(logging.ERROR)
    try:
        kept = Journal(journal) if journal else None
    except JournalError as error:
        raise click.ClickException(str(error)) from None
    sock = listen(host, port)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{sock.getsockname()[1]}"
    key = agent_key or secrets.token_urlsafe()
    try:
        anyio.run(lambda: serve(sock, url, key, with_agents=with_agents, journal=kept, seed=seed))
    except KeyboardInterrupt:
        click.echo("The forum is closed.")


if __name__ == "__main__":
    main()
