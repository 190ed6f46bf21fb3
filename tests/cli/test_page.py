"""docs/command-line.md lists what there is, and its examples print what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from asgi_forum.cli.commands import asgi_forum
from tests.cli.command import DEADLINE, environment, serving
from tests.docs.curl import commands, pattern, plain
from tests.docs.pages import ROOT, blocks, section

PAGE = ROOT / "docs" / "command-line.md"


def rows(title: str) -> list[tuple[str, str]]:
    """Return option and default of each row of a section's table."""
    start, end = section(PAGE, title)
    cells = [line.strip("|").split("|") for line in PAGE.read_text().splitlines()[start : end - 1] if "| `--" in line]
    return [(row[0].strip(" `"), row[1].strip(" `")) for row in cells]


@pytest.mark.parametrize("name", list(asgi_forum.commands))
def test_every_option_is_there_with_its_default(name: str) -> None:
    """In the order of the command's help."""
    options = [each for each in asgi_forum.commands[name].params if isinstance(each, click.Option)]
    assert rows(name) == [
        (next(opt for opt in each.opts if opt.startswith("--")), str(each.default) if each.show_default else "")
        for each in options
    ]


def test_the_examples_print_what_they_say(tmp_path: Path) -> None:
    """One after the other, as a reader would run them, against one forum."""
    ours = f"{sys.executable} -m asgi_forum"
    with serving("--allow-publish") as forum:
        for command in (each for block in blocks(PAGE) if block.language == "console" for each in commands(block.text)):
            line = re.sub(r"\basgi-forum\b", ours, command.text.replace("http://127.0.0.1:8000/forum", forum.url))
            done = subprocess.run(
                ["sh", "-c", line],
                cwd=tmp_path,
                env={**environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=DEADLINE,
                check=False,
            )
            printed = plain(done.stdout.decode()).rstrip("\n") + "\n"
            assert pattern(command.expected).fullmatch(printed), f"{command.text}\n{printed}"
