"""The servers of these tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from asgi_forum import Forum
from asgi_forum.client import Transport
from tests.client.site import DEADLINE, Site


@pytest.fixture(params=["sse", "ws"])
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each transport in turn."""
    name: Transport = request.param
    return name


@asynccontextmanager
async def _place() -> AsyncGenerator[Site, None]:
    place = Site()
    try:
        yield place
    finally:
        with anyio.fail_after(DEADLINE, shield=True):
            await place.stop()


@pytest.fixture
async def address() -> AsyncGenerator[Site, None]:
    """An address where nothing is served yet."""
    async with _place() as place:
        yield place


@pytest.fixture
async def old_address() -> AsyncGenerator[Site, None]:
    """One more address."""
    async with _place() as place:
        yield place


@pytest.fixture
async def site(address: Site) -> Site:
    """An address where a forum with an empty log is served."""
    await address.start(Forum(allow_publish=True))
    return address
