"""
What a URL says about where the log is.

What is wrong with one is told in words of our own: what redis-py and the standard library say of it quotes what they could not read,
which may be of a password. So may a piece of the URL be, where a password has a `/`, `?` or `#` that was not percent-encoded.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from asgi_forum.errors import ConfigurationError
from asgi_forum.sources.registry import described

__all__ = ["SCHEMES", "Address", "Options", "Where", "connection_options", "options_of", "read_url"]

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")

Options = dict[str, Any]
Address = tuple[str, int]

_OURS = (
    "socket_timeout",
    "socket_connect_timeout",
    "retry",
    "retry_on_timeout",
    "retry_on_error",
    "decode_responses",
    "max_connections",
)
"""Options that the forum sets itself, whatever a URL or a client has: a blocking read needs its own, and retries are ours."""

_NOT_FOR_CONNECTIONS = (
    "connection_pool",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "event_dispatcher",
    "himport_registry",
    "oss_cluster_maint_notifications_handler",
)

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

_WHERE = ("host", "port", "db", "path")

_ENCODE = "in a user or password, / ? # [ ] @ % have to be percent-encoded: %2F %3F %23 %5B %5D %40 %25"
_UNREADABLE = f"its host, port or path can't be read; {_ENCODE}"


class _Off(ValueError):
    """What is wrong with a URL, in words that may be shown."""


@dataclass(frozen=True, slots=True)
class Where:
    """
    What a URL says. `options` are those of a connection of the class `kind`.

    group: `sentinel` or `cluster`, else empty; then the rest is too. hosts: the Sentinels', or some of the Cluster's nodes'.
    service: the one that the Sentinels watch. sentinel: the options of connections to them, but for where they are.
    """

    kind: type[AbstractConnection]
    options: Options
    group: str = ""
    hosts: Sequence[Address] = ()
    service: str = ""
    sentinel: Options = field(default_factory=Options)


def options_of(kind: type) -> set[str]:
    """Return the options that a class of redis-py takes, but for those that say where."""
    found = {name for each in kind.__mro__ for name in signature(vars(each).get("__init__", object)).parameters}
    return found - {"self", "args", "kwargs", "startup_nodes", *_WHERE}


def connection_options(given: Mapping[str, Any], timeout: float) -> Options:
    """Return what a connection is made with, from what a URL or a client has."""
    kept = {name: value for name, value in given.items() if name not in (*_OURS, *_NOT_FOR_CONNECTIONS)}
    return {
        **kept,
        "socket_timeout": None,  # Connections times each answer
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "client_name": kept.get("client_name") or "asgi_forum",
    }


def read_url(url: str, timeout: float) -> Where:
    """Read a URL, and the files that it names. Raises ConfigurationError for one that is off; its message holds no credentials."""
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise ConfigurationError(f"source: got {described(url)}, expected one of {', '.join(SCHEMES)}") from None
    try:
        return _read(url, scheme, timeout)
    except ValueError as error:
        reason = str(error) if isinstance(error, _Off) else _UNREADABLE
        raise ConfigurationError(f"source: the {scheme}:// URL is off: {reason}") from None


def _read(url: str, scheme: str, timeout: float) -> Where:
    base, _, group = scheme.partition("+")
    before, _, query = url.partition("?")
    authority, _, path = before.partition("://")[2].partition("/")
    asked = parse_qsl(query, keep_blank_values=True)
    # A part of a password would be taken for a host, a path or an option.
    cut = "#" in url or ("@" in path and authority and "@" not in authority)
    if cut or not all(name.isidentifier() for name, _ in asked):
        raise _Off(_UNREADABLE)
    user, at, hosts = authority.rpartition("@")
    if group == "sentinel":
        return _sentinel(_hosts(hosts, 26379), path, f"{base}://{user}{at}", asked, timeout)
    if base != "unix" and not re.fullmatch(r"\d*/?", path):
        raise _Off(f"expected nothing but a database's number after the host; {_ENCODE}")
    if not group:
        return Where(*_connection(before, asked, timeout))
    kind, options = _connection(f"{base}://{user}{at}/{path}", asked, timeout)
    if options.get("db"):
        raise _Off("a Redis Cluster has the database 0 only")
    return Where(kind, options, group, _hosts(hosts, 6379))


def _sentinel(
    hosts: Sequence[Address], path: str, before: str, asked: Sequence[tuple[str, str]], timeout: float
) -> Where:
    service, *database = [unquote(part) for part in path.split("/") if part] or [""]
    if not service or len(database) > 1:
        raise _Off("expected redis+sentinel://HOST:PORT[,HOST:PORT...]/SERVICE[/DATABASE]")
    prefix = "sentinel_"
    ours = [each for each in asked if not each[0].startswith(prefix)]
    theirs = [(name.removeprefix(prefix), value) for name, value in asked if name.startswith(prefix)]
    shared = [(name, value) for name, value in ours if name.startswith("ssl_") and name not in dict(theirs)]
    kind, options = _connection(before, ours, timeout)
    if database and options.setdefault("db", int(database[0])) != int(database[0]):
        raise _Off("it names two databases")
    _, for_them = _connection(f"{before.partition('://')[0]}://", [*theirs, *shared], timeout, prefix)
    return Where(kind, options, "sentinel", hosts, service, for_them)


def _connection(
    before: str, asked: Sequence[tuple[str, str]], timeout: float, prefix: str = ""
) -> tuple[type[AbstractConnection], Options]:
    """
    Return the class of connections, and options with which they can be made, of a URL with the query `asked`.

    What redis-py does not know, or does not take, is told now, not at first use. prefix: of the options' names in the URL.
    """
    kind: type[AbstractConnection] = dict[str, Any](parse_url(before)).get("connection_class", Connection)
    unknown = [each for each in asked if each[0] not in {*options_of(kind), *_OURS, *_WHERE}]
    if any("@" in value for _, value in unknown):
        raise _Off(_UNREADABLE)
    names = ", ".join(prefix + name for name, _ in unknown or asked)
    if unknown:
        raise _Off(f"redis-py has no option {names} for it")
    try:
        given = dict[str, Any](parse_url(f"{before}?{urlencode(asked)}"))
        given.pop("connection_class", None)
        if "protocol" in given:
            given["protocol"] = int(given["protocol"])  # redis-py before 8 stumbles over what is no number
        if issubclass(kind, SSLConnection):
            # redis-py 5 would take a certificate of any host.
            given.setdefault("ssl_check_hostname", given.get("ssl_cert_reqs") != "none")
            _check_files(given, prefix)
        options = connection_options(given, timeout)
        _make(kind, options)
    except _Off:
        raise
    except (TypeError, ValueError, RedisError):
        raise _Off(f"redis-py does not take the value of one of these options: {names}") from None
    return kind, options


def _make(kind: type[AbstractConnection], options: Options) -> None:
    connection = kind(**options)
    if isinstance(connection, SSLConnection):
        try:
            cast("Any", connection).ssl_context.get()
        except ssl.SSLError as error:
            raise _Off(f"its certificates, or their key, are of no use: {error.reason}") from None


def _check_files(given: Options, prefix: str) -> None:
    for name in _FILES:
        if name not in given:
            continue
        try:
            with open(given[name], "rb"):
                pass
        except OSError as error:
            raise _Off(f"{prefix}{name}: {given[name]}: {error.strerror}") from None


def _hosts(text: str, port: int) -> list[Address]:
    """Read HOST:PORT[,HOST:PORT...]; an IPv6 address stands in brackets."""
    found: list[Address] = []
    for each in text.split(","):
        parts = urlsplit(f"//{each}")
        if not parts.hostname:
            raise _Off("expected HOST:PORT[,HOST:PORT...]")
        found.append((parts.hostname, parts.port or port))
    return found
