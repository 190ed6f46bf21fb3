"""A short round, always the same; `tox -e soak` plays longer ones, of all scenarios, each with another seed."""

from __future__ import annotations

from tests.soak.plans import draw
from tests.soak.rounds import play


def test_a_short_round_goes_well() -> None:
    """Faults of all lanes, readers of all kinds: every history is right, and the server ends as it has to."""
    outcome = play(draw("workers", seed=1, seconds=2.5))
    assert not outcome.problems, "\n".join(outcome.problems)
    assert outcome.figures["events"] > 100


def test_the_same_seed_is_the_same_plan() -> None:
    """So a failure's command repeats what was drawn, though not each race of it."""
    assert draw("workers", 5, 20.0) == draw("workers", 5, 20.0) != draw("workers", 6, 20.0)
