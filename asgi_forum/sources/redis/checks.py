"""What is asked of a Redis before it is used: its version, whether it may forget, and what its user may do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from redis import exceptions

from asgi_forum.errors import ConfigurationError
from asgi_forum.logs import EventLogger, event_logger
from asgi_forum.sources.redis.connections import Connections, Script
from asgi_forum.sources.redis.failures import forbidden, told
from asgi_forum.sources.redis.keys import LogKeys

__all__ = ["check_readable", "check_server"]

logger: EventLogger = event_logger("asgi_forum.redis")

_PERMITTED = Script.load("permitted")

_OLDEST = (7, 0)


def _info(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines())
    return {name: value for name, separator, value in lines if separator}


async def check_server(connections: Connections, keys: LogKeys) -> None:
    """Do what `check_readable` does, and log a warning where the user may not do all that publishing and trimming need."""
    writing = await _look(connections, keys)
    if writing:
        logger.warning("asgi_forum.redis_read_only: this user may not publish, or not trim: it may not run %s", writing)


async def check_readable(connections: Connections, keys: LogKeys) -> None:
    """
    Look at the server once. ConfigurationError names a version that is too old; what only warns is logged: a policy that evicts.
    Raises SourceUnavailable, also where the user may not even read.
    """
    await _look(connections, keys)


async def _look(connections: Connections, keys: LogKeys) -> str:
    """Do what `check_readable` does, in one round trip; return the commands that only writing needs, and that the user may not run."""
    log = (keys.log, keys.meta, keys.ids[0], keys.ages)
    found, info = await connections.exchange(("EVAL", _PERMITTED.text, len(log), *log), ("INFO",))
    if not isinstance(info, exceptions.ResponseError):
        _check_info(_info(info))
    elif not forbidden(info):
        raise told(info, sent=False) from info
    if isinstance(found, exceptions.ResponseError):
        raise told(found, sent=False) from found
    reading, writing = map(_forbidden, found)
    if reading:
        error = exceptions.NoPermissionError(f"this user may not run {reading}")
        raise told(error, sent=False) from error
    return writing


def _forbidden(answers: Sequence[tuple[bytes, bytes]]) -> str:
    """Name the commands that were refused because of the user, of those that were refused at all."""
    refused = ((name.decode(), exceptions.ResponseError(text.decode("utf-8", "replace"))) for name, text in answers)
    return ", ".join(name for name, error in refused if forbidden(error))


def _check_info(info: dict[str, str]) -> None:
    version = info.get("redis_version", "")
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        raise ConfigurationError(f"Redis {version} is too old: a forum needs Redis 7.0 or later, or Valkey")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        logger.warning(
            "asgi_forum.redis_evicts: maxmemory-policy is %s: Redis may drop the log or what names it, and every client then"
            " gets a reset; set it to noeviction",
            policy,
        )
