"""The package's order, proven from its source: every import points up the page, and libraries stay where they belong."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import asgi_forum

ROOT = Path(asgi_forum.__file__).parent

VALUES = ("errors", "logs", "stamps", "cursor", "models", "entries", "filters", "frames", "settings")
"""The modules that the rest is built of; they know nothing of it."""

TABLE: dict[str, tuple[str, ...]] = {
    "errors": ("errors",),
    "logs": (),
    "stamps": (),
    "cursor": ("errors",),
    "models": ("errors", "stamps"),
    "entries": ("errors", "stamps", "cursor", "models"),
    "filters": ("errors", "models"),
    "frames": ("errors", "stamps", "entries", "cursor"),
    "settings": ("errors",),
    "sources": (*VALUES, "sources"),
    "hub": (*VALUES, "sources.base", "hub"),
    "auth": ("errors", "logs", "models", "filters"),
    "streams": (*VALUES, "hub", "auth", "streams"),
    "endpoints": (*VALUES, "auth", "streams"),
    "lifespan": ("logs", "hub"),
    "publishing": ("errors", "logs", "models", "entries", "sources.base", "hub"),
    "app": (
        *VALUES,
        "sources.base",
        "sources.registry",
        "hub",
        "auth",
        "streams",
        "endpoints",
        "lifespan",
        "publishing",
    ),
    "middleware": ("errors", "logs", "app"),
    "": (*VALUES, "auth", "streams", "app", "middleware"),
    "client": ("", *VALUES, "client"),
    "metrics": ("errors", "hub", "app", "metrics"),
    "testing": (*VALUES, "sources.base", "sources.registry", "testing"),
    "cli": ("", *VALUES, "sources.base", "sources.registry", "sources.upkeep", "app", "middleware", "client", "cli"),
    "__main__": ("cli",),
}
"""Part of the package, in the order of the page, and all of ours that it may import: a part stands for what is below it."""

WITHIN: dict[str, tuple[str, ...]] = {
    "sources.base": (),
    "sources.registry": ("sources.base",),
    "sources.remembered": (),
    "sources.memory": ("sources.base", "sources.registry", "sources.remembered"),
    "sources.upkeep": ("sources.base",),
    "sources.redis": ("sources.base", "sources.registry", "sources.upkeep", "sources.redis"),
    "sources": ("sources.base", "sources.registry", "sources.memory", "sources.redis"),
    "hub.tail": (),
    "hub.channels": (),
    "hub.reads": (),
    "hub.streams": (),
    "hub.transfers": (),
    "hub.watchdog": (),
    "hub.fanout": (),
    "hub.beginning": (),
    "hub.history": (),
    "hub.hub": ("hub.tail", "hub.channels", "hub.history", "hub.reads"),
    "hub.reader": ("hub.beginning", "hub.history", "hub.hub", "hub.channels", "hub.reads"),
    "hub.pump": ("hub.beginning", "hub.hub"),
    "hub.observers": ("hub.hub", "hub.reader"),
    "hub.signals": ("hub.streams",),
    "hub.lifecycle": (
        "hub.beginning",
        "hub.fanout",
        "hub.hub",
        "hub.pump",
        "hub.observers",
        "hub.signals",
        "hub.streams",
        "hub.transfers",
        "hub.watchdog",
    ),
    "streams.request": (),
    "streams.refusals": (),
    "streams.pacing": (),
    "streams.sender": (),
    "streams.bodies": ("streams.refusals", "streams.sender"),
    "streams.feed": ("streams.pacing", "streams.sender"),
    "streams.opening": ("streams.feed", "streams.pacing", "streams.request"),
    "streams.line": ("streams.feed", "streams.sender"),
    "streams.sse": (
        "streams.feed",
        "streams.line",
        "streams.opening",
        "streams.refusals",
        "streams.request",
        "streams.sender",
    ),
    "streams.websocket": (
        "streams.feed",
        "streams.line",
        "streams.opening",
        "streams.refusals",
        "streams.request",
        "streams.sender",
    ),
    "streams.socket": (
        "streams.feed",
        "streams.opening",
        "streams.pacing",
        "streams.refusals",
        "streams.request",
        "streams.sender",
        "streams.websocket",
    ),
    "streams.page": ("streams.bodies", "streams.opening", "streams.refusals", "streams.request"),
    "streams.subscription": ("streams.feed", "streams.request"),
    "streams.response": ("streams.feed", "streams.opening", "streams.refusals", "streams.request", "streams.sse"),
}
"""The same within the three parts that the server is made of: siblings that a module may import."""

LIBRARIES: dict[str, tuple[str, ...]] = {
    "redis": ("sources.redis",),
    "hiredis": ("sources.redis",),
    "prometheus_client": ("metrics",),
    "starlette": ("auth", "streams", "endpoints", "lifespan", "app", "middleware", "cli"),
    "sse_starlette": ("streams.response",),
    "pydantic": ("models", "settings", "sources.redis"),
    "pydantic_settings": ("settings",),
    "httpx": ("client",),
    "httpx2": ("client", "cli"),
    "websockets": ("client",),
    "click": ("cli",),
    "uvicorn": ("cli",),
    "pytest": ("testing",),
}
"""Where else's modules may be imported, and nowhere else."""

