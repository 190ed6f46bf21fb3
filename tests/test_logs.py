"""Logs: each record names its event in a field, and what is logged stands in the docs."""

from __future__ import annotations

import logging
import re

import pytest

from asgi_forum.logs import event_logger
from tests.docs.pages import ROOT

NAME = re.compile(r"asgi_forum\.[a-z_]+")


def test_a_record_names_its_event(caplog: pytest.LogCaptureFixture) -> None:
    """As a field that a formatter can show, beside the text, and with the fields that the caller has."""
    log = event_logger("asgi_forum.tests")
    log.warning("asgi_forum.source_lost: %s", "no route", extra={"attempt": 3})
    log.error("asgi_forum.read_failed")
    one, two = caplog.records
    assert (one.name, one.getMessage(), one.__dict__["event"], one.__dict__["attempt"], one.funcName) == (
        "asgi_forum.tests",
        "asgi_forum.source_lost: no route",
        "asgi_forum.source_lost",
        3,
        "test_a_record_names_its_event",
    )
    assert (two.levelno, two.__dict__["event"]) == (logging.ERROR, "asgi_forum.read_failed")


def test_every_event_is_in_the_docs() -> None:
    """By its name; and the docs name none that there is not."""
    logged = set[str]()
    for path in (ROOT / "asgi_forum").rglob("*.py"):
        for call in re.findall(r"logger\.\w+\(\s*f?\"(asgi_forum\.[a-z_{}]+)", path.read_text()):
            logged |= {call.replace("{phase}", phase) for phase in ("startup", "shutdown")}
    page = (ROOT / "docs" / "production.md").read_text()
    section = page[page.index("## Logs") :]
    section = section[: section.find("\n## ", 4)] if "\n## " in section[4:] else section
    documented = {f"asgi_forum.{name}" for name in re.findall(r"`([a-z]+_[a-z_]+|stopped)`", section)} - {
        "asgi_forum.asgi_forum"
    }
    assert logged == documented
