"""Backoff: how long to wait between tries."""

from __future__ import annotations

import pytest

from asgi_forum.client.backoff import Backoff


def delays(backoff: Backoff, count: int) -> list[float]:
    """Return the next delays."""
    return [backoff.next_delay() for _ in range(count)]


def test_delays_double_up_to_the_ceiling() -> None:
    """The longest that a draw can give grows with each failure, and ends at the ceiling."""
    assert delays(Backoff(first=1.0, ceiling=30.0, draw=lambda: 1.0), 6) == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_delays_are_spread() -> None:
    """
    The least is half of the first delay, however many failures there were: clients that failed together come back
    apart.
    """
    assert delays(Backoff(first=1.0, ceiling=30.0, draw=lambda: 0.0), 3) == [0.5, 0.5, 0.5]


def test_a_success_begins_anew() -> None:
    """After something was carried, the next failure is a first one."""
    backoff = Backoff(first=1.0, ceiling=30.0, draw=lambda: 1.0)
    delays(backoff, 4)
    backoff.succeeded()
    assert delays(backoff, 1) == [2.0]


def test_the_stream_s_own_retry_is_the_least() -> None:
    """What `retry:` says is waited for at least, and spread above that."""
    backoff = Backoff(first=1.0, ceiling=30.0, draw=lambda: 0.0)
    backoff.ask(3000)
    assert delays(backoff, 2) == [3.0, 3.0]
    longest = Backoff(first=1.0, ceiling=30.0, draw=lambda: 1.0)
    longest.ask(8000)
    assert delays(longest, 3) == [10.0, 10.0, 10.0]


def test_a_refusal_s_retry_after_is_the_least_for_once() -> None:
    """It also goes above the ceiling: the server knows best."""
    backoff = Backoff(first=1.0, ceiling=30.0, draw=lambda: 0.0)
    assert backoff.next_delay(45.0) == 45.0
    assert backoff.next_delay() == 0.5


def test_a_server_may_not_ask_for_ever() -> None:
    """Ten minutes are the most that it gets."""
    backoff = Backoff(draw=lambda: 0.0)
    backoff.ask(10**8)
    assert backoff.next_delay() == 600.0


@pytest.mark.parametrize("ceiling", [0.05, 0.3])
def test_a_low_ceiling_holds_from_the_first_delay(ceiling: float) -> None:
    """A ceiling below the usual first delay is one."""
    assert max(delays(Backoff(ceiling=ceiling, draw=lambda: 0.9), 5)) <= ceiling


def test_years_of_failures_do_no_harm() -> None:
    """The growth is bounded before it overflows."""
    backoff = Backoff(ceiling=30.0, draw=lambda: 1.0)
    backoff.failures = 10**6
    assert backoff.next_delay() == 30.0
