"""From a URL, or the app's own client, to where the log is: one server, the master that Sentinels name, a node of a Cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import signature
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import anyio
from redis import exceptions
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.crc import key_slot

from asgi_forum.errors import ConfigurationError
from asgi_forum.sources.redis.connections import Place, cut_off

__all__ = ["SCHEMES", "place_of_client", "place_of_url"]

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")

_OURS = ("socket_timeout", "socket_connect_timeout", "retry", "retry_on_timeout", "retry_on_error", "decode_responses")
"""Options that the forum sets itself, whatever a URL or a client has: a blocking read needs its own, and retries are ours."""

_NOT_FOR_CONNECTIONS = (
    "connection_pool",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "event_dispatcher",
    "himport_registry",
    "oss_cluster_maint_notifications_handler",
)

_Options = dict[str, Any]
_Address = tuple[str, int]
_Remap = Callable[[_Address], _Address]
_Kind = Callable[..., AbstractConnection]
"""A class of connections, which is called with options that a URL or a client gave."""


def _names(kind: type) -> set[str]:
    """The options that a class of redis-py takes, but for those that say where."""
    found = {name for each in kind.__mro__ for name in signature(vars(each).get("__init__", object)).parameters}
    return found - {"self", "args", "kwargs", "host", "port", "db", "path", "startup_nodes"}


def _options(given: Mapping[str, Any], timeout: float) -> _Options:
    kept = {name: value for name, value in given.items() if name not in (*_OURS, *_NOT_FOR_CONNECTIONS)}
    return {
        **kept,
        "socket_timeout": None,  # Connections times each answer
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "client_name": kept.get("client_name") or "asgi_forum",
    }


class _Server:
    """One address, always the same."""

    slot = None

    def __init__(self, kind: _Kind, options: _Options) -> None:
        self._kind = kind
        self._options = options

    async def connection(self) -> AbstractConnection:
        """Return a connection to it."""
        return self._kind(**self._options)

    async def close(self) -> None:
        """Nothing is held."""


class _Master:
    """The master that Sentinels name for a service, asked anew for each connection."""

    slot = None

    def __init__(self, sentinel: Sentinel, service: str, kind: _Kind, options: _Options) -> None:
        self._sentinel = sentinel
        self._service = service
        self._kind = kind
        self._options = options

    async def connection(self) -> AbstractConnection:
        """Return a connection to the master of now."""
        host, port = cast("tuple[str, int]", await self._sentinel.discover_master(self._service))
        return self._kind(**{**self._options, "host": host, "port": port})

    async def close(self) -> None:
        """Close the connections to the Sentinels."""
        for each in self._sentinel.sentinels:
            await each.aclose()


class _Node:
    """
    The node of a Cluster that has the log's slot, looked up anew for each connection.

    redis-py's own client of a Cluster would do, but leaves connections open where a node does not answer.
    """

    def __init__(
        self, nodes: Sequence[_Address], key: str, kind: _Kind, options: _Options, remap: _Remap | None = None
    ) -> None:
        self._nodes = nodes
        self.slot: int = key_slot(key.encode())
        self._kind = kind
        self._options = options
        self._remap: _Remap = remap or _same

    async def connection(self) -> AbstractConnection:
        """Return a connection to the slot's primary of now."""
        failure: Exception = exceptions.ClusterDownError("CLUSTERDOWN no node serves the log's slot")
        for node in self._nodes:
            try:
                primaries = await self._primaries(node)
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                failure = error
                continue
            for first, last, (host, port) in primaries:
                if first <= self.slot <= last:
                    # Nodes come and go: whoever is there now can be asked next time, and who was named first.
                    self._nodes = list(dict.fromkeys([*[each for _, _, each in primaries], *self._nodes]))[:32]
                    return self._at(host, port)
        raise failure

    async def close(self) -> None:
        """Nothing is held."""

    def _at(self, host: str, port: int) -> AbstractConnection:
        return self._kind(**{**self._options, "host": host, "port": port})

    async def _primaries(self, node: _Address) -> list[tuple[int, int, _Address]]:
        """Ask a node which slots are where: the first, the last, and the primary's address, of each range."""
        connection = self._at(*node)
        read = cast("Callable[..., Awaitable[Sequence[Any]]]", connection.read_response)
        try:
            with anyio.fail_after(self._options["socket_connect_timeout"]):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own has no types
                await connection.send_packed_command(connection.pack_command("CLUSTER", "SLOTS"), check_health=False)
                ranges = await read(disable_decoding=True)
        finally:
            await cut_off(connection)
        # A node that does not know its own name gives none: it is the one that was asked.
        return [
            (first, last, self._remap(((primary[0] or b"").decode() or node[0], primary[1])))
            for first, last, primary, *_ in ranges
        ]


def _same(address: _Address) -> _Address:
    return address


