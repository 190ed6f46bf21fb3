"""Section 3 and 6 to 10, a source that goes away: streams stay, go on without loss, and nobody is told a lie."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from asgi_forum import ForumEvent
from asgi_forum.sources import MemorySource
from tests.wire.conftest import OpenBoard
from tests.wire.host import TYPE, Board
from tests.wire.readers import TRANSPORTS, Frame, Reader, SocketReader, SseReader, Transport, open_websocket
from tests.wire.sources import DistantSource, HistorySource


def draft(**fields: Any) -> ForumEvent:
    """An event for a log that is written to behind the forum's back."""
    return ForumEvent.model_validate({"event_type": TYPE, "ticket": "T-1", **fields})


@pytest.fixture
def source() -> DistantSource:
    """A log behind a network that works."""
    return DistantSource()


@pytest.fixture
def distant(open_board: OpenBoard, source: DistantSource) -> Board:
    """A forum on that log, with quick heartbeats."""
    return open_board(source, heartbeat=0.2, allow_publish=True)


def until_degraded(reader: Reader) -> Frame:
    """Read up to the first heartbeat that says so."""
    while not (beat := reader.until("heartbeat")).get("degraded"):
        pass
    return beat


def until_well(reader: Reader) -> Frame:
    """Read up to the first heartbeat that says nothing of it."""
    while (beat := reader.until("heartbeat")).get("degraded"):
        pass
    return beat


def numbers(reader: Reader) -> list[int]:
    """The sequences of all events that a reader got."""
    return [event["sequence"] for event in reader.events]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_open_stream_outlives_an_outage(distant: Board, source: DistantSource, transport: Transport) -> None:
    """Heartbeats are `degraded: true` meanwhile; what others published comes afterwards, once and in order."""
    distant.fill(2)
    reader = distant.live(transport, cursor="earliest")
    for round_ in range(3):
        distant.host.call(source.leave)
        beat = until_degraded(reader)
        assert beat["degraded"] is True
        assert distant.host.run(source.append(draft(), draft()))[0].sequence == 3 + round_ * 3
        assert until_degraded(reader)["next_cursor"] == beat["next_cursor"]
        distant.host.call(source.come_back)
        reader.take_to(4 + round_ * 3)
        distant.fill(1)
        reader.take_to(5 + round_ * 3)
        assert "degraded" not in until_well(reader)
    assert numbers(reader) == list(range(1, 12))
    assert reader.of("forum.reset") == []
    assert len(reader.of("forum.live")) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_news_of_an_outage_comes_at_once(open_board: OpenBoard, transport: Transport) -> None:
    """A heartbeat comes when the outage begins and when it ends, long before one is due."""
    source = DistantSource()
    board = open_board(source, heartbeat=60)
    reader = board.live(transport)
    for _ in range(2):
        board.host.call(source.leave)
        assert reader.next()["degraded"] is True
        board.host.call(source.come_back)
        back = reader.next()
        assert (back["type"], back.get("degraded")) == ("heartbeat", None)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cursor_from_an_outage_is_safe(distant: Board, source: DistantSource, transport: Transport) -> None:
    """The position of a degraded heartbeat lies before what was published meanwhile."""
    distant.fill(2)
    reader = distant.live(transport, cursor="earliest")
    distant.host.call(source.leave)
    cursor = until_degraded(reader)["next_cursor"]
    reader.close()
    distant.host.run(source.append(draft(), draft()))
    distant.host.call(source.come_back)
    again = distant.open(transport, cursor=cursor)
    assert [event["sequence"] for event in again.take_to(4)] == [3, 4]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("start", ["cursor", "earliest", "number"])
