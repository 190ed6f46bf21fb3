"""Settings: limits of one forum, and what the environment may set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from asgi_forum.errors import ConfigurationError, quote

__all__ = ["ForumSettings", "Limits", "OnLag", "check_options"]

OnLag = Literal["resume", "skip", "disconnect"]

_OFF = ("max_lag", "streams_per_address", "streams_per_identity", "max_stream_age")


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The bounds of one forum in one process. Sizes are in bytes, times in seconds; each is positive, None turns off what may be off.

    streams: open streams (SSE, WebSocket, socket, waiting pages) in this process; further ones get a 429. Where `authorize`
        decides, connections of `/socket` that were never granted a subscription make room first.
    streams_per_address: the same per client address; off by default (behind a proxy all clients may share one).
    streams_per_identity: the same per identity that `authorize` attaches; off by default. Who has none is not counted.
    subscriptions: on one connection of `/socket`.
    catch_up_reads: reads of the source that are under way at once for all who catch up; further ones wait for their turn.
    tail_bytes: the newest events that are kept encoded for live readers.
    frame_bytes, page_bytes: events in one frame of a stream, and in one page; each always holds at least one. A client that reads
        nothing has one frame under way.
    event_bytes, request_bytes: one event encoded, one publish request.
    transfer_bytes: bodies of publish requests and pages that are under way in this process, all together; further ones get a 429.
        One alone may always be as large as its own limit allows.
    lookback: entries that `tail=N` looks back over.
    page_scan: entries that one JSON page examines.
    max_lag: matching events that a live reader may be behind before the slow-client policy applies; None: until it leaves the tail.
    send_timeout: how long a client may accept nothing before its stream, or its page, is ended, or send nothing of a request. Over
        SSE that is a piece of about 64 KiB, over a WebSocket a whole frame, which can't be cut: `frame_bytes` in that time is what
        a slow connection must manage.
    unpaced_bytes: what one stream sends on a server that never says how much its client takes (Daphne); it is ended then, cleanly.
    max_stream_age: after this time, or up to a tenth of it earlier, so that what began together doesn't end together, a stream, a
        connection of `/socket` or a page's wait is ended, cleanly; off by default.
    stop_after: how long stopping waits for streams and observers.
    """

    streams: int = 10_000
    streams_per_address: int | None = None
    streams_per_identity: int | None = None
    subscriptions: int = 100
    catch_up_reads: int = 16
    tail_bytes: int = 16 * 2**20
    frame_bytes: int = 2**16
    page_bytes: int = 2**20
    event_bytes: int = 2**20
    request_bytes: int = 16 * 2**20
    transfer_bytes: int = 256 * 2**20
    lookback: int = 100_000
    page_scan: int = 20_000
    max_lag: int | None = None
    send_timeout: float = 20.0
    unpaced_bytes: int = 4 * 2**20
    max_stream_age: float | None = None
    stop_after: float = 3.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Make limits of some of them by name, as the environment has them. Raises ConfigurationError, also for a name that is none."""
        names = [each.name for each in fields(cls)]
        for name in values:
            if name not in names:
                raise ConfigurationError(f"limits: got {quote(name)}, expected one of {', '.join(names)}")
        return cls(**values)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.name in _OFF:
                continue
            whole = "float" not in str(each.type)
            if (
                isinstance(value, bool)
                or not isinstance(value, int if whole else int | float)
                or not 0 < value < float("inf")
            ):
                takes = f"{'an integer' if whole else 'a number of seconds'} above 0{' or None' if each.name in _OFF else ''}"
                raise ConfigurationError(f"Limits.{each.name}: got {value!r}, expected {takes}")


def check_options(
    *,
    heartbeat: object,
    on_lag: object,
    limits: object,
    switches: Mapping[str, object],
    hooks: Mapping[str, object],
) -> None:
    """Check what a forum is made with, as far as types alone don't say. Raises ConfigurationError for the first that is off."""
    if isinstance(heartbeat, bool) or not isinstance(heartbeat, int | float) or not 0 < heartbeat < math.inf:
        raise ConfigurationError(f"heartbeat: got {heartbeat!r}, expected seconds above 0")
    for setting, switch in switches.items():
        if not isinstance(switch, bool):
            raise ConfigurationError(f"{setting}: got {switch!r}, expected True or False")
    if on_lag not in get_args(OnLag):
        raise ConfigurationError(f"on_lag: got {on_lag!r}, expected one of {', '.join(get_args(OnLag))}")
    if switches["allow_publish"] and hooks["authorize"] is not None and hooks["authorize_publish"] is None:
        raise ConfigurationError(
            "allow_publish with authorize, but without authorize_publish, would let everybody publish: give authorize_publish"
            " (lambda connection, events: True allows all)"
        )
    for setting, hook in hooks.items():
        if hook is not None and not callable(hook):
            raise ConfigurationError(f"{setting}: got {hook!r}, expected a function")
    if limits is not None and not isinstance(limits, Limits):
        raise ConfigurationError(f"limits: got {limits!r}, expected Limits(...)")


_JSON = {
    "allowed_origins": "expected a JSON list of origins",
    "limits": 'expected a JSON object, such as {"streams": 2000}',
}


class ForumSettings(BaseSettings):
    """What `Forum.from_env()` reads: `ASGI_FORUM_SOURCE`, `ASGI_FORUM_NAME`, `ASGI_FORUM_HEARTBEAT`, and so on."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="ASGI_FORUM_", frozen=True)

    source: str = "memory://"
    name: str = "default"
    heartbeat: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 25.0
    retain: Annotated[int, Field(gt=0)] = 100_000
    retain_for: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    on_lag: OnLag = "resume"
    allow_publish: bool = False
    allowed_origins: tuple[str, ...] = ()
    limits: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def read(cls) -> ForumSettings:
        """Read the environment; ConfigurationError names every variable that is off."""
        try:
            return cls()
        except SettingsError as error:  # what is not JSON; the message names the field
            takes = ", ".join(
                f"ASGI_FORUM_{name.upper()}: {kind}" for name, kind in _JSON.items() if f'"{name}"' in str(error)
            )
            raise ConfigurationError(f"{takes} ({error})") from error
        except ValidationError as error:
            faults = [
                f"ASGI_FORUM_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors(include_input=False)
            ]
            raise ConfigurationError("; ".join(faults)) from error
