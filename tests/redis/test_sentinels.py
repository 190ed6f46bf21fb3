"""Sentinels: whom they name is believed, what they refuse is told, and nothing that goes wrong shows a password."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest
from redis.asyncio import Sentinel

from asgi_forum.errors import ConfigurationError, ForumError, SourceUnavailable
from asgi_forum.sources.redis import RedisSource
from tests.events import entries
from tests.redis.groups import SERVICE, sentinel
from tests.redis.servers import RedisServer, free_port, running, wait_until
from tests.redis.test_source import opened

pytestmark = pytest.mark.anyio

SECRET = "s3cret"


@pytest.fixture(scope="module")
def guarded(redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Sentinel with a password, a user who may not ask it anything, and one who may ask what docs/redis.md lists."""
    users = ("user mute on >right +client|setname", "user asking on >right +client|setname +sentinel|master")
    with sentinel(redis_server.port, "requirepass right", *users) as server:
        yield server


@pytest.fixture(scope="module")
def watching(redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Sentinel that answers anybody."""
    with sentinel(redis_server.port) as server:
        yield server


def url_of(*ports: int, query: str = "") -> str:
    """Where these Sentinels are asked, with a password for the master."""
    return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{SERVICE}?timeout=2{query}"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """All that a traceback of an error would show."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def failed(url: str) -> ForumError:
    """Return the error with which a source does not open; nothing of it shows a secret."""
    source = RedisSource(url, name="sentinels")
    with pytest.raises((SourceUnavailable, ConfigurationError)) as caught:
        await source.open()
    await source.close()
    assert SECRET not in " ".join(f"{each} {each!r}" for each in chain(caught.value))
    return caught.value


async def test_sentinels_that_are_away_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """With what went wrong, in short; passwords are not."""
    caplog.set_level(logging.DEBUG, "asgi_forum")
    one, two = free_port(), free_port()
    error = await failed(url_of(one, two, query=f"&sentinel_username=u&sentinel_password={SECRET}"))
    assert str(error) == (
        f"Redis can't be reached: no Sentinel has a master for '{SERVICE}': 127.0.0.1:{one} (ConnectionRefusedError),"
        f" 127.0.0.1:{two} (ConnectionRefusedError)"
    )
    assert SECRET not in caplog.text


async def test_a_service_that_a_sentinel_does_not_know_is_told(watching: RedisServer) -> None:
    """In its own words."""
    error = await failed(url_of(watching.port).replace(f"/{SERVICE}", "/other"))
    assert "'other'" in str(error)
    assert "No such master" in str(error)


async def test_a_master_that_is_down_is_not_asked() -> None:
    """Nor believed to be the one."""
    with running() as master, sentinel(master.port) as server:
        async with opened(master, url=url_of(server.port)) as source:
            await source.publish(entries(1))
        master.kill()
        wait_until(lambda: b"s_down" in server.command("SENTINEL", "MASTER", SERVICE))
        assert "it is down" in str(await failed(url_of(server.port)))


@pytest.mark.parametrize(
    "query", ["", f"&sentinel_password={SECRET}", f"&sentinel_username=u&sentinel_password={SECRET}"]
)
@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_password_that_a_sentinel_refuses_is_told_at_the_start(
    guarded: RedisServer, query: str, protocol: int
) -> None:
    """Wrong, or missing; also where another Sentinel is away."""
    query = f"{query}&protocol={protocol}&sentinel_protocol={protocol}"
    for ports in ((guarded.port,), (guarded.port, free_port())):
        error = await failed(url_of(*ports, query=query))
        assert isinstance(error, ConfigurationError)
        assert f"refuses the user or password of the source: the Sentinel at 127.0.0.1:{guarded.port}" in str(error)


async def test_a_sentinels_user_who_may_not_ask_is_told_at_the_start(guarded: RedisServer) -> None:
    """With the command that is missing."""
    error = await failed(url_of(guarded.port, query="&sentinel_username=mute&sentinel_password=right"))
    assert isinstance(error, ConfigurationError)
    assert f"does not permit what a forum needs (see docs/redis.md): the Sentinel at 127.0.0.1:{guarded.port}" in str(
        error
    )
    assert "sentinel|master" in str(error)


@pytest.mark.parametrize("user", ["", "&sentinel_username=asking"])
@pytest.mark.parametrize("protocol", [2, 3])
async def test_the_right_password_is_taken(
    guarded: RedisServer, redis_server: RedisServer, user: str, protocol: int
) -> None:
    """Of the Sentinel; the master has none."""
    url = url_of(guarded.port, query=f"{user}&sentinel_password=right&sentinel_protocol={protocol}")
    async with opened(redis_server, url=url) as source:
        assert (await source.publish(entries(1)))[0].sequence == 1


async def test_a_sentinel_that_refuses_is_passed_over(
    guarded: RedisServer, watching: RedisServer, redis_server: RedisServer
) -> None:
    """As long as another answers."""
    async with opened(redis_server, url=url_of(guarded.port, watching.port)) as source:
        assert (await source.publish(entries(1)))[0].sequence == 1


def sentinel_client(*ports: int, **settings: Any) -> tuple[Any, Any]:
    """An app's own Sentinel, and its client for the master."""
    manager = cast("Any", Sentinel)([("127.0.0.1", port) for port in ports], **settings)
    return manager, manager.master_for(SERVICE)


async def test_closing_leaves_the_apps_own_sentinels_alone(watching: RedisServer) -> None:
    """It may listen to them."""
    manager, client = sentinel_client(watching.port)
    listener = manager.sentinels[0].pubsub()
    await listener.subscribe("+switch-master")
    source = RedisSource(client, name="listening")
    await source.open()
    await source.close()
    assert listener.connection.is_connected
    await listener.aclose()
    await client.aclose()
    await manager.sentinels[0].aclose()


async def test_an_apps_own_sentinel_is_asked_as_the_app_does(guarded: RedisServer, redis_server: RedisServer) -> None:
    """With its password; and it is not believed where the app would not believe it."""
    manager, client = sentinel_client(guarded.port, sentinel_kwargs={"password": "right"})
    async with opened(redis_server, url=client) as source:
        await source.publish(entries(1))
    doubtful, another = sentinel_client(guarded.port, sentinel_kwargs={"password": "right"}, min_other_sentinels=1)
    source = RedisSource(another)
    with pytest.raises(SourceUnavailable, match="the Sentinel is alone"):
        await source.open()
    await source.close()
    for each in (client, another, *manager.sentinels, *doubtful.sentinels):
        await each.aclose()
