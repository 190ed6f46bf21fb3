"""What is asked of a Redis before it is used: its version, whether it may forget, and what its user may do."""

from __future__ import annotations

import logging
import re

from redis import exceptions

from asgi_forum.errors import ConfigurationError
from asgi_forum.sources.redis.connections import Connections
from asgi_forum.sources.redis.failures import forbidden, told
from asgi_forum.sources.redis.keys import LogKeys

__all__ = ["check_readable", "check_server"]

logger: logging.Logger = logging.getLogger("asgi_forum.redis")

_OLDEST = (7, 0)


def _info(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines())
    return {name: value for name, separator, value in lines if separator}


async def check_server(connections: Connections, keys: LogKeys) -> None:
    """Do what `check_readable` does, and log a warning where the user may not publish."""
    await check_readable(connections, keys)
    await _check_writing(connections, keys)


async def check_readable(connections: Connections, keys: LogKeys) -> None:
    """
    Look at the server once. ConfigurationError names a version that is too old; what only warns is logged: a policy that evicts.
    Raises SourceUnavailable, also where the user may not even read.
    """
    (reply,) = await connections.exchange(("INFO",))
    if isinstance(reply, exceptions.ResponseError):
        if not forbidden(reply):
            raise told(reply, sent=False) from reply
    else:
        _check_info(_info(reply))
    for command in (("XRANGE", keys.log, "+", "+", "COUNT", "1"), ("HGET", keys.meta, "epoch")):
        await connections.call(command)


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


async def _check_writing(connections: Connections, keys: LogKeys) -> None:
    """Ask for what publishing does, in ways that change nothing: 0-0 is no entry's id."""
    harmless = (
        ("XADD", keys.log, "0-0", "event", ""),
        ("XTRIM", keys.log, "MAXLEN", str(2**62)),
        ("HDEL", keys.meta, ""),
    )
    for command in harmless:
        (reply,) = await connections.exchange(command)
        if isinstance(reply, exceptions.ResponseError) and forbidden(reply):
            logger.warning("asgi_forum.redis_read_only: this user may not publish: %s", reply)
            return
