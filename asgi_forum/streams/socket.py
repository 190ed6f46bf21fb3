"""Many subscriptions on one WebSocket connection (section 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, cast

import anyio
import anyio.abc
from pydantic_core import from_json
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from asgi_forum.auth import OriginPolicy
from asgi_forum.errors import (
    ForumError,
    IdInUse,
    InvalidMessage,
    TooManySubscriptions,
    TooSlow,
    UnknownId,
    quote,
)
from asgi_forum.frames import ErrorFrame, Frame, command_frame
from asgi_forum.hub.channels import Waiter
from asgi_forum.hub.reader import Look
from asgi_forum.hub.streams import Place
from asgi_forum.stamps import utc_text
from asgi_forum.streams.feed import Feed
from asgi_forum.streams.opening import Door, of_age
from asgi_forum.streams.pacing import Budget
from asgi_forum.streams.refusals import refuse_websocket
from asgi_forum.streams.request import Asked, asked_by_message
from asgi_forum.streams.sender import Sender, begun
from asgi_forum.streams.websocket import GoneError, accept, farewell, receive_message, send_text

__all__ = ["serve_socket"]

_AHEAD = 4
"""Subscriptions of one connection that may read from the source at once: each may then have a frame that waits for its turn."""


@dataclass(slots=True, eq=False)
class _Subscription:
    """One subscription of a connection: its stream, once it is open, and how to stop it."""

    scope: anyio.CancelScope
    done: anyio.Event = field(default_factory=anyio.Event)


async def serve_socket(scope: Scope, receive: Receive, send: Send, door: Door, origins: OriginPolicy) -> None:
    """Answer an upgrade of `/socket`: refuse, or serve its commands until the client leaves or the forum stops."""
    connection = HTTPConnection(scope)
    try:
        origins.check(connection)
        address = connection.client.host if connection.client else None
        with door.running.streams.admitted("websocket", address) as place:
            if door.authorize is None:
                place.claim(None)  # everybody may read
            if not await begun(door.running.limits.send_timeout, partial(accept, receive, send)):
                door.running.hub.counters.ending(TooSlow().at("send_timeout"))
                return
            await _Socket(connection, receive, send, door, place).run()
    except GoneError:
        return
    except ForumError as error:
        door.running.hub.counters.refusal(error)
        await refuse_websocket(scope, receive, send, error)


class _Socket:
    """
    One connection: a task that reads commands, one for each subscription, and one lock that keeps their frames whole.

    Subscriptions take turns at the lock, so one that catches up does not hold up another. A frame is taken by who has the lock: what
    a client that reads nothing costs is the one frame that is being sent, and at most _AHEAD others that came from the source.
    """

    def __init__(self, connection: HTTPConnection, receive: Receive, send: Send, door: Door, place: Place) -> None:
        self._connection = connection
        self._receive = receive
        self._send = send
        self._door = door
        self._place = place
        self._lock = anyio.Lock()
        self._ahead = _Turns(_AHEAD)
        self._sender = Sender(door.running.limits.send_timeout)
        self._budget = Budget.needed(connection.scope, door.running.limits, place)
        self._ending = of_age(door.running.limits)  # of all together: subscribing anew would stay in this process
        self._subscriptions: dict[str, _Subscription] = {}
        self._ended: ForumError | None = None
        self._tasks: anyio.abc.TaskGroup = anyio.create_task_group()

    def end(self, error: ForumError) -> None:
        """End the connection with an error. The first one counts."""
        if self._ended is None:
            self._ended = error
            self._door.running.hub.counters.ending(error)
        self._tasks.cancel_scope.cancel()

    def check(self, now: float) -> None:
        """Look at the clock: the watchdog calls this a few times in each heartbeat."""
        if self._ending is not None and now >= self._ending.at:
            self.end(self._ending.error)
        self._sender.check(now)

    async def run(self) -> None:
        """Serve until the client leaves, accepts nothing for too long, is too old, or `end` is called."""
        watchdog = self._door.running.watchdog
        watchdog.watch(self)
        try:
            await self._serve()
        finally:
            watchdog.forget(self)
        if self._ended is not None:
            await farewell(self._send, self._ended)

    async def _serve(self) -> None:
        async with self._tasks:
            self._place.hold(self)
            try:
                while True:
                    await self._command(await receive_message(self._receive))
            except GoneError:
                self._tasks.cancel_scope.cancel()
            except ForumError as error:
                self.end(error)

    async def _command(self, message: str | bytes) -> None:
        subscription_id = None
        try:
            command = _read(message)
            kind, subscription_id = command["type"], _id_in(command)
            if kind == "ping":
                await self._say(command_frame("pong", sent_at=utc_text()))
            elif kind not in ("subscribe", "unsubscribe"):
                raise InvalidMessage(f"type: got {quote(kind)}, expected 'subscribe', 'unsubscribe' or 'ping'")
            elif subscription_id is None:
                raise InvalidMessage(f"id: got {quote(command.get('id'))}, expected a string of 1 to 64 characters")
            elif kind == "subscribe":
                self._subscribe(subscription_id, command)
            else:
                await self._unsubscribe(subscription_id)
        except ForumError as error:
            self._door.running.hub.counters.refusal(error)
            await self._say(ErrorFrame.of(error).text_for(subscription_id))

    def _subscribe(self, subscription_id: str, command: Mapping[str, Any]) -> None:
        if subscription_id in self._subscriptions:
            raise IdInUse(
                f"id: {quote(subscription_id)} is in use on this connection; unsubscribe it first, or take another"
            )
        most = self._door.running.limits.subscriptions
        if len(self._subscriptions) >= most:
            raise TooManySubscriptions(f"{most} subscriptions are open on this connection, as many as it may have").at(
                "subscriptions"
            )
        asked = asked_by_message(command)  # at once, so that a command that is off leaves its id free for the next one
        subscription = self._subscriptions[subscription_id] = _Subscription(anyio.CancelScope())
        self._tasks.start_soon(self._run, subscription_id, subscription, asked)

    async def _unsubscribe(self, subscription_id: str) -> None:
        subscription = self._subscriptions.get(subscription_id)
        if subscription is None:
            raise UnknownId(f"id: no subscription {quote(subscription_id)} on this connection")
        subscription.scope.cancel()
        await subscription.done.wait()  # so that nothing with this id follows the answer
        await self._say(command_frame("unsubscribed", id=subscription_id))

    async def _run(self, subscription_id: str, subscription: _Subscription, asked: Asked) -> None:
        try:
            with subscription.scope:
                await self._say_last(subscription_id, subscription, await self._stream(subscription_id, asked))
        except GoneError:
            self._tasks.cancel_scope.cancel()
        finally:
            self._free(subscription_id, subscription)
            subscription.done.set()

    def _free(self, subscription_id: str, subscription: _Subscription) -> None:
        """Let another subscription have the id. Harmless where one has it by now."""
        if self._subscriptions.get(subscription_id) is subscription:
            del self._subscriptions[subscription_id]

    async def _stream(self, subscription_id: str, asked: Asked) -> str:
        """Say all that a subscription has to say, and return its last word: the refusal, or why the server ends it."""
        try:
            granted = await self._door.grant(self._connection, asked)
            self._place.claim(granted.identity)
        except ForumError as error:
            self._door.running.hub.counters.refusal(error)
            return ErrorFrame.of(error).text_for(subscription_id)
        feed = self._door.open(asked, granted)
        try:
            reset = await feed.begin()
            # A position after a reset is not told before the reset: who came back to it would never hear of it.
            cursor = None if reset else feed.reader.cursor
            await self._say(command_frame("subscribed", id=subscription_id, next_cursor=cursor))
            if reset is not None:
                await self._say(reset.text_for(subscription_id))
            await self._frames(subscription_id, feed)
        except ForumError as error:
            return command_frame("unsubscribed", id=subscription_id, code=error.code)
        finally:
            feed.close()

    async def _frames(self, subscription_id: str, feed: Feed) -> NoReturn:
        try:
            while feed.ended is None:
                async with self._lock:
                    found = feed.look(anyio.current_time())
                    if found is not None and found is not Look.WAITS:
                        await self._send_now(found.text_for(subscription_id))
                        feed.sent()
                        continue
                if found is None:
                    await feed.reader.wait()
                elif self._ahead.take(feed.reader):
                    await self._read_ahead(subscription_id, feed)
                elif (beat := feed.alive(anyio.current_time())) is not None:
                    await self._say_frame(subscription_id, beat)
                else:
                    await feed.reader.wait()
            raise feed.ended
        finally:
            self._ahead.give_back(feed.reader)

    async def _read_ahead(self, subscription_id: str, feed: Feed) -> None:
        """Do one piece of work that may have to wait for the source, and say what comes of it; rest where nothing does."""
        try:
            frame = await feed.turn()
            if frame is not None:
                await self._say_frame(subscription_id, frame)
                feed.sent()
                return
        finally:
            self._ahead.give_back(feed.reader)
        await feed.rest()

    async def _say_frame(self, subscription_id: str, frame: Frame) -> None:
        async with self._lock:  # its text is made in its turn: until then it is shared with all who are at its position
            await self._send_now(frame.text_for(subscription_id))

    async def _say_last(self, subscription_id: str, subscription: _Subscription, text: str) -> None:
        async with self._lock:
            # Not before it is this one's turn: a successor's frames would come first. Not after: who has heard it may use the id.
            self._free(subscription_id, subscription)
            await self._send_now(text)

    async def _say(self, text: str) -> None:
        async with self._lock:
            await self._send_now(text)

    async def _send_now(self, text: str) -> None:
        """Send, with the lock held: who waits for a turn is not the one whom the deadline is for."""
        try:
            await self._sender.send(partial(send_text, self._send, text))
        except TooSlow as error:
            self.end(error)
        else:
            if self._budget is not None:
                spent = self._budget.spend(len(text) if text.isascii() else len(text.encode()))
                if spent is not None:
                    self.end(spent)


class _Turns:
    """Who may work, of many: so many at once, first come, first served. Who has to wait is woken when it is its turn."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._at_work: set[Waiter] = set()
        self._queue: dict[Waiter, None] = {}

    def take(self, waiter: Waiter) -> bool:
        """Take a turn, if there is one; else queue up for it. Harmless where one is taken, or waited for."""
        if waiter not in self._at_work:
            if not self._free:
                self._queue[waiter] = None
                return False
            self._free -= 1
            self._at_work.add(waiter)
        return True

    def give_back(self, waiter: Waiter) -> None:
        """Give the turn, or the place in the queue, back. Harmless where there is none."""
        self._queue.pop(waiter, None)
        if waiter in self._at_work:
            self._at_work.remove(waiter)
            if (following := next(iter(self._queue), None)) is None:
                self._free += 1
                return
            del self._queue[following]
            self._at_work.add(following)
            following.wake()


def _read(message: str | bytes) -> dict[str, Any]:
    try:
        command: Any = from_json(message)
    except ValueError as error:
        raise InvalidMessage(
            f"message: got what is not JSON ({quote(str(error))}), expected an object with a 'type'"
        ) from error
    found = cast("dict[str, Any]", command) if isinstance(command, dict) else {}
    if isinstance(found.get("type"), str):
        return found
    raise InvalidMessage(f"message: got {quote(cast('object', command))}, expected an object with a 'type'")


def _id_in(command: Mapping[str, Any]) -> str | None:
    subscription_id = command.get("id")
    return subscription_id if isinstance(subscription_id, str) and 1 <= len(subscription_id) <= 64 else None