EVERYWHERE = ("anyio", "pydantic_core")
"""What every part may use beside the standard library."""


def name_of(path: Path) -> str:
    """A module's name below the package; that of the package itself is empty."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it: lazily, or for type checkers only, too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            for alias in node.names:
                submodule = f"{module}.{alias.name}"
                yield submodule if submodule.removeprefix("asgi_forum.") in MODULES else module


def ours(module: str) -> set[str]:
    """The modules of this package that one of them imports."""
    found = {
        name.removeprefix("asgi_forum").removeprefix(".")
        for name in imports(MODULES[module])
        if name.split(".")[0] == "asgi_forum"
    }
    return found - {module}


def theirs(module: str) -> set[str]:
    """The packages of others that a module imports."""
    return {name.split(".")[0] for name in imports(MODULES[module])} - {"asgi_forum"}


def inside(module: str, part: str) -> bool:
    """Whether a module is a part, or lies below it."""
    return module == part or (part != "" and module.startswith(part + "."))


def part_of(module: str) -> str:
    """The row of the table that a module belongs to."""
    return module.split(".")[0]


def row_of(module: str) -> str | None:
    """The row of its siblings' table that a module belongs to: its own, or that of a package within the part."""
    rows = [row for row in WITHIN if module == row or ("." in row and inside(module, row))]
    return max(rows, key=len, default=None)


def test_there_is_something_to_prove() -> None:
    """The modules are found, and so are their imports."""
    assert {"", "errors", "hub.reader", "streams.sse", "client"} <= MODULES.keys()
    assert ours("hub.pump") == {"errors", "logs", "hub.beginning", "hub.hub", "sources.base"}
    assert {"random", "anyio"} <= theirs("hub.pump")
    assert "streams.response" in ours("app")


def test_every_module_has_its_row() -> None:
    """A new one is given its place in the order first; a row without a module is a mistake."""
    assert {part_of(module) for module in MODULES} == TABLE.keys()
    parts = {part_of(row) for row in WITHIN}
    assert [module for module in MODULES if part_of(module) in parts and "." in module and row_of(module) is None] == []


@pytest.mark.parametrize("module", MODULES)
def test_an_import_is_one_that_the_table_allows(module: str) -> None:
    """Values know nothing of the hub, the hub nothing of transports, the client nothing of the server."""
    allowed = TABLE[part_of(module)]
    wrong = [name for name in sorted(ours(module)) if not any(inside(name, part) for part in allowed)]
    assert wrong == []


@pytest.mark.parametrize("module", [module for module in MODULES if row_of(module) is not None])
def test_siblings_are_in_order_too(module: str) -> None:
    """Within the sources, the hub and the streams."""
    row = row_of(module)
    assert row is not None
    siblings = [name for name in sorted(ours(module)) if inside(name, part_of(module))]
    assert [name for name in siblings if not any(inside(name, allowed) for allowed in WITHIN[row])] == []


@pytest.mark.parametrize("table", [TABLE, WITHIN], ids=["parts", "siblings"])
def test_every_arrow_points_up(table: dict[str, tuple[str, ...]]) -> None:
    """What a row may import stands above it on the page, or is the row's own package."""
    rows = list(table)
    for number, (row, allowed) in enumerate(table.items()):
        above = rows[: number + 1]
        assert [part for part in allowed if part not in above and part_of(part) not in above] == [], row


def test_there_are_no_cycles() -> None:
    """Between modules, lazy imports included; what is only said for type checkers counts as well."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in sorted(ours(module) & MODULES.keys()):
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_a_library_stays_where_it_belongs(module: str) -> None:
    """Redis in one place, Starlette from `auth` down, HTTP clients in the client."""
    wrong = [
        name
        for name in sorted(theirs(module) & LIBRARIES.keys())
        if not any(inside(module, part) for part in LIBRARIES[name])
    ]
    assert wrong == []


def test_every_library_is_known() -> None:
    """A new dependency is given its place first."""
    standard = sys.stdlib_module_names
    used = {name for module in MODULES for name in theirs(module)}
    assert used - standard - LIBRARIES.keys() - set(EVERYWHERE) == set()


def test_the_table_is_not_wider_than_the_package() -> None:
    """A row that allows what nobody imports any more has become a lie; the command line, the outermost, may use all it lists."""
    for table, of in ((TABLE, part_of), (WITHIN, row_of)):
        for row, allowed in table.items():
            members = [module for module in MODULES if of(module) == row]
            if not members or row == "cli":
                continue
            used = set[str]().union(*map(ours, members))
            unused = [part for part in allowed if part not in VALUES and not any(inside(name, part) for name in used)]
            assert unused == [], row
