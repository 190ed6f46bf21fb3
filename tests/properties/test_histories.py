"""Histories of publishers, readers and faults, each judged by `check_delivery`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.properties.checker import check_delivery
from tests.properties.history import run
from tests.properties.plans import KINDS, Kind, Plan, plans


@pytest.mark.parametrize("kind", KINDS)
def test_readers_of_every_kind_get_every_match_once(kind: Kind) -> None:
    """With random filters, limits, cuts and returns, a small memory and no trimming, there is never a reset and never a gap."""

    @settings(max_examples=40)
    @given(plans((kind,)))
    def judged(plan: Plan) -> None:
        check_delivery(run(plan))

    judged()


@settings(max_examples=80)
@given(plans(retain=(3, 8, 20)))
def test_what_was_trimmed_is_announced(plan: Plan) -> None:
    """With a log that retains a few events, what is missing was announced, and what is retained came."""
    check_delivery(run(plan))


@settings(max_examples=120)
@given(plans(faults=True))
def test_faults_of_the_source_lose_nothing(plan: Plan) -> None:
    """Outages, broken feeds and lagging feeds, with events from elsewhere meanwhile: nothing is lost, and no reset is needed."""
    check_delivery(run(plan))


@settings(max_examples=80)
@given(plans(faults=True, retain=(3, 8)))
def test_what_was_trimmed_behind_a_fault_is_announced(plan: Plan) -> None:
    """Where the feed does not go on from where it was, and the log no longer has what lies between, every reader hears of it."""
    check_delivery(run(plan))


@settings(max_examples=80)
@given(plans(faults=True, replaced=True))
def test_a_log_that_is_replaced_is_announced(plan: Plan) -> None:
    """Whoever had a position in the old log is told, and gets the new one from its beginning."""
    check_delivery(run(plan))


@settings(max_examples=80)
@given(plans(faults=True, retain=(3, 8, 1000), on_lag=("skip", "disconnect")))
def test_policies_for_slow_readers_never_lie(plan: Plan) -> None:
    """With all of it, and slow readers skipped or disconnected: each gap is announced, and who comes back goes on."""
    check_delivery(run(plan))


@settings(max_examples=60)
@given(plans(("sse", "websocket", "frames"), on_lag=("skip",)))
def test_only_who_was_live_is_skipped(plan: Plan) -> None:
    """Whoever reads history, or has just been skipped, gets every match until it was live."""
    check_delivery(run(plan))


@settings(max_examples=150)
@given(plans(("sse", "websocket", "frames", "poll"), narrow=True))
def test_no_reader_sleeps_over_an_event(plan: Plan) -> None:
    """With next to no memory and no heartbeats, what is published while a reader looks elsewhere still wakes it at once."""
    check_delivery(run(plan))
