"""Address: what a forum's URL may be, and the URLs below it."""

from __future__ import annotations

import pytest

from asgi_forum.client.address import Address, filters
from asgi_forum.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "http", "websocket"),
    [
        ("http://h/forum", "http://h/forum/stream", "ws://h/forum/stream"),
        ("http://h/forum/", "http://h/forum/stream", "ws://h/forum/stream"),
        ("HTTPS://h:8443/a/b", "https://h:8443/a/b/stream", "wss://h:8443/a/b/stream"),
        ("http://h", "http://h/stream", "ws://h/stream"),
        (" http://h/f ", "http://h/f/stream", "ws://h/f/stream"),
        ("http://[::1]:80/f", "http://[::1]:80/f/stream", "ws://[::1]:80/f/stream"),
        ("http://h/f?token=a%20b#x", "http://h/f/stream?token=a%20b", "ws://h/f/stream?token=a%20b"),
        ("http://h/ü f", None, None),
        ("http://h/ü", "http://h/%C3%BC/stream", "ws://h/%C3%BC/stream"),
        ("http://me:pass@h/f", "http://me:pass@h/f/stream", "ws://me:pass@h/f/stream"),
    ],
)
def test_addresses_below_the_forum_s(url: str, http: str | None, websocket: str | None) -> None:
    """Host, port, path, query and credentials are kept; the fragment is not."""
    if http is None:
        with pytest.raises(ConfigurationError):
            Address.parse(url)
        return
    address = Address.parse(url)
    assert address.http("/stream") == http
    assert address.websocket("/stream") == websocket


def test_parameters_follow_the_query_that_is_there() -> None:
    """Repeated names stay repeated, and what needs quoting gets it."""
    address = Address.parse("http://h/f?a=1")
    found = filters(ticket=["T 1", "ü&"], run_id="r", event_type=("forum", "x.y"))
    expected = "http://h/f/events?a=1&ticket=T+1&ticket=%C3%BC%26&run_id=r&type=forum&type=x.y"
    assert address.http("/events", found) == expected


def test_no_wish_is_no_parameter() -> None:
    """None, and none at all."""
    assert filters(ticket=None, run_id=(), thread_id=[], event_type=None) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "forum",
        "h:8000/forum",
        "/forum",
        "//h/forum",
        "ws://h/forum",
        "redis://h",
        "http://",
        "http:///forum",
        "http://h:port/",
        "http://h:99999/",
        "http://[::1/",
        "http://a..b/",
        "http://h/a\nb",
    ],
)
def test_what_is_no_forum_s_address_is_refused(url: str) -> None:
    """The message says what is taken."""
    with pytest.raises(ConfigurationError, match="expected the address of a forum, such as 'http://"):
        Address.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@h:1/f",
        "ftp://me:secret@h/f",
        "http://me:secret@/f",
        "http://me:secret/x@h/f",
        "http://me:secret#x@h/f",
        "reddis://me:secret/x@h/0",
    ],
)
def test_credentials_are_never_shown(url: str) -> None:
    """Neither by an address nor by the error about one."""
    try:
        shown = Address.parse(url).shown
    except ConfigurationError as error:
        shown = str(error)
    assert "secret" not in shown