def test_a_stream_may_be_opened_during_an_outage(
    distant: Board, source: DistantSource, transport: Transport, start: str
) -> None:
    """It has degraded heartbeats, begins where it was asked to when the source is back, and is live when it has caught up."""
    receipt = distant.fill(3)[0]
    distant.host.call(source.leave)
    cursor = {"cursor": receipt.cursor, "earliest": "earliest", "number": "1"}[start]
    reader = distant.open(transport, cursor=cursor)
    beat = until_degraded(reader)
    if start == "cursor":
        assert beat["next_cursor"] == receipt.cursor
    distant.host.run(source.append(draft()))
    distant.host.call(source.come_back)
    reader.until("forum.live")
    assert numbers(reader) == ([1, 2, 3, 4] if start == "earliest" else [2, 3, 4])
    assert {frame["type"] for frame in reader.frames} <= {"heartbeat", "forum.events", "forum.live"}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("params", "expected"), [({}, [5]), ({"cursor": "latest"}, [5]), ({"tail": 2}, [3, 4, 5]), ({"tail": 0}, [5])]
)
def test_latest_is_fixed_at_the_first_contact(
    open_board: OpenBoard, transport: Transport, params: dict[str, Any], expected: list[int]
) -> None:
    """Until the source is reached frames have no position (and SSE messages no id); then it is the end of that moment."""
    source = DistantSource(away=True)
    board = open_board(source, heartbeat=0.1)
    reader = board.open(transport, **params)
    for _ in range(2):
        assert "next_cursor" not in until_degraded(reader)
    if isinstance(reader, SseReader):
        assert {message.id for message in reader.messages} == {None}
    board.host.run(source.append(*[draft()] * 4))
    board.host.call(source.come_back)
    live = reader.until("forum.live")
    assert live["next_cursor"]
    board.fill(1)
    reader.take_to(5)
    assert numbers(reader) == expected


def test_the_position_of_a_subscription_is_left_out_while_it_is_not_known(open_board: OpenBoard) -> None:
    """`subscribed` has no next_cursor where `latest` can't be told yet."""
    board = open_board(DistantSource(away=True), heartbeat=0.1)
    reader = board.open("socket")
    assert isinstance(reader, SocketReader)
    assert reader.subscribed == {"type": "subscribed"}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_log_that_was_replaced_is_told_to_open_streams(
    distant: Board, source: DistantSource, transport: Transport
) -> None:
    """A stream learns that its log is gone, is live again, and goes on with the new one from its beginning."""
    distant.fill(3)
    reader = distant.live(transport, cursor="earliest")
    cursor = reader.frames[-1]["next_cursor"]
    distant.host.call(source.leave)
    until_degraded(reader)
    distant.host.call(source.replace)
    distant.host.run(source.append(draft(), draft()))
    distant.host.call(source.come_back)
    assert reader.until("forum.reset")["reason"] == "replaced"
    reader.take_to(2)
    reader.until("forum.live")
    distant.fill(1)
    assert [event["sequence"] for event in reader.take(1)] == [3]
    assert len(reader.of("forum.reset")) == 1
    assert distant.get(cursor=cursor).json()["error"]["reason"] == "replaced"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_was_trimmed_during_an_outage_is_told(open_board: OpenBoard, transport: Transport) -> None:
    """Too much came while the source was away: a reset, then what is retained."""
    source = DistantSource(MemorySource(retain=5))
    board = open_board(source, heartbeat=0.1)
    board.fill(3)
    reader = board.live(transport, cursor="earliest")
    board.host.call(source.leave)
    until_degraded(reader)
    board.host.run(source.append(*[draft()] * 20))
    board.host.call(source.come_back)
    reset = reader.until("forum.reset")
    assert reset["reason"] == "trimmed"
    reader.until("forum.live")
    assert numbers(reader) == [1, 2, 3, *range(19, 24)]
    assert board.sequences(cursor=reset["next_cursor"]) == [19, 20, 21, 22, 23]


@pytest.mark.parametrize("query", ["", "?cursor=latest", "?wait=5&cursor=latest", "?tail=3"])
def test_pages_answer_503_meanwhile(distant: Board, source: DistantSource, query: str) -> None:
    """A page can't be had: 503 with Retry-After, and at once, though it was asked to wait."""
    distant.fill(1)
    distant.host.call(source.leave)
    answer = distant.host.http.get(f"{distant.url}/events{query}")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "source_unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    distant.host.call(source.come_back)
    distant.wait_for_health(lambda health: health["status"] == "ok")
    assert distant.sequences() == [1]


def test_a_parameter_that_is_off_is_refused_all_the_same(distant: Board, source: DistantSource) -> None:
    """What is wrong in itself needs no source to be told."""
    distant.host.call(source.leave)
    assert distant.get("/stream", cursor="x").status_code == 400
    with pytest.raises(InvalidStatus):
        open_websocket(f"{distant.url}/stream?tail=x")


