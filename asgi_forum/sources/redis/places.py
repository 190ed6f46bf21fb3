"""From a URL, or the app's own client, to where the log is: one server, the master that Sentinels name, a node of a Cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import anyio
from redis import exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.crc import key_slot

from asgi_forum.errors import ConfigurationError
from asgi_forum.sources.redis.connections import Place, Reply, cut_off
from asgi_forum.sources.redis.failures import forbidden, stranger, unproven
from asgi_forum.sources.redis.urls import Address, Options, connection_options, options_of, read_url

__all__ = ["place_of_client", "place_of_url"]

_Remap = Callable[[Address], Address]
_Kind = Callable[..., AbstractConnection]
"""A class of connections, which is called with options that a URL or a client gave."""


async def _asked(connection: AbstractConnection, *command: str) -> Reply:
    """Ask one question over a connection of its own."""
    read = cast("Callable[..., Awaitable[Reply]]", connection.read_response)
    try:
        with anyio.fail_after(connection.socket_connect_timeout):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own has no types
            await connection.send_packed_command(connection.pack_command(*command), check_health=False)
            return await read(disable_decoding=True)
    finally:
        await cut_off(connection)


class _Server:
    """One address, always the same."""

    slot = None

    def __init__(self, kind: _Kind, options: Options) -> None:
        self._kind = kind
        self._options = options

    def __str__(self) -> str:
        return f"{self._options.get('host')}:{self._options.get('port')}"

    async def connection(self) -> AbstractConnection:
        """Return a connection to it."""
        return self._kind(**self._options)


class _Master:
    """
    The master that Sentinels name for a service, asked anew for each connection.

    redis-py's own Sentinel would do, but some of its errors show the passwords of the Sentinels. others: how many more of them a
    Sentinel has to know of, to be believed. at: the master's host, where it is reached at another than they name.
    """

    slot = None

    def __init__(
        self,
        sentinels: Sequence[_Server],
        service: str,
        kind: _Kind,
        options: Options,
        *,
        others: int = 0,
        at: str | None = None,
    ) -> None:
        self._sentinels = sentinels
        self._service = service
        self._kind = kind
        self._options = options
        self._others = others
        self._at = at

    async def connection(self) -> AbstractConnection:
        """Return a connection to the master of now."""
        failures: list[str] = []
        refusal: exceptions.RedisError | None = None
        for sentinel in self._sentinels:
            try:
                state = await _asked(await sentinel.connection(), "SENTINEL", "MASTER", self._service)
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                if stranger(error):
                    refusal = exceptions.AuthenticationError(f"the Sentinel at {sentinel}: {error}")
                elif forbidden(error):
                    refusal = exceptions.NoPermissionError(f"the Sentinel at {sentinel}: {error}")
                failures.append(f"{sentinel} ({_cause(error)})")
                continue
            found = self._master(_fields(state))
            if found is not None:
                self._sentinels = [sentinel, *(each for each in self._sentinels if each is not sentinel)]
                return self._kind(**{**self._options, "host": self._at or found[0], "port": found[1]})
            failures.append(f"{sentinel} (it is down, or the Sentinel is alone)")
        # Where only somebody who sets it right can help, it must not pass for an outage.
        raise refusal or exceptions.ConnectionError(
            f"no Sentinel has a master for {self._service!r}: {', '.join(failures)}"
        )

    def _master(self, state: Mapping[str, str]) -> Address | None:
        """Return the master's address, where the Sentinel holds it to be up, and may be believed."""
        flags = state.get("flags", "").split(",")
        if "master" not in flags or not {"s_down", "o_down"}.isdisjoint(flags):
            return None
        if int(state.get("num-other-sentinels", 0)) < self._others:
            return None
        return state["ip"], int(state["port"])


