"""Bytes that are under way: counted, refused beyond the limit, let go of in the end."""

from __future__ import annotations

from contextlib import suppress

import pytest

from asgi_forum.errors import TooManyConnections
from asgi_forum.hub.transfers import Transfers


def test_all_together_have_so_many_bytes() -> None:
    """What would be too much is refused and counts nothing; what ends makes room."""
    transfers = Transfers(100)
    with transfers.begun() as one:
        one.add(60)
        with transfers.begun() as two:
            two.add(40)
            with pytest.raises(TooManyConnections, match="takes 100") as refused:
                two.add(1)
            assert refused.value.limit == "transfer_bytes"
            assert transfers.under_way == 100
        one.add(40)
    assert transfers.under_way == 0


def test_one_alone_may_have_more() -> None:
    """How large one may be is for another limit to say: it would else never be taken."""
    transfers = Transfers(100)
    with transfers.begun() as one:
        one.add(1000)
        one.add(1000)
        with transfers.begun() as two, pytest.raises(TooManyConnections):
            two.add(1)


def test_what_fails_is_let_go_of() -> None:
    """Whatever it fails with."""
    transfers = Transfers(100)
    with suppress(KeyError), transfers.begun() as one:
        one.add(50)
        raise KeyError
    assert transfers.under_way == 0
