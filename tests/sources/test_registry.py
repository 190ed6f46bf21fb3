"""From a URL to a source: what is registered, and what is refused."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import pytest

from asgi_forum.errors import ConfigurationError
from asgi_forum.sources import MemorySource, SourceOptions
from asgi_forum.sources.registry import GROUP, open_url


def test_memory_is_a_source() -> None:
    """The embedded log, with the forum's own settings."""
    source = open_url("memory://", SourceOptions(retain=7))
    assert isinstance(source, MemorySource)


def test_a_scheme_is_an_entry_point() -> None:
    """Ours stands in the same group as anybody's, and leads to the same source."""
    (point,) = entry_points(group=GROUP, name="memory")
    assert isinstance(point.load()("memory://", SourceOptions()), MemorySource)


@pytest.mark.parametrize(
    "url", ["", "memory", "memory:", "nothing://", "://", "MEMORY://", " memory://", "nothing://user:secret@host/0"]
)
def test_a_scheme_that_nobody_registered_is_refused(url: str) -> None:
    """The message lists what there is, and shows no password of the URL."""
    with pytest.raises(ConfigurationError, match="memory://") as caught:
        open_url(url, SourceOptions())
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["secret", "//secret", "me:secret@host", "secret!://host", "Secret://host", "1secret://"]
)
def test_only_a_scheme_is_shown_as_one(url: str) -> None:
    """Whatever else stands where a URL has its scheme may be of a password."""
    with pytest.raises(ConfigurationError, match="a URL without a scheme") as caught:
        open_url(url, SourceOptions())
    assert "secret" not in caught.value.message.lower()


def test_what_a_source_refuses_is_refused() -> None:
    """The rest of the URL is the source's own affair."""
    with pytest.raises(ConfigurationError, match="memory://x"):
        open_url("memory://x", SourceOptions())


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "x" * 64])
def test_a_name_fits_into_a_key(name: str) -> None:
    """1 to 64 of the characters of section 11."""
    assert SourceOptions(name).name == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a/b", "{a}", "ü", "a\n", 5, None])
def test_another_name_is_refused(name: Any) -> None:
    """It would become part of a key, of an address, or of neither."""
    with pytest.raises(ConfigurationError, match=r"^name: got "):
        SourceOptions(name)


@pytest.mark.parametrize("retain", [0, -1, 1.5, "5", True, None])
def test_a_number_to_retain_is_above_0(retain: Any) -> None:
    """A whole number, one at least."""
    with pytest.raises(ConfigurationError, match=r"^retain: got "):
        SourceOptions(retain=retain)
