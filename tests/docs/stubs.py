"""The stubs of `docs/reference.md`, held against what they describe."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from pydantic import BaseModel

__all__ = ["differences"]

ANY = "..."
"""How a stub writes a default that is made anew each time."""


def differences(name: str, stub: str, door: ModuleType) -> list[str]:
    """Return in what the stub of a public name differs from the thing itself."""
    there = getattr(door, name)
    body = ast.parse(stub).body
    if len(body) != 1:
        return [f"{name}: expected one statement"]
    match body[0]:
        case ast.ClassDef(name=stated) as found if inspect.isclass(there) and stated == name:
            return list(_class_differences(found, there))
        case ast.FunctionDef(name=stated) | ast.AsyncFunctionDef(name=stated) as found if stated == name:
            return list(_function_differences(name, found, there))
        case ast.Assign(targets=[ast.Name(id=stated)], value=value) if stated == name:
            names = {**vars(typing), "Callable": Callable, **vars(door)}
            same = eval(compile(ast.Expression(value), "stub", "eval"), names) == there
            return [] if same else [f"{name}: is {there}"]
        case _:
            return [f"{name}: the stub does not describe it"]


def _class_differences(stub: ast.ClassDef, there: type[Any]) -> Iterator[str]:
    stated = {each.name: each for each in stub.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    own = {name for name in vars(there) if not name.startswith("_")} - {
        name for base in there.__mro__[1:] for name in vars(base)
    }
    members = {name for name in own if _is_member(inspect.getattr_static(there, name))}
    yield from (f"{there.__name__}.{name}: is not in the stub" for name in sorted(members - stated.keys()))
    for name, function in stated.items():
        if not hasattr(there, name):
            yield f"{there.__name__}.{name}: does not exist"
            continue
        member = inspect.getattr_static(there, name)
        yield from _function_differences(f"{there.__name__}.{name}", function, _plain(member))
    yield from _field_differences(stub, there)
    bases = [each.__name__ for each in there.__bases__ if not each.__name__.startswith("_") and each is not object]
    if (shown := [ast.unparse(base) for base in stub.bases]) != bases:
        yield f"{there.__name__}: bases are {bases}, not {shown}"


def _is_member(member: object) -> bool:
    return isinstance(member, property | classmethod | staticmethod) or inspect.isfunction(member)


def _plain(member: Any) -> Callable[..., Any]:
    """Return the function behind a property, a class method, a cached property."""
    for attribute in ("fget", "__func__", "func"):
        member = getattr(member, attribute, member)
    function: Callable[..., Any] = member
    return function


def _field_differences(stub: ast.ClassDef, there: type[Any]) -> Iterator[str]:
    """Compare fields, in their order, and constants; what a stub says of instances' other attributes is not looked at."""
    stated = {ast.unparse(each.target): each for each in stub.body if isinstance(each, ast.AnnAssign)}
    fields = dict(_fields(there))
    if fields and list(stated) != list(fields):
        yield f"{there.__name__}: fields are {list(fields)}, not {list(stated)}"
    for name in fields.keys() & stated.keys():
        annotation, default = fields[name]
        if annotation is not None and ast.unparse(stated[name].annotation) != _written(annotation):
            yield f"{there.__name__}.{name}: is {annotation}"
        if (shown := _shown(stated[name].value)) != default:
            yield f"{there.__name__}.{name}: the default is {default}, not {shown}"
    for each in stub.body:
        if isinstance(each, ast.Assign):
            constant = ast.unparse(each.targets[0])
            if getattr(there, constant) != ast.literal_eval(each.value):
                yield f"{there.__name__}.{constant}: is {getattr(there, constant)!r}"


def _fields(there: type[Any]) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
    """Yield the public fields of a data class or a model: annotation, if it is worth comparing, and default."""
    if issubclass(there, BaseModel):
        for name, field in there.model_fields.items():
            yield name, (None, None if field.is_required() else repr(field.default))
    elif dataclasses.is_dataclass(there):
        for each in dataclasses.fields(there):
            if not each.name.startswith("_"):
                plain = None if each.default is dataclasses.MISSING else _value(each.default)
                made = ANY if each.default_factory is not dataclasses.MISSING else plain
                yield each.name, (str(each.type), made)


def _function_differences(
    name: str, stub: ast.FunctionDef | ast.AsyncFunctionDef, there: Callable[..., Any]
) -> Iterator[str]:
    asynchronous = inspect.iscoroutinefunction(there)
    # An asynchronous generator is called without `await`; behind a decorator it may be written as what it is.
    if asynchronous != isinstance(stub, ast.AsyncFunctionDef) and not inspect.isasyncgenfunction(inspect.unwrap(there)):
        yield f"{name}: the stub and the function are not both asynchronous"
    signature = inspect.signature(there)
    shown = list(_parameters(stub.args))
    actual = [
        (parameter.kind, each, _written(parameter.annotation), _default(parameter))
        for each, parameter in signature.parameters.items()
    ]
    yield from (f"{name}: got {got}, expected {real}" for got, real in zip(shown, actual, strict=False) if got != real)
    if len(shown) != len(actual):
        yield f"{name}: got {len(shown)} parameters, expected {[each[1] for each in actual]}"
    returned = None if stub.returns is None else ast.unparse(stub.returns)
    if returned != _written(signature.return_annotation):
        yield f"{name}: returns {signature.return_annotation}"


def _parameters(stub: ast.arguments) -> Iterator[tuple[object, str, str | None, str | None]]:
    kinds = inspect.Parameter
    plain = [*stub.posonlyargs, *stub.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(stub.defaults)), *stub.defaults]
    for each, default in zip(plain, defaults, strict=True):
        kind = kinds.POSITIONAL_ONLY if each in stub.posonlyargs else kinds.POSITIONAL_OR_KEYWORD
        yield kind, each.arg, _annotated(each), _shown(default)
    if stub.vararg is not None:
        yield kinds.VAR_POSITIONAL, stub.vararg.arg, _annotated(stub.vararg), None
    for each, default in zip(stub.kwonlyargs, stub.kw_defaults, strict=True):
        yield kinds.KEYWORD_ONLY, each.arg, _annotated(each), _shown(default)
    if stub.kwarg is not None:
        yield kinds.VAR_KEYWORD, stub.kwarg.arg, _annotated(stub.kwarg), None


def _annotated(argument: ast.arg) -> str | None:
    return None if argument.annotation is None else ast.unparse(argument.annotation)


def _written(annotation: object) -> str | None:
    """Return an annotation as a stub would write it."""
    if annotation is inspect.Parameter.empty:
        return None
    return ast.unparse(ast.parse(annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)))


def _default(parameter: inspect.Parameter) -> str | None:
    return None if parameter.default is inspect.Parameter.empty else _value(parameter.default)


def _value(default: object) -> str:
    """Return a default as a stub would show it: a literal, or `...` for what has no literal."""
    return repr(default) if default is None or default == () or isinstance(default, str | int | float) else ANY


def _shown(default: ast.expr | None) -> str | None:
    if default is None:
        return None
    if isinstance(default, ast.Constant) and default.value is ...:
        return ANY
    return repr(eval(compile(ast.Expression(default), "stub", "eval"), {"__builtins__": {}}))
