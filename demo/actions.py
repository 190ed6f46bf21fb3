"""
What a visitor can do, each a form with its rules, and the event that comes of it.

The page sends what was typed, and no more: who counts as a human or an operator, which ticket a thread belongs to and
whether it takes replies is decided here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal
from uuid import NAMESPACE_URL, uuid5

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from asgi_forum import ForumEvent
from demo.board import Board, Thread

__all__ = ["ACTIONS", "Action", "NotPossible", "faults"]

Priority = Literal["low", "normal", "high", "urgent"]
State = Literal["open", "in_progress", "blocked", "answered"]


class NotPossible(Exception):
    """A request that is well formed but can't be done; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _one_line(value: str) -> str:
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in value):
        raise ValueError("Please keep this to one line, without control characters.")
    return value


def _text(most: int, *, least: int = 1) -> Any:
    return StringConstraints(strip_whitespace=True, min_length=least, max_length=most)


Line = Annotated[str, _text(80), AfterValidator(_one_line)]
OptionalLine = Annotated[str, _text(80, least=0), AfterValidator(_one_line)]


class Action(BaseModel, ABC):
    """
    A form that was sent. `request_id` is made by the page before the first try and becomes the `event_id`: a form that is sent
    twice, by a double click or after a lost answer, counts once.
    """

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    actor_type: ClassVar[Literal["human", "operator"]] = "human"

    request_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{8,100}$")]
    name: Line

    @abstractmethod
    def event(self, board: Board) -> ForumEvent:
        """Return the event to publish. Raises NotPossible where the board doesn't allow it."""

    def _made(
        self,
        event_type: str,
        ticket: str,
        payload: dict[str, Any],
        thread_id: str | None = None,
        run_id: str | None = None,
    ) -> ForumEvent:
        return ForumEvent(
            event_type=event_type,
            ticket=ticket,
            thread_id=thread_id,
            run_id=run_id,
            payload=payload,
            event_id=self.request_id,
            actor_type=self.actor_type,
            actor_name=self.name,
        )


class Ask(Action):
    """A new question: it opens a thread."""

    title: Annotated[str, _text(200), AfterValidator(_one_line)]
    body: Annotated[str, _text(10_000, least=0)] = ""
    ticket: Line
    run_id: OptionalLine = ""
    priority: Priority = "normal"

    def event(self, board: Board) -> ForumEvent:
        """Open a thread, whose id follows from the request's: the same form makes the same thread."""
        payload = {"title": self.title, "body": self.body, "priority": self.priority}
        thread_id = f"thr-{uuid5(NAMESPACE_URL, self.request_id).hex[:12]}"
        return self._made("forum.thread.opened", self.ticket, payload, thread_id=thread_id, run_id=self.run_id)


class OnThread(Action):
    """Something done to a thread that is there."""

    thread_id: Annotated[str, _text(256)]

    def _thread(self, board: Board) -> Thread:
        try:
            return board.threads[self.thread_id]
        except KeyError:
            raise NotPossible(404, "The server doesn't have this thread. Perhaps it was restarted since.") from None

    def _on_thread(self, event_type: str, board: Board, payload: dict[str, Any]) -> ForumEvent:
        thread = self._thread(board)
        return self._made(event_type, thread.ticket, payload, thread_id=self.thread_id, run_id=thread.run_id)


class Reply(OnThread):
    """A reply to an open thread."""

    body: Annotated[str, _text(10_000)]

    def event(self, board: Board) -> ForumEvent:
        """Add a post."""
        if self._thread(board).state == "closed":
            raise NotPossible(409, "This thread was closed meanwhile. Reopen it to reply; your text is kept.")
        return self._on_thread("forum.post.added", board, {"body": self.body})


class Assign(OnThread):
    """Somebody to look after it; blank for nobody."""

    assignee: OptionalLine = ""

    def event(self, board: Board) -> ForumEvent:
        """Assign the thread."""
        return self._on_thread("forum.assigned", board, {"assignee": self.assignee or None})


class ChangeState(OnThread):
    """Another state; a closed thread is opened again by it."""

    state: State

    def event(self, board: Board) -> ForumEvent:
        """Change the state."""
        return self._on_thread(
            "forum.state.changed", board, {"state": self.state, "previous": self._thread(board).state}
        )


class ChangePriority(OnThread):
    """Another priority."""

    priority: Priority

    def event(self, board: Board) -> ForumEvent:
        """Change the priority."""
        return self._on_thread("forum.priority.changed", board, {"priority": self.priority})


class Close(OnThread):
    """The end of a thread."""

    resolution: Annotated[str, _text(500, least=0)] = ""

    def event(self, board: Board) -> ForumEvent:
        """Close the thread."""
        if self._thread(board).state == "closed":
            raise NotPossible(409, "This thread is closed already.")
        return self._on_thread("forum.thread.closed", board, {"resolution": self.resolution} if self.resolution else {})


class Signal(Action):
    """A control signal to the agents of a run: who sends one acts as an operator."""

    actor_type: ClassVar[Literal["human", "operator"]] = "operator"

    ticket: Line
    run_id: Line
    signal: Literal["pause", "resume", "stop"]

    def event(self, board: Board) -> ForumEvent:
        """Signal the run."""
        if not any(thread.run_id == self.run_id for thread in board.threads.values()):
            raise NotPossible(404, "The server doesn't have a thread of this run. Perhaps it was restarted since.")
        return self._made("forum.control.signal", self.ticket, {"signal": self.signal}, run_id=self.run_id)


ACTIONS: dict[str, type[Action]] = {
    "ask": Ask,
    "reply": Reply,
    "assign": Assign,
    "state": ChangeState,
    "priority": ChangePriority,
    "close": Close,
    "signal": Signal,
}

_WANTED = {
    "title": "Please give your question a title.",
    "body": "Please write something first.",
    "ticket": "Please name the ticket this belongs to.",
    "name": "Please tell your name.",
}


def faults(error: ValidationError) -> dict[str, str]:
    """Return what is wrong with a form, in a sentence for each of its fields."""
    found: dict[str, str] = {}
    for fault in error.errors(include_url=False):
        name = str(fault["loc"][0]) if fault["loc"] else "form"
        limits = fault.get("ctx", {})
        if fault["type"] == "string_too_long":
            found[name] = f"That is too long: at most {limits['max_length']:,} characters."
        elif fault["type"] in ("missing", "string_too_short"):
            found[name] = _WANTED.get(name, "This is required.")
        elif fault["type"] == "literal_error":
            found[name] = f"Expected one of {limits['expected']}."
        else:
            found[name] = fault["msg"].removeprefix("Value error, ")
    return found
