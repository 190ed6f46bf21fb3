"""What a forum counts, as `stats()` and as Prometheus get it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import anyio
import anyio.lowlevel
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from asgi_forum import ConfigurationError, Forum, Limits
from asgi_forum.metrics import ForumCollector
from asgi_forum.streams.subscription import ForumSubscription
from tests.wire.sources import DistantSource

pytestmark = pytest.mark.anyio

DEADLINE = 10.0


def scraped(*forums: Forum) -> Mapping[str, float]:
    """Ask as Prometheus does; the value of each line, by the line's name with its labels but `forum="default"`."""
    registry = CollectorRegistry()
    registry.register(ForumCollector(*forums))
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            rest = ",".join(f"{key}={value}" for key, value in sample.labels.items() if value != "default")
            found[f"{sample.name}{{{rest}}}" if rest else sample.name] = sample.value
    return found


async def say(forum: Forum, count: int = 1, size: int = 0) -> None:
    """Publish so many events."""
    for _ in range(count):
        await forum.publish(event_type="a.b", ticket="T-1", payload={"text": "x" * size})


async def take(events: ForumSubscription, count: int) -> list[int]:
    """Return the sequences of the next events."""
    with anyio.fail_after(DEADLINE):
        return [(await anext(events)).sequence for _ in range(count)]


async def test_what_is_published_and_delivered_is_counted() -> None:
    """By events, frames and bytes; each live delivery has its delay."""
    async with Forum(handle_signals=False) as forum, forum.subscribe() as events:
        assert await take_nothing(events)
        await say(forum, 3, size=1000)
        await forum.publish(event_type="a.b", ticket="T-1", event_id="twice")
        await forum.publish(event_type="a.b", ticket="T-1", event_id="twice")
        await take(events, 4)
        found = scraped(forum)
        assert found["asgi_forum_events_published_total"] == 4
        assert found["asgi_forum_events_duplicate_total"] == 1
        assert found["asgi_forum_events_delivered_total"] == 4
        assert found["asgi_forum_sent_bytes_total"] > 3000
        assert found["asgi_forum_streams{transport=python}"] == 1
        assert found["asgi_forum_channels"] == 1
        assert found["asgi_forum_tail_bytes"] > 3000
        assert found["asgi_forum_source_up"] == 1
        assert found["asgi_forum_send_delay_seconds_count"] >= 1
        assert found["asgi_forum_send_delay_seconds_bucket{le=+Inf}"] == found["asgi_forum_send_delay_seconds_count"]
        assert 0 < found["asgi_forum_send_delay_seconds_sum"] < DEADLINE


async def take_nothing(events: ForumSubscription) -> bool:
    """Let a subscription find that there is nothing, and be live."""
    with anyio.move_on_after(0.05) as scope:
        await anext(events)
    return scope.cancelled_caught


async def test_the_slowest_is_seen_and_how_it_goes_on() -> None:
    """How far behind it is; that it left the tail, and reads from the source again."""
    limits = Limits(tail_bytes=4096)
    async with (
        Forum(handle_signals=False, limits=limits) as forum,
        forum.subscribe() as slow,
        forum.subscribe(ticket="T-2") as idle,
    ):
        assert await take_nothing(slow)
        assert await take_nothing(idle)
        await say(forum, 50, size=500)
        assert scraped(forum)["asgi_forum_lag_events"] == 50  # the idle one is not behind: nothing was for it
        before = scraped(forum)["asgi_forum_source_reads_total"]
        assert await take(slow, 50) == list(range(1, 51))
        found = scraped(forum)
        assert found["asgi_forum_demotions_total"] == 1
        assert found["asgi_forum_source_reads_total"] > before
        assert found["asgi_forum_lag_events"] == 0


async def test_resets_refusals_and_outages_have_their_labels() -> None:
    """Each reason and code that there was."""
    source = DistantSource()
    async with Forum(source, handle_signals=False) as forum:
        async with forum.subscribe(cursor=99) as events:
            with anyio.fail_after(DEADLINE):
                assert (await anext(events.frames())).type == "forum.reset"
        source.leave()
        with anyio.fail_after(DEADLINE):
            while not forum.stats()["degraded"]:
                await anyio.lowlevel.checkpoint()
        found = scraped(forum)
    assert found["asgi_forum_resets_total{reason=ahead}"] == 1
    assert found["asgi_forum_source_up"] == 0
    assert found["asgi_forum_source_errors_total"] >= 1


async def test_forums_are_told_apart_by_their_names() -> None:
    """Two of one name would be one."""
    one, two = Forum(name="one", handle_signals=False), Forum(name="two", handle_signals=False)
    async with one, two:
        await say(two)
        found = scraped(one, two)
    assert found["asgi_forum_events_published_total{forum=one}"] == 0
    assert found["asgi_forum_events_published_total{forum=two}"] == 1
    with pytest.raises(ConfigurationError, match="each once"):
        ForumCollector(Forum(), Forum())


def test_a_forum_that_has_not_begun_has_no_values() -> None:
    """The collector can be registered before anything runs."""
    assert scraped(Forum()) == {}


def test_without_the_library_the_extra_is_named() -> None:
    """And the rest of the package does without it."""
    program = (
        "import sys\nsys.modules['prometheus_client'] = None\nimport asgi_forum\n"
        "try:\n    import asgi_forum.metrics\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "metrics need prometheus-client: pip install 'asgi-forum[metrics]'", done.stderr