def test_a_publish_that_never_arrived_says_so(distant: Board, source: DistantSource) -> None:
    """503, `not_published`, and the ids to repeat it with, the server's own included."""
    distant.host.call(source.leave)
    events = [{"event_type": TYPE, "ticket": "T-1", "event_id": "mine"}, {"event_type": TYPE, "ticket": "T-1"}]
    answer = distant.post(events)
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert (error["code"], error["outcome"]) == ("source_unavailable", "not_published")
    assert len(error["event_ids"]) == 2
    assert error["event_ids"][0] == "mine"
    assert error["event_ids"][1]
    assert int(answer.headers["retry-after"]) >= 1
    distant.host.call(source.come_back)
    distant.wait_for_health(lambda health: health["status"] == "ok")
    assert distant.sequences() == []


def test_a_publish_of_unknown_outcome_can_be_repeated(distant: Board, source: DistantSource) -> None:
    """503, `unknown`; repeating it with the ids that it lists publishes each event once."""
    events: list[dict[str, Any]] = [{"event_type": TYPE, "ticket": "T-1", "payload": {"n": n}} for n in range(3)]
    source.deaf = True
    error = distant.post(events).json()["error"]
    assert error["outcome"] == "unknown"
    source.deaf = False
    for event, event_id in zip(events, error["event_ids"], strict=True):
        event["event_id"] = event_id
    answer = distant.post(events)
    assert answer.status_code == 200
    assert [receipt["sequence"] for receipt in answer.json()["events"]] == [1, 2, 3]
    assert distant.sequences() == [1, 2, 3]


def test_health_is_degraded_but_answers(distant: Board, source: DistantSource) -> None:
    """200 and `degraded`, a 503 only for `?ready`, and back again."""
    distant.live("sse")
    distant.host.call(source.leave)
    health = distant.wait_for_health(lambda health: health["status"] == "degraded")
    assert health["source"]["available"] is False
    assert health["streams"]["sse"] == 1
    assert distant.get("/health").status_code == 200
    ready = distant.host.http.get(f"{distant.url}/health?ready")
    assert ready.status_code == 503
    assert ready.json()["status"] == "degraded"
    distant.host.call(source.come_back)
    distant.wait_for_health(lambda health: health["status"] == "ok")
    assert distant.host.http.get(f"{distant.url}/health?ready").status_code == 200


def test_health_of_a_forum_whose_source_was_never_there(open_board: OpenBoard) -> None:
    """The first request of all may be the load balancer's."""
    board = open_board(DistantSource(away=True))
    answer = board.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert board.host.http.get(f"{board.url}/health?ready").status_code == 503


def test_a_crowd_that_comes_back_shares_its_reads(distant: Board, source: DistantSource) -> None:
    """Streams that were open cost no reads of their own when the source is back."""
    distant.fill(5)
    readers = [distant.live("websocket") for _ in range(30)]
    distant.host.call(source.leave)
    for reader in readers:
        until_degraded(reader)
    distant.host.run(source.append(*[draft()] * 50))
    before = source.reads
    distant.host.call(source.come_back)
    for reader in readers:
        reader.take_to(55)
        assert numbers(reader) == list(range(6, 56))
    assert source.reads - before < 30


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_source_without_a_live_feed_gives_history_and_heartbeats(open_board: OpenBoard, transport: Transport) -> None:
    """`forum.live` says so by its mode; a stream that comes back gets what came meanwhile."""
    source = HistorySource()
    board = open_board(source, heartbeat=0.1)
    board.host.run(source.append(draft(), draft()))
    reader = board.open(transport, cursor="earliest")
    live = reader.until("forum.live")
    assert live["mode"] == "heartbeat"
    assert numbers(reader) == [1, 2]
    beat = reader.until("heartbeat")
    assert "degraded" not in beat
    board.host.run(source.append(draft()))
    again = board.open(transport, cursor=beat["next_cursor"])
    again.until("forum.live")
    assert numbers(again) == [3]


def test_a_source_without_a_live_feed_has_pages(open_board: OpenBoard) -> None:
    """Pages, tails and health need none."""
    source = HistorySource()
    board = open_board(source)
    board.host.run(source.append(draft(), draft(), draft()))
    assert board.sequences() == [1, 2, 3]
    assert board.sequences(tail=1) == [3]
    assert board.get("/health").json()["status"] == "ok"
