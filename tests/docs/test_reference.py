"""The reference lists the public names, no more and no fewer, each with the signature that it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module

import pytest

from asgi_forum.errors import ForumError
from tests.docs.pages import ROOT, blocks, rows, section
from tests.docs.stubs import differences

PAGE = ROOT / "docs" / "reference.md"
DOORS = ["asgi_forum", "asgi_forum.sources", "asgi_forum.client", "asgi_forum.metrics", "asgi_forum.testing"]
NAMES = [(door, name) for door in DOORS for name in import_module(door).__all__]


def documented_names(door: str) -> list[str]:
    """Return the names that stand below a door's heading."""
    start, end = section(PAGE, door)
    lines = PAGE.read_text().splitlines()[start : end - 1]
    return [match[1] for line in lines if (match := re.fullmatch(r"### `(.+)`", line))]


def test_the_doors_are_the_chapters() -> None:
    """Each door is a chapter, and there is no other."""
    assert re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE) == DOORS


@pytest.mark.parametrize("door", DOORS)
def test_every_public_name_is_in_the_reference(door: str) -> None:
    """`__all__` and the headings below the door's are the same names, each once."""
    assert sorted(documented_names(door)) == sorted(import_module(door).__all__)


@pytest.mark.parametrize(("door", "name"), NAMES, ids=[".".join(each) for each in NAMES])
def test_a_name_has_the_signature_that_is_shown(door: str, name: str) -> None:
    """The stub below a heading has the parameters, members, fields, defaults and types of the thing itself."""
    start, end = section(PAGE, door, f"`{name}`")
    stubs = [block.text for block in blocks(PAGE) if start < block.line < end and block.language == "python"]
    assert stubs, f"{name} has no stub"
    assert differences(name, stubs[0], import_module(door)) == []


def test_every_error_is_in_the_table() -> None:
    """The table of errors has every class with a code of its own, its status and its close code."""
    table = [[cell.strip("`") for cell in row] for row in rows(PAGE, "asgi_forum", "`ForumError`")]
    shown = {name: (code, status, close_code) for name, code, status, close_code, *_ in table}
    kinds = _with_children(ForumError)
    assert shown == {kind.__name__: (kind.code, str(kind.status), str(kind.close_code)) for kind in kinds}


def _with_children(kind: type[ForumError]) -> Iterator[type[ForumError]]:
    """Yield an error and all below it, those of other doors left out."""
    if kind.__module__.startswith("asgi_forum.errors"):
        yield kind
    for each in kind.__subclasses__():
        yield from _with_children(each)
