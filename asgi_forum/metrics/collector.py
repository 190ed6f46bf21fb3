"""What forums count, as families of metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from asgi_forum.app import Forum
from asgi_forum.errors import ConfigurationError
from asgi_forum.hub.hub import BUCKETS

__all__ = ["ForumCollector"]

_COUNTERS = {
    "published": ("events_published", "Events that this process has appended to the log."),
    "duplicates": ("events_duplicate", "Events that were published, and were there already."),
    "delivered": ("events_delivered", "Events in frames, for each stream that they were sent to."),
    "frames": ("frames_sent", "Frames that streams have been given, heartbeats included."),
    "bytes": ("sent_bytes", "Bytes of JSON in these frames."),
    "source_reads": ("source_reads", "Reads of the source for those who catch up; shared ones count once."),
    "demotions": ("demotions", "Live streams that fell behind the tail, and went on from the source."),
    "source_errors": ("source_errors", "How often the live feed, or the first contact, has failed."),
    "observer_errors": ("observer_errors", "Observers' calls that raised."),
    "observer_skips": ("observer_skips", "How often an observer fell out of retention."),
    "observer_stalls": ("observer_stalls", "Observers' calls that did not come back in time."),
}
_BY = {
    "resets": ("resets", "reason", "Streams that were told that events can't be delivered."),
    "refusals": ("refusals", "code", "Requests, subscriptions and messages that were refused."),
    "endings": ("streams_ended", "code", "Streams that were ended by the server."),
    "limits": ("limit_hits", "limit", "How often a limit was reached, by its name in Limits."),
}
_GAUGES = {
    "lag_events": ("lag", "Entries between the newest one and the position of the slowest reader."),
    "catch_up_reads": ("catch_up_reads", "Reads of the source that are under way, or wait for their turn."),
    "channels": ("channels", "Different filters that are being read with."),
    "tail_bytes": ("tail_bytes", "Bytes of the newest events that are kept for live streams."),
    "transfer_bytes": ("transfer_bytes", "Bytes of requests and pages that are under way."),
}


class ForumCollector(Collector):
    """
    The counters of one or more forums of this process, read when Prometheus asks; the label `forum` is its name.

    All labels are bounded: names of forums, transports, codes and reasons. What a forum has counted begins at 0 when it starts.
    Raises ConfigurationError where two forums have one name.
    """

    def __init__(self, *forums: Forum) -> None:
        names = [forum.name for forum in forums]
        if len(set(names)) < len(names):
            raise ConfigurationError(f"ForumCollector: got the names {names}, expected each once: Forum(..., name=...)")
        self._forums = forums

    def describe(self) -> Iterator[Metric]:
        """Return the metrics without values: asked once, when it is registered."""
        return iter(self._families({}))

    def collect(self) -> Iterator[Metric]:
        """Return the metrics of now. For any thread."""
        return iter(self._families({forum.name: stats for forum in self._forums if (stats := forum.stats())}))

    def _families(self, found: Mapping[str, Mapping[str, Any]]) -> list[Metric]:
        families: list[Metric] = []
        for key, (name, text) in _COUNTERS.items():
            counter = CounterMetricFamily(f"asgi_forum_{name}", text, labels=["forum"])
            for forum, stats in found.items():
                counter.add_metric([forum], stats[key])
            families.append(counter)
        for key, (name, label, text) in _BY.items():
            counter = CounterMetricFamily(f"asgi_forum_{name}", text, labels=["forum", label])
            for forum, stats in found.items():
                for value, count in stats[key].items():
                    counter.add_metric([forum, value], count)
            families.append(counter)
        for name, (key, text) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"asgi_forum_{name}", text, labels=["forum"])
            for forum, stats in found.items():
                gauge.add_metric([forum], stats[key])
            families.append(gauge)
        up = GaugeMetricFamily("asgi_forum_source_up", "Whether the source can be reached.", labels=["forum"])
        streams = GaugeMetricFamily("asgi_forum_streams", "Open streams.", labels=["forum", "transport"])
        text = "Seconds from an event's arrival in this process until it was sent to a live stream."
        delays = HistogramMetricFamily("asgi_forum_send_delay_seconds", text, labels=["forum"])
        for forum, stats in found.items():
            up.add_metric([forum], 0 if stats["degraded"] else 1)
            for transport in ("sse", "websocket", "page", "python"):
                streams.add_metric([forum, transport], stats["streams"].get(transport, 0))
            counts = accumulate(stats["delays"]["counts"])
            bounds = [*map(str, BUCKETS), "+Inf"]
            buckets = list(zip(bounds, counts, strict=True))
            delays.add_metric([forum], buckets=buckets, sum_value=stats["delays"]["seconds"])
        return [*families, up, streams, delays]
