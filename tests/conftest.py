"""What all tests share: the event loop they run on, and how Hypothesis explores."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from hypothesis import HealthCheck, settings

from tests.redis.servers import RedisServer
from tests.redis.servers import running as running_redis
from tests.wire.host import Host

settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,  # the same histories every time: a failure is a failure for everybody
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    """Make the same of every surrounding."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Of a shell's background job; what the tests start would inherit it, and ignore their Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Before 4.16, anyio's `connect_tcp` leaves its socket to the collector where it is cancelled as it connects.
    if tuple(map(int, version("anyio").split(".")[:2])) < (4, 16):
        config.addinivalue_line("filterwarnings", "ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio: the event loop of every ASGI server that is supported."""
    return "asyncio"


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """A running server, one for all tests: each mounts forums of its own into it."""
    with Host().running() as running:
        yield running


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that runs as long as the tests do: each uses a forum's name of its own, and flushes nothing."""
    with running_redis() as server:
        yield server
