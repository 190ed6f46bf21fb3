"""The servers of these tests, and forums on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.redis.servers import RedisServer, running
from tests.redis.witnesses import Crowd
from tests.wire.conftest import OpenBoard, boards
from tests.wire.host import Host

OpenCrowd = Callable[..., Crowd]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis that nobody else asks anything, for the tests of one module."""
    with running() as server:
        yield server


@pytest.fixture
def open_board(host: Host) -> Iterator[OpenBoard]:
    """Mount forums of this test's own."""
    yield from boards(host)


@pytest.fixture
def open_crowd(open_board: OpenBoard) -> OpenCrowd:
    """Let readers of all kinds connect to two workers of the log at a URL; `settings` are those of both forums."""

    def opened(*urls: str, **settings: object) -> Crowd:
        both = urls if len(urls) > 1 else urls * 2
        # The heartbeat is rare: what tells of an outage must come at once.
        return Crowd(*[open_board(url, heartbeat=30, allow_publish=True, **settings) for url in both])

    return opened
