"""The command line as users run it: processes of its own, real pipes, real sockets."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import IO

DEADLINE = 30.0
"""Seconds that a test may wait for anything."""

COMMAND = (sys.executable, "-m", "asgi_forum")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without settings of a forum, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASGI_FORUM_")}
    return {**kept, "PYTHONUNBUFFERED": "", "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **(extra or {})}


def run(
    *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], input=stdin, env=environment(env), capture_output=True, timeout=DEADLINE, check=False
    )


def one_line(stderr: bytes) -> str:
    """Return what was said on stderr, which must be one line, and no traceback."""
    text = stderr.decode()
    assert text.count("\n") == 1, text
    assert text.endswith("\n"), text
    return text.rstrip("\n")


class Process:
    """A command that is running, and what it writes, line by line."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None, *, group: bool = False) -> None:
        self.popen = subprocess.Popen(
            command,
            env=environment(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=group,
        )
        assert self.popen.stdout is not None
        assert self.popen.stderr is not None
        self.stdout = _Lines(self.popen.stdout)
        self.stderr = _Lines(self.popen.stderr)

    def write(self, data: bytes) -> None:
        """Write to its stdin."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def end_input(self) -> None:
        """Close its stdin."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        self.popen.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end, and return the exit status."""
        return self.popen.wait(DEADLINE)


class _Lines:
    """The lines of a pipe, read by a thread so that waiting for one can end."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue()
        self.pipe = pipe
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.pipe:
            self._queue.put(line)
        self._queue.put(None)

    def next(self) -> str:
        """Return the next line, without its end."""
        line = self._queue.get(timeout=DEADLINE)
        assert line is not None, "the process has closed this pipe"
        return line.decode().rstrip("\n")

    def take(self, count: int) -> list[str]:
        """Return the next lines."""
        return [self.next() for _ in range(count)]

    def rest(self) -> list[str]:
        """Return all lines that are left, up to the end."""
        lines: list[str] = []
        while (line := self._queue.get(timeout=DEADLINE)) is not None:
            lines.append(line.decode().rstrip("\n"))
        return lines

    def close(self) -> None:
        """Stop reading, at the end."""
        self._thread.join(DEADLINE)
        self.pipe.close()


def started(
    *arguments: str, env: Mapping[str, str] | None = None, group: bool = False
) -> AbstractContextManager[Process]:
    """Start a command of ours; `group`: as the first of a group of processes, as a shell does."""
    return spawned([*COMMAND, *arguments], env=env, group=group)


@contextmanager
def spawned(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, group: bool = False
) -> Generator[Process, None, None]:
    """Start any command; it is killed at the end if it is still running."""
    process = Process(command, env, group=group)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.wait(DEADLINE)
        process.stdout.close()
        process.stderr.close()
        assert process.popen.stdin is not None
        with suppress(BrokenPipeError):
            process.popen.stdin.close()


@contextmanager
def serving(*arguments: str, port: int = 0, env: Mapping[str, str] | None = None) -> Generator[Forum, None, None]:
    """Run `serve`, and wait until it listens."""
    with started("serve", "--port", str(port), *arguments, env=env) as process:
        said = process.stdout.next()
        assert said.startswith("asgi-forum: listening on http://"), said
        yield Forum(process, said.removeprefix("asgi-forum: listening on "))


class Forum:
    """A forum that `serve` serves."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.rpartition(":")[2].partition("/")[0])
