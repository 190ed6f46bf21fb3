"""One request each: publish, read a page, ask for the health."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from json import JSONEncoder
from typing import Any

from asgi_forum.client.address import Address, Values, filters
from asgi_forum.client.answers import Health, Page, read_health, read_page, read_receipts
from asgi_forum.client.connection import USER_AGENT
from asgi_forum.client.libraries import httpx2
from asgi_forum.client.refusals import Unreachable, refusal, unexpected, unreachable
from asgi_forum.errors import ForumError, InvalidEvent, Outcome, Unavailable
from asgi_forum.models import ForumEvent, Receipt, parse_events
from asgi_forum.stamps import rfc3339

__all__ = ["Event", "encode_event", "health", "publish", "read"]

Event = ForumEvent | Mapping[str, Any]
"""An event to publish, or its fields."""

_encode = JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def encode_event(event: ForumEvent, index: int = 0) -> bytes:
    """
    Return an event's JSON as a request carries it: the fields that were given, in one line of UTF-8.

    InvalidEvent, with `index`, where the payload is not JSON: NaN, a lone surrogate, an object of Python.
    """
    given = {name: value for name, value in event if value is not None}
    if event.occurred_at is not None:
        given["occurred_at"] = rfc3339(event.occurred_at)
    try:
        return _encode(given).encode()
    except (TypeError, ValueError, RecursionError) as error:
        fault = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidEvent([{"loc": [index, "payload"], "msg": f"not JSON: {fault:.200}"}]) from error


async def publish(
    url: str,
    events: Event | Sequence[Event],
    *,
    headers: Mapping[str, str] | None = None,
    answer_timeout: float = 30.0,
    http: httpx2.AsyncClient | None = None,
) -> list[Receipt]:
    """
    Publish one event, or 1 to 1000 at once, in one request: all or none, with consecutive sequences.

    Returns the receipts, in order. Raises InvalidEvent (checked here first; `details` has every fault), EventIdConflict,
    PayloadTooLarge, PublishDisabled, and what else the forum refuses with. Where it can't be told whether the
    events were published, Unavailable (or a child, such as Unreachable) has `outcome="unknown"`: publishing the same
    events again, with the ids in `event_ids`, is safe then. A call that is cancelled tells no ids: name them
    beforehand (`ForumEvent.with_id`).

    answer_timeout: the longest silence, in seconds; it ends in Unreachable.
    http: a client of your own, to keep connections between calls, or for TLS settings.
    """
    address = Address.parse(url)
    given = [events] if isinstance(events, ForumEvent | Mapping) else events
    prepared = [event.with_id() for event in parse_events(given)]
    event_ids = tuple(event.event_id or "" for event in prepared)
    body = b"[%b]" % b",".join([encode_event(event, index) for index, event in enumerate(prepared)])
    try:
        answer = await _ask(
            address, "POST", "/events", headers=headers, answer_timeout=answer_timeout, http=http, body=body
        )
        if answer.status_code not in (200, 201):
            raise _refusal(answer, address)
    except Unavailable as error:
        error.outcome, error.event_ids = error.outcome or "unknown", error.event_ids or event_ids
        raise
    receipts = read_receipts(answer.content, address.shown)
    if len(receipts) != len(prepared):
        raise unexpected(address.shown, f"{len(receipts)} receipts for {len(prepared)} events")
    return receipts


async def read(
    url: str,
    *,
    ticket: Values = (),
    run_id: Values = (),
    thread_id: Values = (),
    event_type: Values = (),
    cursor: str | int | None = None,
    tail: int | None = None,
    limit: int | None = None,
    wait: float | None = None,
    headers: Mapping[str, str] | None = None,
    answer_timeout: float = 30.0,
    http: httpx2.AsyncClient | None = None,
) -> Page:
    """
    Read one page of events, oldest first, from the earliest unless `cursor` or `tail` says otherwise; at most `limit`
    (100).

    `cursor="latest"` gives an empty page whose `next_cursor` is the end: take it before loading a snapshot. With `wait`
    (seconds, 0 to 60) and nothing to deliver yet, the forum waits that long for something; `answer_timeout` comes
    on top. Raises CursorExpired where events after `cursor` can't be delivered, Unavailable, and what else
    the forum refuses with. `answer_timeout` and `http` are as for `publish`.
    """
    parameters = filters(ticket=ticket, run_id=run_id, thread_id=thread_id, event_type=event_type)
    given = (("cursor", cursor), ("tail", tail), ("limit", limit), ("wait", wait))
    parameters += [(name, str(value)) for name, value in given if value is not None]
    address = Address.parse(url)
    answer = await _ask(
        address, "GET", "/events", parameters, headers=headers, answer_timeout=answer_timeout + (wait or 0), http=http
    )
    if answer.status_code != 200:
        raise _refusal(answer, address)
    return read_page(answer.content, address.shown)


async def health(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    answer_timeout: float = 30.0,
    http: httpx2.AsyncClient | None = None,
) -> Health:
    """
    Ask how the forum is. One that can't reach its source answers too: it is `degraded`.

    Raises Unreachable, and UnexpectedAnswer where something else answers. `answer_timeout` and `http` are as for
    `publish`.
    """
    address = Address.parse(url)
    answer = await _ask(address, "GET", "/health", headers=headers, answer_timeout=answer_timeout, http=http)
    if answer.status_code != 200:
        raise _refusal(answer, address)
    return read_health(answer.content, address.shown)


def _refusal(answer: httpx2.Response, address: Address) -> ForumError:
    return refusal(answer.status_code, answer.headers, answer.content, address.shown)


@asynccontextmanager
async def _client(http: httpx2.AsyncClient | None) -> AsyncGenerator[httpx2.AsyncClient, None]:
    if http is not None:
        yield http
        return
    async with httpx2.AsyncClient() as own:
        yield own


async def _ask(
    address: Address,
    method: str,
    below: str,
    parameters: Sequence[tuple[str, str]] = (),
    *,
    headers: Mapping[str, str] | None,
    answer_timeout: float,
    http: httpx2.AsyncClient | None,
    body: bytes | None = None,
) -> httpx2.Response:
    sent = {"accept": "application/json", "user-agent": USER_AGENT, **(headers or {})}
    if body is not None:
        sent["content-type"] = "application/json"
    async with _client(http) as client:
        try:
            # A redirect would turn a POST into a GET.
            return await client.request(
                method,
                address.http(below, parameters),
                content=body,
                headers=sent,
                timeout=answer_timeout,
                follow_redirects=method == "GET",
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise _lost(error, address, "not_published" if body else None) from error
        except (httpx2.RequestError, OSError) as error:
            raise _lost(error, address, "unknown" if body else None) from error


def _lost(error: Exception, address: Address, outcome: Outcome | None) -> Unreachable:
    lost = unreachable(error, address.shown)
    lost.outcome = outcome
    return lost
