"""The kit passes what is right, and sees what is wrong: each broken source is caught by the tests that are there for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.testing.broken import BROKEN
from tests.testing.sound import SoundSuite
from tests.testing.wrong_pages import Broken

FOLDER = Path(__file__).parent


def outcomes(report: Path, nodes: Sequence[str]) -> dict[tuple[str, str], str]:
    """Run tests of the broken sources in a process of their own; what became of each, by its class and its name."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *nodes]
    done = subprocess.run(command, cwd=FOLDER.parent.parent, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[tuple[str, str], str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        (kind,) = [each.tag for each in case if each.tag in ("failure", "error", "skipped")] or ["passed"]
        found[case.attrib["classname"].rpartition(".")[2], case.attrib["name"]] = kind
    return found


@pytest.fixture(scope="module")
def caught(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """What became of the tests that are to catch a broken source, all in one run."""
    nodes = [
        f"{FOLDER / 'broken.py'}::{suite}::{test}" for suite, source in BROKEN.items() for test in source.caught_by
    ]
    return outcomes(tmp_path_factory.mktemp("kit") / "report.xml", nodes)


@pytest.mark.parametrize(("suite", "source"), BROKEN.items(), ids=BROKEN)
def test_a_broken_source_is_caught(suite: str, source: type[Broken], caught: dict[tuple[str, str], str]) -> None:
    """By every test that is there for its fault."""
    assert {test: caught[suite, test] for test in source.caught_by} == dict.fromkeys(source.caught_by, "failure")


class TestSound(SoundSuite):
    """The source that the broken ones are made of passes all there is."""
