"""Connections to the one node that has the log: few, reused, bounded in time, and made anew where it has moved."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any, Protocol, cast

import anyio
import anyio.lowlevel
import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from asgi_forum.errors import SourceUnavailable
from asgi_forum.sources.redis.failures import moved, told

__all__ = ["Command", "Connections", "Place", "Reply", "Script", "cut_off"]

# hiredis' own types take tuples of one word only.
_pack: Callable[[tuple[str | bytes | int, ...]], bytes] = cast(Any, hiredis).pack_command

Command = Sequence[str | bytes | int]
Reply = Any
"""What Redis answers: bytes, integers, None, and lists of these (a map as a dictionary, with RESP3)."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, which Redis carries out in one step."""

    text: str
    sha: str

    @classmethod
    def load(cls, name: str) -> Script:
        """Read the script `NAME.lua` that lies beside this module."""
        text = files("asgi_forum.sources.redis").joinpath(f"{name}.lua").read_text("utf-8")
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class Place(Protocol):
    """
    Where the log is: it knows how to make a connection to the node that has it just now.

    slot: the slot of a Cluster that it is bound to.
    """

    @property
    def slot(self) -> int | None: ...

    async def connection(self) -> AbstractConnection:
        """Return a new connection, not yet connected. May ask Sentinels or nodes of a Cluster; raises what redis-py raises."""
        ...


