"""`python -m tests.soak`: rounds from a seed on, until the time is over or something is wrong."""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
import time
from collections.abc import Sequence

from tests.soak.plans import SCENARIOS, Scenario, draw
from tests.soak.rounds import play

FIGURE = "{scenario:8} seed {seed}: {word} {figures}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Play; return 1 if a round failed."""
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the first round")
    parser.add_argument("--seconds", type=float, default=180.0, help="how long to go on beginning new rounds")
    parser.add_argument("--round", type=float, default=20.0, help="for how long each round has faults")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="only these; repeatable")
    parser.add_argument("--keep-going", action="store_true", help="also after a failure")
    options = parser.parse_args(arguments)
    # They say of each connection that is lost that it is.
    logging.getLogger("asgi_forum.client").setLevel(logging.ERROR)
    logging.getLogger("websockets.client").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that all that was started ends too
    scenarios: Sequence[Scenario] = options.scenario or SCENARIOS
    began, number, failures = time.monotonic(), 0, 0
    length = min(options.round, options.seconds)
    while number == 0 or time.monotonic() - began < options.seconds:
        scenario, seed = scenarios[number % len(scenarios)], options.seed + number // len(scenarios)
        number += 1
        outcome = play(draw(scenario, seed, length))
        word = "FAILED" if outcome.problems else "well"
        sys.stdout.write(FIGURE.format(scenario=scenario, seed=seed, word=word, figures=outcome.figures))
        for problem in outcome.problems:
            sys.stdout.write(f"  - {problem:.6000}\n")
        if outcome.problems:
            failures += 1
            sys.stdout.write(f"  faults: {', '.join(outcome.story)}\n")
            again = f"--scenario {scenario} --seed {seed} --round {length:g} --seconds {length:g}"
            sys.stdout.write(f"  again: python -m tests.soak {again}\n")
        sys.stdout.flush()
        if failures and not options.keep_going:
            break
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
