"""The doors: what may be relied on is listed, exists, is documented, and stands in the reference."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

DOORS = ["asgi_forum", "asgi_forum.sources", "asgi_forum.client", "asgi_forum.metrics", "asgi_forum.testing"]
LAZY = {"asgi_forum.sources": {"RedisSource"}}
"""What a door imports when it is asked for only, because it needs an extra."""

REFERENCE = Path(__file__).parent.parent / "docs" / "reference.md"


def source_of(module: ModuleType) -> str:
    """A module's own text."""
    assert module.__file__ is not None
    return Path(module.__file__).read_text("utf-8")


def listed(door: str) -> list[str]:
    """The names of a door's `__all__`, as it is written in its source."""
    for node in ast.parse(source_of(import_module(door))).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Name) and each.id == "__all__" for each in node.targets
        ):
            names = ast.literal_eval(node.value)
            assert all(isinstance(name, str) for name in names)
            return list(names)
    raise AssertionError(f"{door} has no __all__")


def described(door: str) -> list[str]:
    """The names that the reference describes under a door's heading."""
    found: list[str] = []
    inside = False
    for line in REFERENCE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            inside = line.removeprefix("## ").strip().strip("`") == door
        elif inside and (heading := re.fullmatch(r"### `(\w+)`", line.rstrip())):
            found.append(heading[1])
    return found


@pytest.mark.parametrize("door", DOORS)
def test_a_door_lists_its_names(door: str) -> None:
    """`__all__` is a literal that tools can read: sorted, without repetition, and no more than what is there."""
    names = listed(door)
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name))
    assert names == import_module(door).__all__
    assert [name for name in names if not hasattr(import_module(door), name)] == []


@pytest.mark.parametrize("door", DOORS)
def test_a_door_has_no_other_names(door: str) -> None:
    """What it imports, it exports: no public name that is not listed, modules aside."""
    module = import_module(door)
    public = {
        name for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public - {"annotations"} == set(listed(door)) - LAZY.get(door, set())


def docstring_of(module: ModuleType, name: str) -> str:
    """A name's docstring; for an alias, the string that stands behind it where it is made."""
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__doc__ or ""
    for node in ast.walk(ast.parse(source_of(module))):
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return docstring_of(import_module(node.module), name)
    body = ast.parse(source_of(module)).body
    for node, after in pairwise(body):
        named = isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Name) and each.id == name for each in node.targets
        )
        if (
            named
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            return after.value.value
    return ""


NAMES = [(door, name) for door in DOORS for name in listed(door)]


@pytest.mark.parametrize(("door", "name"), NAMES)
def test_a_public_name_is_documented(door: str, name: str) -> None:
    """Public means documented: a docstring of its own."""
    assert docstring_of(import_module(door), name).strip()


@pytest.mark.parametrize(("door", "name"), NAMES)
def test_what_a_public_class_offers_is_documented(door: str, name: str) -> None:
    """Its public methods and properties too."""
    value = getattr(import_module(door), name)
    if not inspect.isclass(value):
        return
    offered = {name: member for name, member in vars(value).items() if not name.startswith("_")}
    asked = {
        name: member for name, member in offered.items() if inspect.isroutine(member) or isinstance(member, property)
    }
    assert [
        name
        for name in asked
        if not (getattr(value, name).__doc__ if not isinstance(asked[name], property) else asked[name].__doc__)
    ] == []


@pytest.mark.parametrize("door", DOORS)
def test_the_reference_describes_just_the_public_names(door: str) -> None:
    """`__all__` and docs/reference.md list the same names, each once."""
    assert sorted(described(door)) == sorted(listed(door))
