"""`asgi-forum publish`, in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asgi_forum import Forum as Mounted
from asgi_forum import Limits
from asgi_forum.cli.input import Pieces
from tests.cli.command import COMMAND, DEADLINE, Forum, environment, one_line, run, serving, started
from tests.servers import serve

EVENT = ("--ticket", "T-1", "--type", "forum.post.added")


def line(number: int, **fields: Any) -> bytes:
    """Write an event as a line; its id is its number."""
    draft = {"event_type": "forum.post.added", "ticket": "T-1", "event_id": f"e{number}", "payload": {"n": number}}
    return json.dumps({**draft, **fields}).encode() + b"\n"


def lines(count: int) -> bytes:
    """Write so many events."""
    return b"".join(line(number) for number in range(1, count + 1))


def page(url: str, **parameters: Any) -> list[Any]:
    """Return the events of a page."""
    events: list[Any] = httpx2.get(f"{url}/events", params={"limit": 1000, **parameters}).json()["events"]
    return events


def wait_for_events(url: str, count: int) -> list[Any]:
    """Wait until a log has so many events, and return them."""
    found: list[Any] = []
    while len(found) < count:
        asked = {"cursor": len(found), "wait": DEADLINE}
        answer = httpx2.get(f"{url}/events", params=asked, timeout=2 * DEADLINE).json()
        assert answer["events"], answer
        found += answer["events"]
    return found


# One event


def test_an_event_s_receipt_is_printed(forum: Forum) -> None:
    """Sequence, id and cursor; `duplicate` where the forum had it."""
    first = run("publish", forum.url, *EVENT, "--event-id", "mine")
    again = run("publish", forum.url, *EVENT, "--event-id", "mine")
    other = run("publish", forum.url, *EVENT)
    (event, later) = page(forum.url)
    assert first.stdout.decode() == f"1 mine {event['cursor']}\n"
    assert again.stdout.decode() == f"1 mine {event['cursor']} duplicate\n"
    assert other.stdout.decode() == f"2 {later['envelope']['event_id']} {later['cursor']}\n"
    assert [each.returncode for each in (first, again, other)] == [0, 0, 0]


def test_every_field_has_an_option(forum: Forum) -> None:
    """And reaches the forum as it is."""
    fields = {
        "--ticket": "METAWSM-011",
        "--type": "forum.thread.opened",
        "--run-id": "run-7",
        "--thread-id": "thr-9",
        "--agent-name": "planner",
        "--actor-type": "agent",
        "--actor-name": "plännér 😀",
        "--correlation-id": "c",
        "--causation-id": "d",
        "--event-id": "e",
        "--event-version": "2",
        "--occurred-at": "2026-02-10T14:56:00+02:00",
        "--payload": '{"body": "hi", "n": 1e2}',
    }
    arguments = [part for pair in fields.items() for part in pair]
    assert run("publish", forum.url, *arguments).returncode == 0
    (event,) = page(forum.url)
    assert event["payload"] == {"body": "hi", "n": 100.0}
    assert event["envelope"] == {
        "event_id": "e",
        "event_type": "forum.thread.opened",
        "event_version": 2,
        "occurred_at": "2026-02-10T12:56:00.000Z",
        "thread_id": "thr-9",
        "run_id": "run-7",
        "ticket": "METAWSM-011",
        "agent_name": "planner",
        "actor_type": "agent",
        "actor_name": "plännér 😀",
        "correlation_id": "c",
        "causation_id": "d",
    }


def test_a_payload_may_come_from_a_file_or_a_pipe(forum: Forum, tmp_path: Path) -> None:
    """`-` is stdin."""
    file = tmp_path / "payload.json"
    file.write_text('{"from": "file"}')
    assert run("publish", forum.url, *EVENT, "--payload-file", str(file)).returncode == 0
    assert run("publish", forum.url, *EVENT, "--payload-file", "-", stdin=b'{"from": "pipe"}').returncode == 0
    assert [event["payload"]["from"] for event in page(forum.url)] == ["file", "pipe"]


def test_a_conflict_is_one_line(shared_forum: Forum) -> None:
    """With exit status 1: the id is another event's."""
    for payload, status in (("{}", 0), ('{"n": 1}', 1)):
        found = run("publish", shared_forum.url, *EVENT, "--event-id", "taken", "--payload", payload)
        assert found.returncode == status
    assert "event_id 'taken' is taken by an event with another payload" in one_line(found.stderr)


