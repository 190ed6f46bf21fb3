"""Processes below another one, and a log in Redis of a name of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from tests.cli.command import DEADLINE
from tests.redis.servers import wait_until


def workers(parent: int) -> list[int]:
    """Return the ids of the worker processes of a `serve`."""
    found: list[int] = []
    for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        try:
            line = Path(f"/proc/{each}/cmdline").read_bytes()
        except OSError:
            continue
        if b"multiprocessing.spawn" in line:
            found.append(int(each))
    return found


def runs(process: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition: Callable[[], bool]) -> None:
    """Look until something holds that nothing tells of."""
    wait_until(condition, DEADLINE)


def fresh_name() -> str:
    """Return the name of a forum that nobody has used."""
    return f"t{uuid4().hex}"