def _fields(reply: Reply) -> dict[str, str]:
    """Return what Redis says in names and values: a map with RESP3, else a list."""
    pairs = cast(
        "Mapping[bytes, bytes]", reply if isinstance(reply, Mapping) else dict(zip(*[iter(reply)] * 2, strict=True))
    )
    return {name.decode(): value.decode("utf-8", "replace") for name, value in pairs.items()}


def _cause(error: Exception) -> str:
    """Say what went wrong, but in no words of redis-py's: what these hold differs from version to version."""
    if isinstance(error, exceptions.ResponseError):
        return str(error)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return unproven(error) or type(cause or error).__name__


class _Node:
    """
    The node of a Cluster that has the log's slot, looked up anew for each connection.

    redis-py's own client of a Cluster would do, but leaves connections open where a node does not answer.
    """

    def __init__(
        self, nodes: Sequence[Address], key: str, kind: _Kind, options: Options, remap: _Remap | None = None
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

    def _at(self, host: str, port: int) -> AbstractConnection:
        return self._kind(**{**self._options, "host": host, "port": port})

    async def _primaries(self, node: Address) -> list[tuple[int, int, Address]]:
        """Ask a node which slots are where: the first, the last, and the primary's address, of each range."""
        ranges = await _asked(self._at(*node), "CLUSTER", "SLOTS")
        # A node that does not know its own name gives none: it is the one that was asked.
        return [
            (first, last, self._remap(((primary[0] or b"").decode() or node[0], primary[1])))
            for first, last, primary, *_ in ranges
        ]


def _same(address: Address) -> Address:
    return address


def place_of_url(url: str, key: str, *, timeout: float) -> Place:
    """
    Return where a URL says that the log is. It connects to nothing. `key` is one of the log's.

    Raises ConfigurationError for a URL that is off; its message holds no credentials.
    """
    where = read_url(url, timeout)
    if where.group == "cluster":
        return _Node(where.hosts, key, where.kind, where.options)
    if where.group == "sentinel":
        sentinels = [_Server(where.kind, {**where.sentinel, "host": host, "port": port}) for host, port in where.hosts]
        return _Master(sentinels, where.service, where.kind, where.options)
    return _Server(where.kind, where.options)


def place_of_client(client: object, key: str, *, timeout: float) -> Place:
    """Return where a client of the app's own has its data; it is asked for its settings only. ConfigurationError where it is none."""
    if isinstance(client, RedisCluster):
        options = connection_options(client.connection_kwargs, timeout)
        kind = cast("type[AbstractConnection]", client.connection_kwargs.get("connection_class", Connection))
        options = {name: value for name, value in options.items() if name in options_of(kind)}
        nodes = [(str(each.host), int(each.port)) for each in client.nodes_manager.startup_nodes.values()]
        return _Node(nodes, key, kind, options, getattr(client.nodes_manager, "address_remap", None))
    if not isinstance(client, Redis):
        raise ConfigurationError(
            f"source: got {type(client).__module__}.{type(client).__qualname__}, expected a URL or a client of redis.asyncio"
        )
    pool: Any = client.connection_pool
    options = connection_options(pool.connection_kwargs, timeout)
    if isinstance(pool, SentinelConnectionPool):
        return _master_of_client(pool, options, timeout)
    return _Server(pool.connection_class, options)


def _master_of_client(pool: Any, options: Options, timeout: float) -> Place:
    """Ask the Sentinels that a client asks, over connections of our own: the app may use its own for more."""
    tls: type[AbstractConnection] = SSLConnection if issubclass(pool.connection_class, SSLConnection) else Connection
    manager = pool.sentinel_manager
    theirs = [each.connection_pool for each in manager.sentinels]
    return _Master(
        [_Server(each.connection_class, connection_options(each.connection_kwargs, timeout)) for each in theirs],
        str(pool.service_name),
        tls,
        options,
        others=manager.min_other_sentinels,
        at=getattr(manager, "_force_master_ip", None),  # redis-py 5 has no such thing
    )