def test_where_nothing_listens_it_gives_up_in_time() -> None:
    """Having said that it tries again, and why."""
    at_once = run("publish", "http://127.0.0.1:1/forum", *EVENT, "--retry-for", "0")
    assert at_once.returncode == 1
    assert re.fullmatch(
        r"Error: http://127\.0\.0\.1:1/forum: .+; it was not published \(--event-id [0-9a-f-]{36} repeats it\)",
        one_line(at_once.stderr),
    )
    later = run("publish", "http://127.0.0.1:1/forum", *EVENT, "--retry-for", "1.5")
    assert later.returncode == 1
    said = later.stderr.decode().splitlines()
    assert "trying again for up to 1.5 s" in said[0]
    assert said[-1].startswith("Error: ")


def test_it_waits_for_a_server_that_comes_back() -> None:
    """For as long as it was told to."""
    with serving() as first:
        port, url = first.port, first.url
        assert first.process.stop() == 0
    with started("publish", url, *EVENT, "--event-id", "mine") as publish:
        assert "trying again for up to 30 s" in publish.stderr.next()
        with serving("--allow-publish", port=port) as forum:
            assert publish.stdout.next().startswith("1 mine ")
            assert publish.wait() == 0
            assert len(page(forum.url)) == 1


class LosesAnswers:
    """A proxy that hands requests on and loses the first answers, so that nobody knows what became of them."""

    def __init__(self, app: ASGIApp, answer: Callable[[], ASGIApp], count: int = 1) -> None:
        self.asked = 0
        self._app = app
        self._answer = answer
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        self.asked += 1
        if self.asked > self._count:
            await self._app(scope, receive, send)
            return

        async def lose(_: Message) -> None:
            """Send nothing."""

        await self._app(scope, receive, lose)
        await self._answer()(scope, receive, send)


def unknown() -> ASGIApp:
    """Answer that nobody knows."""
    error = {"code": "source_unavailable", "message": "lost", "outcome": "unknown"}
    return JSONResponse({"error": error}, 503, headers={"Retry-After": "1"})


@pytest.mark.parametrize("answer", [unknown, lambda: HTMLResponse("bad gateway", 502)])
def test_a_lost_answer_publishes_nothing_twice(answer: Callable[[], ASGIApp]) -> None:
    """The request is repeated with the same ids; what only this try can have published is not called a duplicate."""
    app = LosesAnswers(Mounted(allow_publish=True), answer)
    with serve(app) as served:
        found = run("publish", served.url, *EVENT)
        assert (found.returncode, app.asked) == (0, 2)
        assert found.stdout.split()[0] == b"1"
        assert b"duplicate" not in found.stdout
        app.asked = 0
        drafts = line(1) + json.dumps({"event_type": "a", "ticket": "T"}).encode()
        many = run("publish", served.url, "--ndjson", "-", stdin=drafts)
        assert (many.returncode, app.asked) == (0, 2)
        assert many.stdout == b"published 2 events: 1 new, 1 duplicate\n"
        assert len(page(served.url)) == 3


def test_an_outcome_that_stays_unknown_is_told() -> None:
    """By the lines that it is about, and by what is known to be published."""
    app = LosesAnswers(Mounted(allow_publish=True), unknown, count=1000)
    with serve(app) as served:
        found = run("publish", served.url, "--ndjson", "-", "--retry-for", "0", stdin=lines(3))
        one = run("publish", served.url, *EVENT, "--event-id", "mine", "--retry-for", "0")
    assert one.returncode == 1
    assert one_line(one.stderr) == "Error: lost; it may have been published all the same (--event-id mine repeats it)"
    assert found.returncode == 1
    said = one_line(found.stderr)
    assert said.startswith("Error: lines 1 to 3: lost (they may have been published all the same)")


# Many events


