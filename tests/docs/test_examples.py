"""Every example of the README and of `docs/` does what it says, as pasted."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.curl import Command, commands, pattern, plain, printed
from tests.docs.pages import PAGES, Block, blocks
from tests.docs.projects import DEADLINE, Session, environment, files_before, served, sessions, write_files

ALL = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in ALL if block.language == "python"]
JSON = [block for block in ALL if block.language == "json"]


SESSIONS = sessions(ALL)
SERVED = [session.program for session in SESSIONS]
"""The programs that have a transcript: they are run there."""
PROGRAMS = [block for block in PYTHON if block.runs and block not in SERVED]


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.place)
def test_python_compiles(block: Block) -> None:
    """Every example in Python is Python, the fragments of an asynchronous function too."""
    compile(block.text, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


@pytest.mark.parametrize("block", JSON, ids=lambda block: block.place)
def test_json_is_json(block: Block) -> None:
    """Every example in JSON can be read: one document, or one a line."""
    try:
        json.loads(block.text)
    except ValueError:
        for line in block.text.splitlines():
            json.loads(line)


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.place)
def test_a_program_runs(block: Block, tmp_path: Path) -> None:
    """Every whole program can be imported, run, or passes its tests, and has nothing to complain of."""
    write_files(files_before(block, included=True), tmp_path)
    name = block.title or ""
    if name.startswith("test_"):
        command = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:valkey", name]
    elif block.attributes.get("run") == "script":
        command = [name]
    else:
        command = ["-c", f"import {name.removesuffix('.py')}"]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.transcripts[0].place)
def test_a_transcript_is_what_the_program_answers(session: Session, tmp_path: Path) -> None:
    """What stands below each command is what the program that was named says, in the same order."""
    write_files(files_before(session.transcripts[0]), tmp_path)
    with served((session.program.title or "").removesuffix(".py"), tmp_path) as base:
        for block in session.transcripts:
            found = commands(block.text)
            assert found, f"{block.place} has no command"
            for command in found:
                _carry_out(command, base)


def _carry_out(command: Command, base: str) -> None:
    """Send a command, and read until its answer is the expected one; a stream is left then."""
    wanted = pattern(command.expected)
    text = ""
    with command.sent(base) as answer:
        for piece in printed(answer, head=command.shows_head):
            text += piece
            if wanted.fullmatch(plain(text).rstrip("\n") + "\n"):
                return
    assert plain(text).rstrip("\n") == plain(command.expected), command.text
