"""Redis servers that belong together: a master with its replica and the Sentinels that watch them, and the nodes of a Cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.redis.servers import RedisServer, free_port, running, wait_until

__all__ = ["SERVICE", "Cluster", "Watched", "clustered", "sentinel", "watched"]

SERVICE = "main"
_BUS = 10000
"""How far a node's bus port lies above its own."""


class _Sentinel(RedisServer):
    """A Sentinel, with its configuration in a file that it rewrites."""

    def __init__(self, folder: Path, master: int, *lines: str) -> None:
        """Say which master it watches, alone; `lines` are more of its configuration."""
        super().__init__(folder)
        folder.mkdir(parents=True)
        config = folder / "sentinel.conf"
        config.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {master} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 700\n"
            f"sentinel failover-timeout {SERVICE} 3000\n" + "".join(f"{line}\n" for line in lines)
        )
        self._config = config

    def words(self) -> Sequence[str]:
        """How it is started."""
        return (str(self._config), "--sentinel", "--bind", "127.0.0.1", "--daemonize", "no")


@dataclass(frozen=True, slots=True)
class Watched:
    """A master, its replica, and the Sentinels."""

    master: RedisServer
    replica: RedisServer
    sentinels: Sequence[RedisServer]

    @property
    def url(self) -> str:
        """Where a forum finds the master."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def fork(self) -> None:
        """Stop the replica, and make sure that it gets nothing more of what the master acknowledges from now on."""
        self.replica.pause()
        self.master.command("CLIENT", "KILL", "TYPE", "replica")

    def fail_over(self) -> None:
        """Kill the master, and wait until the replica is the one."""
        self.master.kill()
        self.replica.go_on()
        wait_until(lambda: b"role:master" in self.replica.command("INFO", "replication"))


@contextmanager
def sentinel(master: int, *lines: str) -> Generator[RedisServer]:
    """Run one Sentinel until the block ends: it watches the master on a port; `lines` are more of its configuration."""
    with TemporaryDirectory(prefix="sentinel") as folder:
        server = _Sentinel(Path(folder) / "one", master, *lines)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def watched(count: int = 3) -> Generator[Watched]:
    """Run them until the block ends; yields once the Sentinels know each other, and the replica."""
    with ExitStack() as stack:
        master = stack.enter_context(running())
        replica = stack.enter_context(running("--replicaof", "127.0.0.1", str(master.port)))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="sentinel")))
        sentinels = [_Sentinel(folder / str(number), master.port) for number in range(count)]
        for each in sentinels:
            stack.callback(each.kill)
            each.start()
        wait_until(lambda: b"master_link_status:up" in replica.command("INFO", "replication"))
        known = f"slaves=1,sentinels={count}".encode()
        for each in sentinels:
            wait_until(lambda each=each: known in each.command("INFO", "sentinel"))  # type: ignore[misc]  # bound early
        yield Watched(master, replica, sentinels)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes of a Cluster, which share the slots."""

    nodes: Sequence[RedisServer]

    @property
    def url(self) -> str:
        """Where a forum asks for the node that has its log."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{each.port}" for each in self.nodes)

    def owner(self, key: str) -> RedisServer:
        """The node that has a key."""
        return next(node for node in self.nodes if not node.command("EXISTS", key).startswith(b"-MOVED"))

    def move(self, key: str, to: RedisServer) -> None:
        """Move the slot of a key, with all its keys, to another node."""
        owner = self.owner(key)
        slot = owner.command("CLUSTER", "KEYSLOT", key)[1:-2].decode()
        source, target = (each.command("CLUSTER", "MYID").split(b"\r\n")[1].decode() for each in (owner, to))
        to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source)
        owner.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target)
        keys = owner.command("CLUSTER", "GETKEYSINSLOT", slot, "100").decode().split("\r\n")[2::2]
        moved = owner.command("MIGRATE", "127.0.0.1", str(to.port), "", "0", "5000", "KEYS", *keys)
        assert moved == b"+OK\r\n", moved
        for node in (to, owner, *self.nodes):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", target)


@contextmanager
def clustered(*options: str, count: int = 3) -> Generator[Cluster]:
    """Run a Cluster until the block ends; yields once each node knows all, and serves its share."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(_node(*options)) for _ in range(count)]
        for index, node in enumerate(nodes):
            first, last = 16384 * index // count, 16384 * (index + 1) // count - 1
            node.command("CLUSTER", "SET-CONFIG-EPOCH", str(index + 1))
            assert node.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)) == b"+OK\r\n"
            node.command("CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port))
        for node in nodes:
            wait_until(lambda node=node: _complete(node, count))  # type: ignore[misc]  # bound early
        yield Cluster(nodes)


def _complete(node: RedisServer, count: int) -> bool:
    info = node.command("CLUSTER", "INFO")
    return b"cluster_state:ok" in info and f"cluster_known_nodes:{count}".encode() in info


def _node(*options: str) -> AbstractContextManager[RedisServer]:
    own = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-config-file", "nodes.conf")
    return running(*own, *options, port=free_port(65535 - _BUS))