class Connections:
    """
    At most `most` connections, handed out to one task each and reused.

    `call` sends commands in one go and reads their answers; `timeout` bounds connecting and each answer, in seconds. It is
    cancelled safely: a connection with an answer outstanding is closed, never used again.
    """

    def __init__(self, place: Place, *, most: int, timeout: float) -> None:
        self._place = place
        self._limit = anyio.Semaphore(most)
        self._timeout = timeout
        self._idle: list[AbstractConnection] = []
        self._generation = 0
        self._closed = False

    async def call(self, *commands: Command, patience: float = 0.0) -> list[Reply]:
        """
        Return the answers to commands, in order. `patience`: seconds that the first may take by itself (a blocking read).

        Raises SourceUnavailable, whose outcome says whether the commands may have been carried out. What Redis refuses is raised
        after all answers were read.
        """
        replies = await self.exchange(*commands, patience=patience)
        for reply in replies:
            if isinstance(reply, exceptions.ResponseError):
                raise told(reply, sent=False) from reply
        return replies

    async def exchange(self, *commands: Command, patience: float = 0.0) -> list[Reply]:
        """
        Do what `call` does, but return a refusal by Redis (a ResponseError) as the answer that it is.

        Where it says that another node has the log, the commands are sent there, once: who refuses the first has done nothing.
        """
        replies = await self._exchange(commands, patience)
        if isinstance(replies[0], exceptions.ResponseError) and moved(replies[0]):
            replies = await self._exchange(commands, patience)
        return replies

    async def _exchange(self, commands: Sequence[Command], patience: float) -> list[Reply]:
        sent = False
        async with self._place_in_time():
            generation = self._generation
            try:
                # A read that waits is begun anew where it fails; that its connection is there the one before it has just shown.
                async with self._connection(ask=not patience) as connection:
                    packed = b"".join([_pack(tuple(each)) for each in commands])
                    with anyio.fail_after(self._timeout) as clock:
                        await connection.send_packed_command(packed, check_health=False)
                        sent = True
                        clock.deadline = anyio.current_time() + self._timeout + patience
                        replies = [await _answer(connection)]
                        if patience:
                            clock.deadline = anyio.current_time() + self._timeout
                        replies += [await _answer(connection) for _ in commands[1:]]
            except (exceptions.RedisError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                await self._forget(generation)
                raise told(error, sent=sent) from error
            if any(isinstance(reply, exceptions.ResponseError) and moved(reply) for reply in replies):
                await self._forget(generation)
        return replies

    async def script(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Reply:
        """Run a script, by its hash where Redis knows it; raises as `call`."""
        return (await self.scripts(script, keys, arguments))[0]

    async def scripts(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int], *then: Command
    ) -> list[Reply]:
        """Run a script and, on the same connection, what comes after it; where only that is refused, the outcome is `unknown`."""
        rest = (len(keys), *keys, *arguments)
        replies = await self.exchange(("EVALSHA", script.sha, *rest), *then)
        if isinstance(replies[0], exceptions.NoScriptError):
            replies = await self.exchange(("EVAL", script.text, *rest), *then)
        for index, reply in enumerate(replies):
            if isinstance(reply, exceptions.ResponseError):
                failure = told(reply, sent=False)
                # What the script has done stays done, whatever became of what comes after it.
                raise SourceUnavailable(str(failure), outcome="unknown" if index else failure.outcome) from reply
        return replies

    async def close(self) -> None:
        """Close the connections, for good; those in use, when they are given back. Cancelling does not stop it."""
        self._closed = True
        with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
            await self._forget(self._generation)
            for _ in range(3):  # turns in which the event loop, which may end then, lets go of what was cut off
                await anyio.lowlevel.checkpoint()

    @asynccontextmanager
    async def _place_in_time(self) -> AsyncGenerator[None]:
        """Be one of the `most`; SourceUnavailable where the others, who wait for Redis, leave no place."""
        try:
            self._limit.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(self._timeout):
                    await self._limit.acquire()
            except TimeoutError as error:
                raise told(error, sent=False) from error
        try:
            yield
        finally:
            self._limit.release()

    @asynccontextmanager
    async def _connection(self, *, ask: bool) -> AsyncGenerator[AbstractConnection]:
        generation = self._generation  # before the wait: what is forgotten meanwhile is not kept
        connection = await self._take(ask=ask)
        whole = False
        try:
            yield connection
            whole = True
        finally:
            if whole and generation == self._generation and not self._closed:
                self._idle.append(connection)
            else:
                await cut_off(connection)

    async def _take(self, *, ask: bool) -> AbstractConnection:
        while self._idle:
            connection = self._idle.pop()
            usable = False
            try:
                usable = connection.is_connected and not (ask and await _stale(connection))
            finally:
                # Whoever is cancelled while asking has taken it out already: nobody else would close it.
                if not usable:
                    await cut_off(connection)
            if usable:
                return connection
        with anyio.fail_after(2 * self._timeout):  # a Sentinel, or a node, that is silent is passed over
            connection = await self._place.connection()
        with anyio.fail_after(self._timeout):
            try:
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own has no types
            except BaseException:
                await cut_off(connection)
                raise
        return connection

    async def _forget(self, generation: int) -> None:
        """Use no connection of before any more: after a loss or a move the next ones look up the address again."""
        if generation != self._generation:
            return
        self._generation += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            await cut_off(connection)


async def _answer(connection: AbstractConnection) -> Reply:
    # redis-py's own time-out would answer None, as Redis does where there is nothing, and leave the answer to whoever asks next.
    read = cast("Callable[..., Awaitable[Reply]]", connection.read_response)
    try:
        return await read(disable_decoding=True)
    except exceptions.ConnectionError:
        raise
    except exceptions.ResponseError as error:
        return error


async def _stale(connection: AbstractConnection) -> bool:
    """Whether it was closed by the other side, or something is left to read on it: what is sent on it next would be lost."""
    # What the kernel knows the event loop has perhaps not heard of yet: what was closed by then gets no command, and nobody has to
    # wonder whether it was carried out.
    if _readable(connection):
        return True
    # redis-py 8 gave the question another name, and warns of the old one.
    ask: Callable[[], Awaitable[bool]] = getattr(connection, "can_read", None) or connection.can_read_destructive
    try:
        return await ask()
    except (exceptions.RedisError, OSError, TimeoutError):
        return True


def _readable(connection: AbstractConnection) -> bool:
    """Whether the kernel has something to read on it, an end included: there is nothing that it may still say."""
    writer: asyncio.StreamWriter | None = getattr(connection, "_writer", None)
    sock = None if writer is None else writer.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


async def cut_off(connection: AbstractConnection) -> None:
    """Close at once, without waiting for the other side."""
    writer: asyncio.StreamWriter | None = getattr(connection, "_writer", None)
    if writer is not None:
        writer.transport.abort()  # TLS would say goodbye first
    with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
        try:
            await connection.disconnect(nowait=True)
        except (exceptions.RedisError, OSError, TimeoutError):
            return
