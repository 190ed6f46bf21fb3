"""A stream over Server-Sent Events (section 4 of the protocol), by httpx2."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import anyio

from asgi_forum.client.address import Address
from asgi_forum.client.answers import frames_of_messages
from asgi_forum.client.connection import USER_AGENT, Bounds, Lost, Request
from asgi_forum.client.decoder import EventDecoder, MessageTooLarge
from asgi_forum.client.libraries import httpx2
from asgi_forum.client.refusals import refusal, retry_after, unexpected, unreachable, will_pass
from asgi_forum.errors import ForumError
from asgi_forum.frames import Frame

__all__ = ["SseConnection", "SseDialer"]

_MAX_REFUSAL = 2**20


class SseConnection:
    """One answer of `GET /stream`, read as it comes."""

    survives_cancelling = False  # httpx2 closes a body whose reading was cancelled

    def __init__(self, response: httpx2.Response, address: Address, max_frame: int) -> None:
        self._response = response
        self._chunks = response.aiter_bytes()
        self._decoder = EventDecoder(max_frame)
        self._shown = address.shown
        self._reading = False

    @property
    def retry_ms(self) -> int | None:
        """What the last `retry:` line said."""
        return self._decoder.retry_ms

    async def receive(self) -> Sequence[Frame]:
        """Wait for the next piece of the body, and return the frames that it completes."""
        self._reading = True
        try:
            messages = self._decoder.feed(await anext(self._chunks))
        except StopAsyncIteration:
            raise Lost(unreachable("the server ended the stream")) from None
        except httpx2.ReadTimeout as error:
            raise Lost(unreachable("the connection is silent")) from error
        except (httpx2.RequestError, httpx2.StreamError, OSError) as error:
            raise Lost(unreachable(error)) from error
        except MessageTooLarge as error:
            raise unexpected(self._shown, f"{error} (a lower limit= makes frames smaller)") from error
        finally:
            self._reading = False
        return frames_of_messages(messages, self._shown)

    async def aclose(self) -> None:
        """Close the connection; a `receive` of another task is then Lost."""
        if not self._reading:
            await self._chunks.aclose()
        await self._response.aclose()


class SseDialer:
    """Opens event streams. TLS is set up once for all of them."""

    def __init__(self, bounds: Bounds, tls: ssl.SSLContext | None) -> None:
        self._bounds = bounds
        self._tls = tls
        self._client: httpx2.AsyncClient | None = None

    async def open(self, address: Address, request: Request) -> SseConnection:
        """Send the request; return once the answer has begun, and is one."""
        if self._client is None:
            times = httpx2.Timeout(self._bounds.open, read=self._bounds.silence)
            # No connection outlives its answer: so a stream that was refused holds nothing, closed or not.
            alone = httpx2.Limits(max_keepalive_connections=0)
            self._client = httpx2.AsyncClient(
                verify=self._tls or True, timeout=times, limits=alone, follow_redirects=True
            )
        asked = self._client.build_request("GET", _url(address, request), headers=_headers(request))
        try:
            with anyio.fail_after(self._bounds.open):
                response = await self._client.send(asked, stream=True)
        except (httpx2.RequestError, OSError) as error:
            raise Lost(unreachable(error)) from error
        if response.status_code == 200 and _kind(response) == "text/event-stream":
            return SseConnection(response, address, self._bounds.frame)
        try:
            with anyio.fail_after(self._bounds.open):
                refused = await _refusal(response, address)
        except (httpx2.RequestError, OSError) as cut:
            raise Lost(unreachable(cut)) from cut
        finally:
            await response.aclose()
        if will_pass(response.status_code):
            raise Lost(refused, retry_after(response.headers))
        raise refused

    async def aclose(self) -> None:
        """Close the pool of connections."""
        if self._client is not None:
            await self._client.aclose()


def _url(address: Address, request: Request) -> str:
    """Return the URL to ask for. A cursor that the forum gave goes into `Last-Event-ID`, as a browser's would."""
    start = [] if request.resumes else list(request.start.items())
    return address.http("/stream", [*request.filters, *start])


def _headers(request: Request) -> dict[str, str]:
    # A compressed stream may be held back until a block is full, by whoever compresses it.
    ours = {
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "cache-control": "no-store",
        "user-agent": USER_AGENT,
    }
    return {**ours, **request.headers, **({"last-event-id": request.start["cursor"]} if request.resumes else {})}


def _kind(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _refusal(response: httpx2.Response, address: Address) -> ForumError:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MAX_REFUSAL:
            break
    if response.status_code == 200:
        return unexpected(address.shown, f"its stream is {_kind(response) or 'of no type'}, not text/event-stream")
    return refusal(response.status_code, response.headers, body, address.shown)