def place_of_url(url: str, key: str, *, timeout: float) -> Place:
    """
    Return where a URL says that the log is. It connects to nothing. `key` is one of the log's.

    Raises ConfigurationError for a URL that is off; its message holds no credentials.
    """
    scheme = url.partition("://")[0]
    try:
        if scheme not in SCHEMES:
            raise ValueError(f"the scheme is {scheme[:20]!r}, expected one of {', '.join(SCHEMES)}")
        base, _, kind = scheme.partition("+")
        if not kind:
            return _server(url, timeout)
        hosts, user, rest = _split(url)
        given: _Options = dict(
            parse_url(f"{base}://{user}{hosts[0][0]}:{hosts[0][1]}{rest if kind == 'cluster' else _query(rest)}")
        )
        tls: type[AbstractConnection] = SSLConnection if base == "rediss" else Connection
        if kind == "cluster":
            if int(given.get("db") or 0):
                raise ValueError("a Redis Cluster has the database 0 only")
            return _tried(_Node(hosts, key, tls, _options(given, timeout)), tls, _options(given, timeout))
        return _sentinel(hosts, rest, given, tls, timeout)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"source: the {scheme[:20]}:// URL is off: {error}") from None


def place_of_client(client: object, key: str, *, timeout: float) -> Place:
    """Return where a client of the app's own has its data; it is asked for its settings only. ConfigurationError where it is none."""
    if isinstance(client, RedisCluster):
        options = _options(client.connection_kwargs, timeout)
        kind = cast("type[AbstractConnection]", client.connection_kwargs.get("connection_class", Connection))
        options = {name: value for name, value in options.items() if name in _names(kind)}
        nodes = [(str(each.host), int(each.port)) for each in client.nodes_manager.startup_nodes.values()]
        return _Node(nodes, key, kind, options, getattr(client.nodes_manager, "address_remap", None))
    if not isinstance(client, Redis):
        raise ConfigurationError(
            f"source: got {type(client).__module__}.{type(client).__qualname__}, expected a URL or a client of redis.asyncio"
        )
    pool: Any = client.connection_pool
    options = _options(pool.connection_kwargs, timeout)
    if isinstance(pool, SentinelConnectionPool):
        tls: type[AbstractConnection] = (
            SSLConnection if issubclass(pool.connection_class, SSLConnection) else Connection
        )
        sentinels = cast("Any", pool)
        return _Master(sentinels.sentinel_manager, str(sentinels.service_name), tls, options)
    return _Server(pool.connection_class, options)


def _server(url: str, timeout: float) -> Place:
    given = dict(parse_url(url))
    kind = cast("type[AbstractConnection]", given.pop("connection_class", Connection))
    options = _options(given, timeout)
    return _tried(_Server(kind, options), kind, options)


def _tried(place: Place, kind: _Kind, options: _Options) -> Place:
    """Return a place whose connections can be made: an option that redis-py does not know is told now, not at first use."""
    try:
        kind(**options)
    except TypeError as error:
        raise ValueError(f"{str(error).partition(') ')[2] or error}") from None
    return place


def _sentinel(
    hosts: Sequence[tuple[str, int]], rest: str, given: _Options, kind: type[AbstractConnection], timeout: float
) -> Place:
    path = [unquote(part) for part in urlsplit(rest).path.split("/") if part]
    if not 1 <= len(path) <= 2:
        raise ValueError("expected redis+sentinel://HOST:PORT[,HOST:PORT...]/SERVICE[/DATABASE]")
    theirs = {name.removeprefix("sentinel_"): given.pop(name) for name in list(given) if name.startswith("sentinel_")}
    options = _options({**given, "db": int(path[1]) if len(path) == 2 else 0}, timeout)
    theirs = {**_options(theirs, timeout), "socket_timeout": timeout}
    if issubclass(kind, SSLConnection):
        theirs["ssl"] = True
    sentinel: Sentinel = Sentinel(hosts, sentinel_kwargs=theirs)  # type: ignore[no-untyped-call]  # redis-py's own has no types
    return _tried(_Master(sentinel, path[0], kind, options), kind, options)


def _split(url: str) -> tuple[list[tuple[str, int]], str, str]:
    """Split a URL of several hosts: the hosts, user and password as they stand before them (with `@`), and what follows."""
    authority, separator, rest = url.partition("://")[2].partition("/")
    if "?" in authority:
        authority, _, query = authority.partition("?")
        separator, rest = "?", query
    user, at, hosts = authority.rpartition("@")
    found: list[tuple[str, int]] = []
    for each in hosts.split(","):
        parts = urlsplit(f"//{each}")
        if not parts.hostname:
            raise ValueError("expected HOST:PORT[,HOST:PORT...]")
        found.append((parts.hostname, parts.port or (26379 if "+sentinel" in url.partition("://")[0] else 6379)))
    return found, f"{user}{at}", f"{separator}{rest}"


def _query(rest: str) -> str:
    query = urlsplit(rest).query
    return f"?{urlencode(parse_qsl(query))}" if query else ""
