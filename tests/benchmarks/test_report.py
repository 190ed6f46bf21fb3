"""The table of the benchmarks: ratios of one run, medians of all, and no figure for who failed."""

from __future__ import annotations

from benchmarks.plot import plot
from benchmarks.report import Results, table
from benchmarks.scenarios import SCENARIOS, Row, Scenario

COSTS = Scenario("costs", {"cpu": Row("a delivery", "µs", 0.5)}, lambda trial, scale: {})
RATES = Scenario("rates", {"rate": Row("many", "events/s", 2.0, at_least=True)}, lambda trial, scale: {})


def line(text: str, name: str) -> list[str]:
    """Return the cells of the row with that name."""
    found = next(each for each in text.splitlines() if each.startswith(f"| {name} |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def measured(*pairs: tuple[float, float]) -> Results:
    """Make results of a yardstick and asgi_forum, one pair for each repeat."""
    results = Results(["floor", "ours"])
    for repeat, (floor, ours) in enumerate(pairs):
        results.add("costs", repeat, "floor", {"cpu": floor})
        results.add("costs", repeat, "ours", {"cpu": ours})
    return results


def test_a_ratio_is_taken_within_a_run() -> None:
    """A machine that gets slower for a while makes both slower: the median of the ratios, not the ratio of the medians."""
    text = table(measured((10.0, 2.0), (100.0, 20.0), (10.0, 8.0)), [COSTS], 3)
    assert line(text, "a delivery") == ["a delivery", "µs", "10", "8 (0.20)", "≤ 0.5"]
    assert "missed" not in text


def test_goals_that_are_missed_are_listed() -> None:
    """At most a ratio, or at least one; a quick run misses none, since its figures say nothing."""
    results = measured((10.0, 6.0))
    results.add("rates", 0, "floor", {"rate": 1000.0})
    results.add("rates", 0, "ours", {"rate": 1500.0})
    text = table(results, [COSTS, RATES], 1)
    assert text.endswith("missed in this run:\n\n- a delivery, µs\n- many, events/s\n")
    assert "missed" not in table(results, [COSTS, RATES], 1, quick=True)


def test_who_has_failed_once_gets_no_figure() -> None:
    """The other runs are not averaged: what loses events is not fast."""
    results = measured((10.0, 2.0), (10.0, 2.0))
    results.fail("costs", "ours", "3 gaps")
    text = table(results, [COSTS], 3)
    assert line(text, "a delivery")[3] == "failed"
    assert "- costs, ours: 3 gaps" in text
    assert "0.20</text>" not in plot(results, [COSTS])


def test_the_plot_shows_costs() -> None:
    """Where more is better it is turned over, so that shorter is better everywhere."""
    results = Results(["floor", "ours"])
    results.add("rates", 0, "floor", {"rate": 1000.0})
    results.add("rates", 0, "ours", {"rate": 4000.0})
    assert ">0.25</text>" in plot(results, [RATES])


def test_names_are_unique_and_each_scenario_has_a_yardstick() -> None:
    """Figures are kept by the name of their scenario."""
    names = [each.name for each in SCENARIOS]
    assert len(set(names)) == len(names)
    assert all(each.apps[:2] == ("floor", "ours") for each in SCENARIOS)
