"""When a heartbeat is due."""

from __future__ import annotations

from asgi_forum.streams.heartbeat import Heartbeat


def test_a_heartbeat_is_due_after_an_interval_of_silence() -> None:
    """Counted from the stream's beginning, and from each frame that is sent, heartbeats included."""
    beat = Heartbeat(25.0, now=100.0)
    assert beat.due == 125.0
    beat.frame_sent(now=120.0)
    assert beat.due == 145.0
    beat.frame_sent(now=145.5)
    assert beat.due == 170.5
