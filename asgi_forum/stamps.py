"""What is written on an event when it is made: the time, and an id."""

from __future__ import annotations

import os
import time
from datetime import datetime
from functools import lru_cache
from random import Random

__all__ = ["new_event_id", "rfc3339", "utc_text"]


def rfc3339(moment: datetime) -> str:
    """Write a UTC time as RFC 3339 with `Z`: milliseconds, or microseconds where they are needed."""
    return moment.isoformat(timespec="microseconds" if moment.microsecond % 1000 else "milliseconds")[:-6] + "Z"


def utc_text() -> str:
    """Return the time now as RFC 3339 writes it, in UTC, cut to milliseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{_second(seconds)}{nanoseconds // 10**6:03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))


def new_event_id() -> str:
    """Make an id: a UUID of version 7 (RFC 9562), so ids sort by the time they were made."""
    head = _millisecond(time.time_ns() // 10**6)
    return f"{head}{_bits(12):03x}-{0x8000 | _bits(14):04x}-{_bits(48):012x}"


@lru_cache(maxsize=2)
def _millisecond(milliseconds: int) -> str:
    return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7"


# One of our own, seeded by the system: a host that seeds Python's, to repeat its experiments, must not get the same ids twice. Nor
# must a process that was forked.
_random = Random()
_bits = _random.getrandbits
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)
