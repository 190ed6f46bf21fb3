"""URLs: what they may say, what is refused when a source is made, and that no refusal shows a password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asgi_forum.errors import ConfigurationError
from asgi_forum.sources import SourceOptions
from asgi_forum.sources.redis import RedisSource
from asgi_forum.sources.redis.urls import Where, read_url
from asgi_forum.sources.registry import open_url

SECRET = "s3cret"

RAW = [
    f"redis://user:{SECRET}/part@host:6379/0",
    f"redis://user:12/{SECRET}@host:6379/0",
    f"redis://:{SECRET}#x@host/0",
    f"redis://:12#{SECRET}@host/0",
    f"redis://:12?{SECRET}@host/0",
    f"redis://:12?{SECRET}=1@host/0",
    f"redis://:12?timeout={SECRET}@host/0",
    f"redis://:12?db={SECRET}@host/0",
    f"redis://:{SECRET}[@host/0",
    f"redis://user:[{SECRET}]@host/0",
    f"redis://:{SECRET}]@host/0",
    f"unix://:12/{SECRET}@/run/redis.sock",
    f"redis+sentinel://user:{SECRET}/part@host:26379/service",
    f"redis+sentinel://user:12/{SECRET}@host:26379/service",
    f"redis+sentinel://host/service/{SECRET}",
    f"redis+cluster://user:{SECRET}/part@host:6379",
    f"redis+cluster://user:12/{SECRET}@host:6379",
    f"redis+cluster://user:{SECRET}]@host:6379",
]
"""What a password that was not percent-encoded makes of a URL: its pieces stand where hosts, paths and options do."""


@pytest.mark.parametrize("url", RAW)
def test_a_password_that_is_not_encoded_is_refused_unseen(url: str) -> None:
    """No piece of it is taken for a host, nor shown; the message says what to do."""
    with pytest.raises(
        ConfigurationError, match=r"URL is off: .*percent-encoded|expected a number|options: db$"
    ) as caught:
        open_url(url, SourceOptions())
    assert SECRET not in f"{caught.value} {caught.value!r}"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://h/0?foo=1&bar=2", "redis-py has no option foo, bar for it"),
        ("redis+cluster://h?foo=1", "no option foo"),
        ("redis+sentinel://h/s?foo=1", "no option foo"),
        ("redis+sentinel://h/s?sentinel_foo=1", "no option sentinel_foo"),
        ("redis://h/0?protocol=4", "one of these options: protocol"),
        ("redis://h/0?protocol=abc", "one of these options: protocol"),
        ("redis+sentinel://h/s?sentinel_protocol=4", "one of these options: sentinel_protocol"),
        ("redis://h/0?db=abc", "one of these options: db"),
        ("rediss://h/0?ssl_cert_reqs=foo", "one of these options: ssl_cert_reqs"),
        ("redis://h/abc", "expected nothing but a database's number after the host"),
        ("redis://h:99999/0", "its host, port or path can't be read"),
        ("redis+cluster://h/3", "a Redis Cluster has the database 0 only"),
        ("redis+cluster://h?db=3", "a Redis Cluster has the database 0 only"),
        ("redis+cluster://", "expected HOST:PORT"),
        ("redis+sentinel://h", "expected redis\\+sentinel://HOST:PORT"),
        ("redis+sentinel://h/s/1/2", "expected redis\\+sentinel://HOST:PORT"),
        ("redis+sentinel://h/s/1?db=2", "it names two databases"),
        ("redis+other://h", "a URL of the scheme 'redis\\+other'"),
    ],
)
def test_what_is_off_is_told_at_once(url: str, reason: str) -> None:
    """When the source is made, not when it is first used."""
    with pytest.raises(ConfigurationError, match=reason):
        RedisSource(url)


@pytest.mark.parametrize(
    "setting",
    [
        "wait_replicas=nan",
        "wait_replicas=inf",
        "wait_replicas=1.5",
        "wait_replicas=-1",
        "retain_for=0.0004",
        "remember=1e300",
    ],
)
def test_a_setting_that_means_nothing_is_refused(setting: str) -> None:
    """Seconds that a script would take for none, and counts that are none."""
    with pytest.raises(ConfigurationError, match=f"^{setting.partition('=')[0]}: got "):
        RedisSource(f"redis://h/0?{setting}")


@pytest.mark.parametrize("count", ["2", None, True, 0.5])
def test_a_count_is_a_whole_number(count: Any) -> None:
    """Also where it is no number at all."""
    with pytest.raises(ConfigurationError, match=r"^wait_replicas: got "):
        RedisSource("redis://h/0", wait_replicas=count)


def read(url: str) -> Where:
    """Read a URL."""
    return read_url(url, 1.0)


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_an_ipv6_address_stands_in_brackets(scheme: str) -> None:
    """Of a Cluster's nodes and of Sentinels, as of one server."""
    assert read(f"{scheme}://[::1]:7/0").options["host"] == "::1"
    assert read(f"{scheme}+cluster://u:p@[::1]:7,[fe80::1]").hosts == [("::1", 7), ("fe80::1", 6379)]
    assert read(f"{scheme}+sentinel://[::1],h:7/s").hosts == [("::1", 26379), ("h", 7)]


@pytest.mark.parametrize("url", ["redis+sentinel://h/s/3", "redis+sentinel://h/s?db=3", "redis+sentinel://h/s/3?db=3"])
def test_a_database_behind_sentinels_is_named_either_way(url: str) -> None:
    """In the path, as here, or in the query, as redis-py knows it."""
    assert (read(url).service, read(url).options["db"]) == ("s", 3)


def test_a_password_may_hold_anything() -> None:
    """Percent-encoded."""
    for scheme, rest in (
        ("redis", "h/0"),
        ("unix", "/run/a@b.sock"),
        ("redis+cluster", "h"),
        ("redis+sentinel", "h/s"),
    ):
        assert read(f"{scheme}://u:%2F%3F%23%5B%5D%40@{rest}").options["password"] == "/?#[]@"
    assert read("redis://h/0?password=p%40ss").options["password"] == "p@ss"


def test_the_limit_of_connections_is_the_forums_own() -> None:
    """What redis-py's URLs may say of it is no mistake."""
    assert "max_connections" not in read("redis://h/0?max_connections=10").options


def test_sentinels_have_a_user_of_their_own() -> None:
    """The server's is not told to them; what says how to prove who a server is holds for both."""
    where = read("rediss+sentinel://u:p@h/s?sentinel_username=su&sentinel_password=sp&ssl_cert_reqs=none")
    assert (where.options["username"], where.options["password"]) == ("u", "p")
    assert (where.sentinel["username"], where.sentinel["password"]) == ("su", "sp")
    assert where.sentinel["ssl_cert_reqs"] == "none"
    assert (
        read("rediss+sentinel://h/s?ssl_cert_reqs=none&sentinel_ssl_cert_reqs=required").sentinel["ssl_cert_reqs"]
        == "required"
    )


@pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster", "rediss+sentinel"])
@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, scheme: str, name: str) -> None:
    """A certificate, or its key."""
    path = tmp_path / "missing.pem"
    with pytest.raises(ConfigurationError, match=rf"URL is off: {name}: {path}: No such file"):
        RedisSource(f"{scheme}://h/s?{name}={path}" if "sentinel" in scheme else f"{scheme}://h?{name}={path}")


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    """As early."""
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with pytest.raises(ConfigurationError, match="certificates, or their key, are of no use: "):
        RedisSource(f"rediss://h/0?ssl_ca_certs={path}")