def test_a_file_is_published_in_batches(forum: Forum, tmp_path: Path) -> None:
    """A line each, in order; running it again adds nothing."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(lines(2345))
    first = run("publish", forum.url, "--ndjson", str(file))
    assert (first.returncode, first.stdout) == (0, b"published 2345 events: 2345 new, 0 duplicates\n")
    assert first.stderr == b""
    again = run("publish", forum.url, "--ndjson", "-", stdin=file.read_bytes())
    assert (again.returncode, again.stdout) == (0, b"published 2345 events: 0 new, 2345 duplicates\n")
    assert [event["payload"]["n"] for event in page(forum.url, cursor=2000)] == list(range(2001, 2346))


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_no_events_are_no_failure(shared_forum: Forum, content: bytes) -> None:
    """Nothing is published, and said so."""
    found = run("publish", shared_forum.url, "--ndjson", "-", stdin=content)
    assert (found.returncode, found.stdout) == (0, b"published 0 events: 0 new, 0 duplicates\n")


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (b"{oops}\n", "not JSON"),
        (b'{"event_type": "a"}\n', "ticket: Field required"),
        (b'{"event_type": "a", "ticket": "T", "nonsense": 1}', "nonsense"),
        (b"\xff\xfe\n", "not JSON"),
    ],
)
def test_a_bad_line_is_named_before_its_batch_is_sent(forum: Forum, tmp_path: Path, bad: bytes, fault: str) -> None:
    """Batches before it stay, and once it is mended a rerun adds the rest."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(lines(1001) + b"\n" + bad)
    found = run("publish", forum.url, "--ndjson", str(file))
    assert (found.returncode, found.stdout) == (1, b"")
    said = one_line(found.stderr)
    assert said.startswith(f"Error: line 1003: {fault}"), said
    assert said.endswith("; published before it: 1000 events: 1000 new, 0 duplicates; a rerun is safe"), said
    file.write_bytes(lines(1002))
    mended = run("publish", forum.url, "--ndjson", str(file))
    assert mended.stdout == b"published 1002 events: 2 new, 1000 duplicates\n"


def test_a_conflict_names_its_line(shared_forum: Forum) -> None:
    """Found by the forum: nothing of its batch is published."""
    before = len(page(shared_forum.url, ticket="conflict"))
    content = b"\n" + line(1, event_id="c1", ticket="conflict") + line(2, event_id="c1", ticket="conflict")
    found = run("publish", shared_forum.url, "--ndjson", "-", stdin=content)
    assert found.returncode == 1
    said = one_line(found.stderr)
    assert said.startswith("Error: line 3: event_id 'c1' is taken by an event with another payload"), said
    assert said.endswith("another payload; nothing was published")
    assert len(page(shared_forum.url, ticket="conflict")) == before


def test_too_large_for_the_forum_is_told_by_line_or_sent_in_parts() -> None:
    """One event that is too large names its line; a request that is too large is halved."""
    limits = Limits(event_bytes=1000, request_bytes=5000)
    with serve(Mounted(allow_publish=True, limits=limits)) as served:
        many = run("publish", served.url, "--ndjson", "-", stdin=lines(100))
        assert many.stdout == b"published 100 events: 100 new, 0 duplicates\n"
        large = run("publish", served.url, "--ndjson", "-", stdin=line(101) + line(102, payload={"x": "y" * 2000}))
        one = run("publish", served.url, *EVENT, "--payload", json.dumps({"x": "y" * 2000}))
    assert large.returncode == one.returncode == 1
    assert one_line(large.stderr).startswith("Error: line 2: got 2")
    assert one_line(one.stderr).startswith("Error: got 2")


def test_what_concerns_no_line_names_them_all() -> None:
    """A forum that takes no events, say."""
    with serving() as forum:
        found = run("publish", forum.url, "--ndjson", "-", stdin=lines(3))
    assert found.returncode == 1
    said = one_line(found.stderr)
    assert said.startswith("Error: lines 1 to 3: publishing over HTTP is off")
    assert said.endswith("nothing was published")


def test_a_slow_pipe_is_published_as_it_comes(forum: Forum) -> None:
    """No batch has to be full, nor the pipe at its end."""
    content = lines(4)
    with started("publish", forum.url, "--ndjson", "-") as publish:
        for number in (1, 2, 3):  # each piece ends in the middle of the next line
            end = content.index(b"\n") + 10
            publish.write(content[:end])
            content = content[end:]
            assert [event["payload"]["n"] for event in wait_for_events(forum.url, number)] == list(range(1, number + 1))
        publish.write(content)
        publish.end_input()
        assert publish.wait() == 0
        assert publish.stdout.next() == "published 4 events: 4 new, 0 duplicates"


