"""The judge itself: it acquits what is right and finds each kind of fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.properties.checker import Keep, Logged, Run, Seen, Session, Violation, check_delivery

LOG = [Logged(number, f"T-{number % 2}", "forum.post.added", f"c-{number}") for number in range(1, 11)]
ODD = Keep(frozenset({"T-1"}))
LIVE = Seen("forum.live")


def frame(*sequences: int, position: int | None = None) -> Seen:
    """A frame of events; its position is the last of them, if not said otherwise."""
    return Seen("forum.events", tuple(LOG[number - 1] for number in sequences), position or sequences[-1])


def beat(position: int | None) -> Seen:
    """A heartbeat."""
    return Seen("heartbeat", (), position)


def reset(position: int | None, reason: str = "trimmed") -> Seen:
    """A reset."""
    return Seen("forum.reset", (), position, reason)  # type: ignore[arg-type]  # some are wrong on purpose


def judge(*seen: Seen, start: int | range = 0, keep: Keep = ODD, whole: bool = True, trimmed: int = 0) -> None:
    """Judge a run of one session."""
    starts = range(start, start + 1) if isinstance(start, int) else start
    session = Session(keep, starts, list(seen), whole=whole)
    check_delivery(Run(LOG, [session], trimmed, ("trimmed", "skipped")))


@pytest.mark.parametrize(
    ("seen", "start", "trimmed"),
    [
        ([frame(1, 3, 5), frame(7, 9)], 0, 0),
        ([frame(1), beat(2), frame(3), beat(4), beat(4), frame(5, 7, 9), beat(10)], 0, 0),
        ([beat(None), frame(7, 9, position=10)], 6, 0),
        ([frame(9)], 7, 0),
        ([frame(9)], range(4, 9), 0),
        ([frame(1), reset(4), frame(5, 7, 9)], 0, 4),
        ([LIVE, reset(8, "skipped"), frame(9)], 3, 0),
        ([], 9, 0),
    ],
)
def test_a_complete_run_is_acquitted(seen: list[Seen], start: int | range, trimmed: int) -> None:
    """In order, once each, whole: nothing to say."""
    judge(*seen, start=start, trimmed=trimmed)


@pytest.mark.parametrize(
    ("seen", "start", "trimmed"),
    [
        pytest.param([frame(1, 5, 7, 9)], 0, 0, id="one is missing"),
        pytest.param([frame(1, 3, 5), frame(9)], 0, 0, id="one is missing between frames"),
        pytest.param([frame(1, 3, 5, 7)], 0, 0, id="the last is missing"),
        pytest.param([], 0, 0, id="all are missing"),
        pytest.param([frame(1, 3, 3, 5, 7, 9)], 0, 0, id="one comes twice"),
        pytest.param([frame(1, 3, 5), frame(5, 7, 9)], 0, 0, id="one comes twice over two frames"),
        pytest.param([frame(1, 5, 3, 7, 9)], 0, 0, id="out of order"),
        pytest.param([frame(1, 2, 3, 5, 7, 9)], 0, 0, id="one does not match"),
        pytest.param([frame(3, 5, 7, 9)], 0, 0, id="begins too late"),
        pytest.param([frame(1, 3, 5, 7, 9)], 2, 0, id="begins too early"),
        pytest.param([frame(1), beat(5), frame(5, 7, 9)], 0, 0, id="a heartbeat passes over a match"),
        pytest.param([frame(1, 3, position=5), frame(5, 7, 9)], 0, 0, id="a frame's position passes over a match"),
        pytest.param([frame(1), reset(6), frame(7, 9)], 0, 4, id="a reset passes over what is retained"),
        pytest.param([frame(1), reset(None), frame(3, 5, 7, 9)], 0, 4, id="a reset without a position"),
        pytest.param([frame(1, 3, 5), reset(4), frame(5, 7, 9)], 0, 4, id="a reset that leads back"),
        pytest.param([frame(1, 3), reset(4, "replaced"), frame(5, 7, 9)], 0, 4, id="a reset without a cause"),
    ],
)
def test_every_kind_of_fault_is_found(seen: list[Seen], start: int, trimmed: int) -> None:
    """Whatever is wrong with a run, the judge says so."""
    with pytest.raises(Violation):
        judge(*seen, start=start, trimmed=trimmed)


def test_a_session_that_was_cut_need_not_be_whole() -> None:
    """What a client did not stay for is not missing; what it got must be right all the same."""
    judge(frame(1, 3), whole=False)
    with pytest.raises(Violation):
        judge(frame(1, 5), whole=False)


def test_a_gap_in_the_log_itself_is_found() -> None:
    """Sequences rise by one."""
    with pytest.raises(Violation):
        check_delivery(Run([LOG[0], LOG[2]], []))


LOGS = [*LOG, *(Logged(number, "T-1", "forum.post.added", f"d-{number}") for number in range(11, 21))]
ALL = Keep()


@pytest.mark.parametrize(
    ("lead", "begun", "position", "right"),
    [
        pytest.param("replaced", 1, 10, True, id="to the new log's beginning"),
        pytest.param("replaced", 1, 13, True, id="to where it is trimmed"),
        pytest.param("replaced", 1, 14, False, id="behind what it retains"),
        pytest.param("replaced", 1, 9, False, id="to where no log begins"),
        pytest.param("trimmed", 1, 3, True, id="to where the first log was trimmed"),
        pytest.param(
            "trimmed", 1, 4, False, id="behind what the first log retained, though the second has been trimmed further"
        ),
        pytest.param("trimmed", 11, 13, True, id="to where the second log was trimmed"),
        pytest.param("trimmed", 11, 14, False, id="behind what the second log retains"),
    ],
)
def test_each_log_was_trimmed_as_far_as_it_was(lead: str, begun: int, position: int, right: bool) -> None:
    """A reset leads to where the log it leads to begins, and no further."""
    rest = tuple(event for event in LOGS if event.sequence > position)
    seen = [beat(begun), reset(position, lead), Seen("forum.events", rest, 20)]
    run = Run(LOGS, [Session(ALL, {begun}, seen, whole=True)], 13, ("trimmed", "replaced"), [10], {0: 3, 10: 13})
    if right:
        check_delivery(run)
    else:
        with pytest.raises(Violation):
            check_delivery(run)


@pytest.mark.parametrize("field", ["runs", "threads"])
def test_runs_and_threads_are_asked_for_too(field: str) -> None:
    """An event of none is not of the one that is asked for."""
    keep = Keep(**{field: frozenset({"a"})})
    log = [Logged(n, "T", "a.b", f"c-{n}", run_id=each, thread_id=each) for n, each in enumerate(("a", None, "b"), 1)]
    check_delivery(Run(log, [Session(keep, {0}, [Seen("forum.events", (log[0],), 3)], whole=True)]))
    for wrong in ((), (log[0], log[1]), (log[0], log[2])):
        with pytest.raises(Violation):
            check_delivery(Run(log, [Session(keep, {0}, [Seen("forum.events", wrong, 3)], whole=True)]))


def test_an_event_that_came_changed_is_found() -> None:
    """All that it says is the log's."""
    told = Logged(1, "T", "a.b", "c-1", content="told")
    check_delivery(Run([told], [Session(ALL, {0}, [Seen("forum.events", (told,), 1)], whole=True)]))
    with pytest.raises(Violation):
        check_delivery(Run([told], [Session(ALL, {0}, [Seen("forum.events", (replace(told, content="x"),), 1)])]))
