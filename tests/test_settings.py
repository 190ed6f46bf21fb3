"""Settings: what is off is told when it is set, by its name, and not later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from pydantic import ValidationError

from asgi_forum import ConfigurationError, Limits
from asgi_forum.settings import ForumSettings

WHOLE = [each.name for each in fields(Limits) if "int" in str(each.type)]
SECONDS = [each.name for each in fields(Limits) if "float" in str(each.type)]
OFF = ["max_lag", "streams_per_address", "streams_per_identity", "max_stream_age"]


def limits(**values: Any) -> Limits:
    """Make limits of what somebody without a type checker may give."""
    return Limits(**values)


def test_the_defaults_pass() -> None:
    """A forum without settings has limits, and those that may be off are off."""
    assert {name for name in (*WHOLE, *SECONDS) if getattr(Limits(), name) is None} == set(OFF)


@pytest.mark.parametrize("name", [*WHOLE, *SECONDS])
@pytest.mark.parametrize("value", [0, -1, 0.0, float("nan"), float("inf"), float("-inf"), True, False, "5", [5]])
def test_a_limit_that_is_off_is_refused(name: str, value: Any) -> None:
    """Zero, less, no number at all, or none that means anything; the message names the limit and what it got."""
    with pytest.raises(
        ConfigurationError, match=rf"^Limits\.{name}: got .+, expected (an integer|a number of seconds) above 0"
    ):
        limits(**{name: value})


@pytest.mark.parametrize("name", [*WHOLE, *SECONDS])
def test_only_some_limits_may_be_off(name: str) -> None:
    """None turns off what the documentation says, and is refused elsewhere: no bound of memory can be lost by it."""
    if name in OFF:
        assert getattr(limits(**{name: None}), name) is None
    else:
        with pytest.raises(ConfigurationError, match=rf"^Limits\.{name}: got None, expected .+ above 0$"):
            limits(**{name: None})


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_counted_is_whole(name: str) -> None:
    """There is no half event; the least is one."""
    assert getattr(limits(**{name: 1}), name) == 1
    with pytest.raises(ConfigurationError, match="an integer above 0"):
        limits(**{name: 1.5})


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0.001, 1, 2.5])
def test_times_are_seconds(name: str, value: float) -> None:
    """Fractions are allowed, and so are whole numbers."""
    assert getattr(limits(**{name: value}), name) == value


def test_limits_are_frozen() -> None:
    """A forum's limits don't change under it."""
    with pytest.raises(FrozenInstanceError):
        Limits().streams = 5  # type: ignore[misc]  # what is tested


ENVIRONMENTS: dict[str, dict[str, str]] = {
    "nothing": {},
    "everything": {
        "SOURCE": "other://x",
        "NAME": "board",
        "HEARTBEAT": "2.5",
        "RETAIN": "10",
        "ON_LAG": "skip",
        "ALLOW_PUBLISH": "true",
        "ALLOWED_ORIGINS": '["https://a.example"]',
    },
    "faults": {"HEARTBEAT": "0", "RETAIN": "many", "ON_LAG": "wait", "ALLOW_PUBLISH": "perhaps"},
    "no list": {"ALLOWED_ORIGINS": "https://a.example"},
    "half a list": {"ALLOWED_ORIGINS": "["},
    "an object": {"ALLOWED_ORIGINS": "{}"},
    "a number": {"ALLOWED_ORIGINS": "5"},
    "no object": {"LIMITS": "streams=5"},
    "a list": {"LIMITS": "[5]"},
}
"""What a process may find in its environment, each name without `ASGI_FORUM_`."""

PROGRAM = """
import json, os, sys
from asgi_forum import ConfigurationError
from asgi_forum.settings import ForumSettings

for environment in json.load(sys.stdin):
    own = {f"ASGI_FORUM_{name}": value for name, value in environment.items()}
    os.environ.update(own)
    try:
        print(repr(ForumSettings.read()))
    except ConfigurationError as error:
        print("refused:", error)
    for name in own:
        del os.environ[name]
"""


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    """What a process makes of each environment: its settings, or the error's message."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("ASGI_FORUM_")}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(list(ENVIRONMENTS.values())),
        env=inherited,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stderr == ""
    return dict(zip(ENVIRONMENTS, run.stdout.splitlines(), strict=True))


def test_an_empty_environment_means_the_defaults(told: dict[str, str]) -> None:
    """Nothing has to be set."""
    assert told["nothing"] == repr(ForumSettings())


def test_the_environment_sets_what_it_names(told: dict[str, str]) -> None:
    """Each by its name behind `ASGI_FORUM_`, in the forms that an environment has."""
    assert told["everything"] == repr(
        ForumSettings(
            source="other://x",
            name="board",
            heartbeat=2.5,
            retain=10,
            on_lag="skip",
            allow_publish=True,
            allowed_origins=("https://a.example",),
        )
    )


def test_every_variable_that_is_off_is_named(told: dict[str, str]) -> None:
    """One error for all of them, in one line, and no traceback of a library."""
    assert told["faults"].startswith("refused:")
    for name in ENVIRONMENTS["faults"]:
        assert f"ASGI_FORUM_{name}: " in told["faults"]


@pytest.mark.parametrize("name", ["no list", "half a list", "an object", "a number"])
def test_a_list_that_is_off_is_named_too(told: dict[str, str], name: str) -> None:
    """A variable that should hold a JSON list, and holds something else."""
    assert told[name].startswith("refused:")
    assert "ASGI_FORUM_ALLOWED_ORIGINS" in told[name]


@pytest.mark.parametrize("name", ["no object", "a list"])
def test_limits_that_are_no_object_are_named_too(told: dict[str, str], name: str) -> None:
    """A variable that should hold a JSON object, and holds something else."""
    assert told[name].startswith("refused:")
    assert "ASGI_FORUM_LIMITS" in told[name]


def test_limits_have_names() -> None:
    """Any of them may be given; one that is none of them is named, with those that are."""
    assert Limits.of({"streams": 5, "max_lag": None}) == Limits(streams=5)
    assert Limits.of({}) == Limits()
    with pytest.raises(ConfigurationError, match=r"got 'stream', expected one of streams, .*stop_after"):
        Limits.of({"stream": 5})
    with pytest.raises(ConfigurationError, match=r"Limits.streams: got 0"):
        Limits.of({"streams": 0})


@pytest.mark.parametrize(
    "given",
    [
        {"heartbeat": 0},
        {"heartbeat": float("nan")},
        {"heartbeat": float("inf")},
        {"retain": 0},
        {"retain": 1.5},
        {"on_lag": "x"},
        {"allowed_origins": "*"},
    ],
)
def test_a_setting_that_is_off_is_refused(given: dict[str, Any]) -> None:
    """The same checks, whoever sets it."""
    with pytest.raises(ValidationError):
        ForumSettings(**given)
