"""
asgi_forum beside a bare ASGI app that does nothing but send (`floor`), and beside other libraries: what a delivery costs.

    python -m benchmarks.fanout [--repeats 5] [--only 'sse-*,publish'] [--apps floor,ours] [--quick] [--output FILE.md] [--plot FILE.svg]

It builds the load generator, runs each scenario with each application that is installed, in turns, and writes a Markdown table and
a plot. The server has one core, the generator another; Linux, and a C compiler, are needed. `--quick` shows that everything runs:
its figures say nothing. What is measured, and why so, stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

from benchmarks.contestants import COLUMNS, INSIDE, Failed, missing
from benchmarks.load import build
from benchmarks.measures import FULL, QUICK, Scale
from benchmarks.plot import plot
from benchmarks.report import Results, table
from benchmarks.scenarios import SCENARIOS, Scenario


def say(text: str) -> None:
    """Tell how far it is, beside the table."""
    print(text, file=sys.stderr, flush=True)


def chosen_apps(names: str | None) -> list[str]:
    """Return the columns that are asked for and can be run; say which can't."""
    wanted = names.split(",") if names else list(COLUMNS)
    if unknown := set(wanted) - set(COLUMNS):
        sys.exit(f"--apps: got {', '.join(sorted(unknown))}, expected some of {', '.join(COLUMNS)}")
    found: list[str] = []
    for name in COLUMNS:
        if name in wanted:
            if lacks := missing(COLUMNS[name]):
                say(f"{name} is left out: {lacks} is not installed")
            else:
                found.append(name)
    return found


def chosen_scenarios(patterns: str | None) -> list[Scenario]:
    """Return the scenarios that are asked for and whose server is installed; say which isn't."""
    wanted = patterns.split(",") if patterns else ["*"]
    for pattern in wanted:
        if not any(fnmatch(each.name, pattern) for each in SCENARIOS):
            sys.exit(f"--only: got {pattern}, expected some of {', '.join(each.name for each in SCENARIOS)}")
    found = [each for each in SCENARIOS if any(fnmatch(each.name, pattern) for pattern in wanted)]
    for server in dict.fromkeys(each.server for each in found):
        if find_spec(server) is None:
            say(f"what runs on {server} is left out: it is not installed")
            found = [each for each in found if each.server != server]
    return found


def run(scenario: Scenario, repeat: int, results: Results, scale: Scale) -> None:
    """Measure each of the applications once, one after the other."""
    for column in results.columns:
        if column not in scenario.apps:
            continue
        app = {**COLUMNS, **INSIDE}[scenario.instead.get(column, column)]
        try:
            figures = scenario.run(app, scale)
        except (Failed, OSError, RuntimeError, ValueError) as error:
            results.fail(scenario.name, column, str(error))
            say(f"{repeat + 1}  {scenario.name:24} {column:12} failed: {error}")
        else:
            results.add(scenario.name, repeat, column, figures)
            say(f"{repeat + 1}  {scenario.name:24} {column:12} {', '.join(f'{k} {v:.3g}' for k, v in figures.items())}")


def write(results: Results, scenarios: Sequence[Scenario], repeats: int, given: argparse.Namespace) -> str:
    """Write the files that are asked for; return the table."""
    text = table(results, scenarios, repeats, quick=given.quick)
    if given.output:
        given.output.write_text(text)
    if given.plot:
        given.plot.write_text(plot(results, scenarios))
    return text


def main() -> None:
    """Measure, write, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description="What a delivery costs.")
    parser.add_argument("--repeats", type=int, help="5, and 1 with --quick")
    parser.add_argument("--only", metavar="SCENARIO,...", help="names, or patterns of names")
    parser.add_argument("--apps", metavar="APP,...", help=", ".join(COLUMNS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, metavar="FILE.md")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    given = parser.parse_args()
    repeats = given.repeats or (1 if given.quick else 5)
    results, scenarios = Results(chosen_apps(given.apps)), chosen_scenarios(given.only)
    build()
    text = ""
    for repeat in range(repeats):
        for scenario in scenarios:
            run(scenario, repeat, results, QUICK if given.quick else FULL)
        text = write(
            results, scenarios, repeat + 1, given
        )  # after each, so that one that is stopped has not been for nothing
    print(text)


if __name__ == "__main__":
    main()
