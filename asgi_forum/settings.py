"""Settings: limits of one forum, and what the environment may set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from asgi_forum.errors import ConfigurationError

__all__ = ["ForumSettings", "Limits", "OnLag"]

OnLag = Literal["resume", "skip", "disconnect"]

_OFF = ("max_lag", "streams_per_address", "max_stream_age")


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The bounds of one forum in one process. Sizes are in bytes, times in seconds; each is positive, None turns off what may be off.

    streams: open streams (SSE, WebSocket, socket, waiting pages) in this process; further ones get a 429.
    streams_per_address: the same per client address; off by default (behind a proxy all clients may share one).
    subscriptions: on one connection of `/socket`.
    tail_bytes: the newest events that are kept encoded for live readers.
    frame_bytes: events in one frame or page; a frame always holds at least one event.
    event_bytes, request_bytes: one event encoded, one publish request.
    lookback: entries that `tail=N` looks back over.
    page_scan: entries that one JSON page examines.
    max_lag: matching events that a live reader may be behind before the slow-client policy applies; None: until it leaves the tail.
    send_timeout: how long a client may accept nothing before its stream is ended. Over SSE that is a piece of about 64 KiB, over a
        WebSocket a whole frame, which can't be cut: `frame_bytes` in that time is what a slow connection must manage.
    max_stream_age: after this time a stream is ended, cleanly; off by default.
    stop_after: how long stopping waits for streams and observers.
    """

    streams: int = 10_000
    streams_per_address: int | None = None
    subscriptions: int = 100
    tail_bytes: int = 16 * 2**20
    frame_bytes: int = 2**20
    event_bytes: int = 2**20
    request_bytes: int = 16 * 2**20
    lookback: int = 100_000
    page_scan: int = 20_000
    max_lag: int | None = None
    send_timeout: float = 60.0
    max_stream_age: float | None = None
    stop_after: float = 3.0

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

    @classmethod
    def read(cls) -> ForumSettings:
        """Read the environment; ConfigurationError names every variable that is off."""
        try:
            return cls()
        except SettingsError as error:  # a list that is not JSON; the message names the field
            raise ConfigurationError(
                f"ASGI_FORUM_ALLOWED_ORIGINS: expected a JSON list of origins ({error})"
            ) from error
        except ValidationError as error:
            faults = [
                f"ASGI_FORUM_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors(include_input=False)
            ]
            raise ConfigurationError("; ".join(faults)) from error