def test_an_interrupted_pipe_tells_what_was_published(forum: Forum) -> None:
    """And that a rerun would repeat what had no id."""
    with started("publish", forum.url, "--ndjson", "-") as publish:
        publish.write(line(1) + json.dumps({"event_type": "a", "ticket": "T"}).encode() + b"\n")
        wait_for_events(forum.url, 2)
        publish.write(line(3))
        wait_for_events(forum.url, 3)  # whose receipt may, or may not, have come
        assert publish.stop(signal.SIGINT) == 130
        (said,) = filter(None, publish.stderr.rest())
    known, open_end = said.partition("; line 3 may have been published too")[:2]
    assert known == (
        f"interrupted; published before it: {2 if open_end else 3} events: {2 if open_end else 3} new, 0 duplicates; "
        "a rerun would publish 1 without an event_id again"
    )


def test_an_interruption_while_nobody_is_there_leaves_nothing_open() -> None:
    """What was refused before it was sent was not published."""
    with started("publish", "http://127.0.0.1:1/forum", "--ndjson", "-") as publish:
        publish.write(line(1))
        assert "trying again" in publish.stderr.next()
        assert publish.stop(signal.SIGINT) == 130
        assert list(filter(None, publish.stderr.rest())) == ["interrupted; nothing was published"]


def test_it_outlives_a_restart_of_the_server() -> None:
    """What is under way is repeated; ids that the log still has are not published twice."""
    app = Mounted(allow_publish=True)
    with ExitStack() as stack:
        with serve(app) as served:
            publish = stack.enter_context(started("publish", f"{served.url}/", "--ndjson", "-"))
            publish.write(lines(10))
            wait_for_events(served.url, 10)
        publish.write(line(11))
        assert "trying again" in publish.stderr.next()
        stack.enter_context(serve(app, port=served.port))
        publish.write(line(12))
        publish.end_input()
        assert publish.wait() == 0
        assert publish.stdout.next() == "published 12 events: 12 new, 0 duplicates"


def test_a_long_pipe_is_not_read_ahead(tmp_path: Path) -> None:
    """At most eight pieces wait, and one is in the reader's hand, however large the file is."""
    file = tmp_path / "long"
    piece, ahead = 2**16, 9
    file.write_bytes(b"x" * piece * 100)
    with file.open("rb") as opened:
        pieces = Pieces(opened)
        deadline = time.monotonic() + DEADLINE
        for taken in range(100):
            while os.lseek(opened.fileno(), 0, os.SEEK_CUR) < piece * min(taken + ahead, 100):
                assert time.monotonic() < deadline
            assert os.lseek(opened.fileno(), 0, os.SEEK_CUR) <= piece * (taken + ahead)
            assert len(pieces.next(DEADLINE) or b"") == piece
        assert pieces.next(DEADLINE) == b""


@pytest.mark.parametrize(("source", "mark"), [("file", "%"), ("pipe", " new, ")])
def test_a_bar_is_shown_on_a_terminal(forum: Forum, tmp_path: Path, source: str, mark: str) -> None:
    """For a file: of a pipe nobody knows how long it is, so there it counts. It fits into a narrow one."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(lines(3000))
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 50))
    command = [*COMMAND, "publish", forum.url, "--ndjson", str(file) if source == "file" else "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, env=environment()
    ) as publish:
        os.close(theirs)
        out, _ = publish.communicate(file.read_bytes() if source == "pipe" else None, timeout=DEADLINE)
    shown = _all(ours)
    assert out == b"published 3000 events: 3000 new, 0 duplicates\n"
    assert mark in shown, shown
    assert shown.endswith("\r\x1b[K")
    assert max(map(len, shown.split("\r\x1b[K"))) < 50


def _all(descriptor: int) -> str:
    """Read a terminal whose other side is closed."""
    found = b""
    while True:
        try:
            piece = os.read(descriptor, 2**16)
        except OSError:  # Linux's word for the end
            piece = b""
        if not piece:
            os.close(descriptor)
            return found.decode()
        found += piece
