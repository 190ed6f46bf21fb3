"""The load generator, built from `load.c` when it is first needed, and what drives it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Load", "build"]

_SOURCE = Path(__file__).with_name("load.c")
_BUILT = Path(__file__).parent.parent / ".build" / "load"


def build() -> Path:
    """Compile the generator where the source is newer than what is there; return the program. Raises RuntimeError without a compiler."""
    if _BUILT.exists() and _BUILT.stat().st_mtime >= _SOURCE.stat().st_mtime:
        return _BUILT
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("the load generator is written in C: no compiler (cc, gcc, clang or $CC) was found")
    _BUILT.parent.mkdir(exist_ok=True)
    fresh = _BUILT.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, "-O2", "-o", fresh, _SOURCE], check=True)
    fresh.replace(_BUILT)
    return _BUILT


class Load:
    """
    A running generator, for one server; `core` is the processor that it is bound to. `with Load(port) as load: load("open a 10 sse /x")`.

    A call sends one command (they stand in `load.c`) and returns its answer; a command that is off raises ValueError.
    """

    def __init__(self, port: int, *, core: int | None = None) -> None:
        self._program = subprocess.Popen(
            [build(), "127.0.0.1", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self._program.pid, {core})

    def __call__(self, command: str) -> dict[str, Any]:
        """Send a command, and wait for its answer."""
        self.send(command)
        return self.answer()

    def send(self, command: str) -> None:
        """Send a command whose answer is waited for later."""
        assert self._program.stdin
        self._program.stdin.write(command + "\n")
        self._program.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to the last command."""
        assert self._program.stdout
        line = self._program.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator ended with status {self._program.wait()}")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise ValueError(found["error"])
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._program.kill()
        self._program.wait()
        for pipe in (self._program.stdin, self._program.stdout):
            if pipe:
                pipe.close()
