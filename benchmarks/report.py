"""The figures of all runs, and the table and the list of failures that are made of them."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.contestants import COLUMNS, App
from benchmarks.measures import Figures
from benchmarks.scenarios import Row, Scenario

__all__ = ["Cell", "Results", "table"]

_PACKAGES = ("uvicorn", "uvloop", "httptools", "websockets", "starlette", "pydantic", "granian", "hypercorn")


@dataclass(slots=True)
class Cell:
    """What one application did in one row: medians of its runs."""

    figure: float
    ratio: float | None


@dataclass(slots=True)
class Results:
    """
    What has been measured: for each scenario one dict for each repeat, by column.

    Ratios are taken within a repeat, whose runs follow each other, and then their median: what the machine does meanwhile is noise
    to both.
    """

    columns: Sequence[str]
    figures: dict[str, list[dict[str, Figures]]] = field(default_factory=dict[str, list[dict[str, Figures]]])
    failures: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])

    def add(self, scenario: str, repeat: int, column: str, figures: Figures) -> None:
        """Take the figures of one run."""
        repeats = self.figures.setdefault(scenario, [])
        while len(repeats) <= repeat:
            repeats.append({})
        repeats[repeat][column] = figures

    def fail(self, scenario: str, column: str, why: str) -> None:
        """Note a run that did not do what is measured: its application gets no figure there."""
        self.failures.setdefault((scenario, column), []).append(why)

    def cell(self, scenario: str, column: str, key: str) -> Cell | None:
        """Return what an application did, or None where it was not measured, or has failed."""
        runs = [run for run in self.figures.get(scenario, []) if column in run]
        if not runs or (scenario, column) in self.failures:
            return None
        ratios = [run[column][key] / run["floor"][key] for run in runs if run.get("floor", {}).get(key)]
        ratio = statistics.median(ratios) if ratios else None
        return Cell(statistics.median(run[column][key] for run in runs), ratio)

    def rows(self, scenarios: Sequence[Scenario]) -> Iterator[tuple[Scenario, str, Row]]:
        """Go through all that has been measured, in the order of the scenarios."""
        for scenario in scenarios:
            if scenario.name in self.figures or any(name == scenario.name for name, _ in self.failures):
                for key, row in scenario.rows.items():
                    yield scenario, key, row


def table(results: Results, scenarios: Sequence[Scenario], repeats: int, *, quick: bool = False) -> str:
    """Write it all as Markdown: where it was measured, the table, what failed and which goals were missed."""
    lines = [
        f"{_machine()}.",
        "A quick run, to show that it works: these figures say nothing."
        if quick
        else f"Medians of {repeats}; in brackets the ratio to `floor` in the same run.",
        "",
        f"| | | {' | '.join(_title(COLUMNS[each]) for each in results.columns)} | goal |",
        f"| --- | --- |{' ---: |' * (len(results.columns) + 1)}",
    ]
    missed: list[str] = []
    for scenario, key, row in results.rows(scenarios):
        cells = [_written(results, scenario, column, key) for column in results.columns]
        lines.append(f"| {row.name} | {row.unit} | {' | '.join(cells)} | {_goal(row)} |")
        if _misses(row, results.cell(scenario.name, "ours", key)):
            missed.append(f"{row.name}, {row.unit}")
    if missed and not quick:
        lines += ["", "Goals that asgi_forum missed in this run:", "", *(f"- {each}" for each in missed)]
    if results.failures:
        lines += ["", "Runs that failed, and give no figure:", ""]
        lines += [f"- {name}, {column}: {'; '.join(why)}" for (name, column), why in results.failures.items()]
    return "\n".join(lines) + "\n"


def _written(results: Results, scenario: Scenario, column: str, key: str) -> str:
    if (scenario.name, column) in results.failures:
        return "failed"
    cell = results.cell(scenario.name, column, key)
    if cell is None:
        return "-"
    figure = f"{cell.figure:,.0f}" if cell.figure >= 1000 else f"{cell.figure:.3g}"
    return figure if column == "floor" or cell.ratio is None else f"{figure} ({cell.ratio:.2f})"


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    return f"{'≥' if row.at_least else '≤'} {row.goal:g}{f' {row.unit}' if row.absolute else ''}"


def _misses(row: Row, cell: Cell | None) -> bool:
    if row.goal is None or cell is None:
        return False
    value = cell.figure if row.absolute else cell.ratio
    if value is None:
        return False
    return value < row.goal if row.at_least else value > row.goal


def _title(app: App) -> str:
    return app.title.format(version(app.needs[0])) if app.needs else app.title


def _machine() -> str:
    found: list[str] = []
    for each in _PACKAGES:
        try:
            found.append(f"{each} {version(each)}")
        except PackageNotFoundError:
            continue
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores; {python}, {', '.join(found)}"
