"""The servers of these tests, and forums on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from asgi_forum import Forum
from tests.wire.host import Board, Host

OpenBoard = Callable[..., Board]


@pytest.fixture(scope="session")
def narrow_host() -> Iterator[Host]:
    """A running server whose connections hold little in the kernel, so that a slow client is felt soon."""
    with Host().running(send_buffer=16384) as running:
        yield running


def boards(host: Host) -> Iterator[OpenBoard]:
    """Yield a function that mounts a new forum with the given settings; all are closed in the end."""
    with ExitStack() as stack:

        def open_board(source: Any = "memory://", **settings: Any) -> Board:
            forum = Forum(source, **settings)
            stack.callback(lambda: host.run(forum.aclose()))
            return Board(host, forum, stack)

        yield open_board


@pytest.fixture
def open_board(host: Host) -> Iterator[OpenBoard]:
    """Mount forums of this test's own."""
    yield from boards(host)


@pytest.fixture
def open_narrow_board(narrow_host: Host) -> Iterator[OpenBoard]:
    """Mount forums of this test's own where slow clients are felt soon."""
    yield from boards(narrow_host)


@pytest.fixture
def board(open_board: OpenBoard) -> Board:
    """A forum with default settings, an empty log, and publishing over HTTP on."""
    return open_board(allow_publish=True)


@pytest.fixture(scope="module")
def shared_board(host: Host) -> Iterator[Board]:
    """A forum for the tests of one module that leave nothing behind in its log, or don't mind what others left."""
    forums = boards(host)
    yield next(forums)(allow_publish=True)
    next(forums, None)
