"""The forums of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.command import Forum, serving


@pytest.fixture(scope="module")
def shared_forum() -> Iterator[Forum]:
    """A forum that takes events, for tests that don't mind what others left there."""
    with serving("--allow-publish") as forum:
        yield forum


@pytest.fixture
def forum() -> Iterator[Forum]:
    """A forum that takes events, with an empty log."""
    with serving("--allow-publish") as forum:
        yield forum
