"""The page of settings lists what there is, with the defaults that hold."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields

from asgi_forum import Forum, Limits
from asgi_forum.settings import ForumSettings
from tests.docs.pages import ROOT, rows

PAGE = ROOT / "docs" / "settings.md"


def settings(title: str) -> list[list[str]]:
    """Return a table's rows, the marks of code left out."""
    return [[cell.strip("`") for cell in row] for row in rows(PAGE, title)]


def value(text: str) -> object:
    """Return the value of a default: a literal, or a product of powers."""
    return eval(compile(ast.parse(text, mode="eval"), "default", "eval"), {"__builtins__": {}})


def test_every_argument_of_a_forum_is_there_with_its_default() -> None:
    """The first table lists the arguments of `Forum`, in their order."""
    parameters = inspect.signature(Forum).parameters
    assert [(row[0], value(row[1])) for row in settings("Arguments of `Forum`")] == [
        (name, parameter.default) for name, parameter in parameters.items()
    ]


def test_every_limit_is_there_with_its_default() -> None:
    """The second table lists the fields of `Limits`, in their order."""
    assert [(row[0], value(row[1])) for row in settings("Limits")] == [
        (each.name, each.default) for each in fields(Limits)
    ]


def test_every_variable_is_there() -> None:
    """The third table lists the variables that `Forum.from_env` reads, each with the argument it stands for."""
    assert [(row[0], row[1]) for row in settings("The environment")] == [
        (f"ASGI_FORUM_{name.upper()}", name) for name in ForumSettings.model_fields
    ]
