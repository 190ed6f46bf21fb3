"""The files of a page, as somebody who follows it has them; and the server that runs one of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from tests.docs.pages import ROOT, Block, blocks

__all__ = ["DEADLINE", "Session", "environment", "files_before", "served", "sessions", "write_files"]

DEADLINE = 60.0
"""Seconds that a program of the documentation may take, its imports included."""

_SERVE = """
import contextlib, importlib, socket, sys, uvicorn
app = importlib.import_module(sys.argv[1]).app
server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
with contextlib.suppress(KeyboardInterrupt):  # uvicorn, once it has stopped, raises the signal again
    server.run(sockets=[socket.socket(fileno=int(sys.argv[2]))])
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A program, and the transcripts that one run of it answers."""

    program: Block
    transcripts: list[Block]


def sessions(found: Iterable[Block]) -> list[Session]:
    """Return the sessions of some pages' blocks: one run of a program lasts until a file of its page changes."""
    runs: list[Session] = []
    files: dict[tuple[Path, str], Block] = {}
    running: Block | None = None
    for block in found:
        if block.title is not None:
            files[block.page, block.title] = block
            running = None
        elif block.language == "console" and "app" in block.attributes:
            program = files[block.page, block.attributes["app"]]
            if program is running:
                runs[-1].transcripts.append(block)
            else:
                runs.append(Session(program, [block]))
                running = program
    return runs


def files_before(block: Block, *, included: bool = False) -> dict[str, str]:
    """Return the files that a page has named up to a block, and its own where it is `included`."""
    files: dict[str, str] = {}
    for each in blocks(block.page):
        if each.line > block.line or (each.line == block.line and not included):
            break
        if each.title is not None:
            files[each.title] = each.text
    return files


def write_files(files: dict[str, str], folder: Path) -> None:
    """Write files into a folder."""
    for name, text in files.items():
        (folder / name).write_text(text)


def environment() -> dict[str, str]:
    """Return the environment of a program: this one, with the package of this checkout."""
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *([inherited] if inherited else [])])}


@contextmanager
def served(module: str, folder: Path, port: int = 0) -> Generator[str]:
    """
    Serve a module's `app` in a process of its own; yields the server's address.

    In the end it gets a Ctrl-C, and must stop by itself, without a word on stderr.
    """
    with socket.socket() as listener, TemporaryFile("w+") as log:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-c", _SERVE, module, str(listener.fileno())]
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), pass_fds=[listener.fileno()], stderr=log, text=True
        )
        # The process holds it too: from here on a connection waits for its server, and fails if that has died.
        listener.close()
        try:
            yield address
            process.send_signal(signal.SIGINT)
            process.wait(DEADLINE)
        except Exception as error:
            log.seek(0)
            error.add_note(log.read())
            raise
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        complaints = log.read()
        assert not complaints, complaints
