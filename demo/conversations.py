"""What the demo's agents talk about: the conversations of conversations.json, filled with changing names, and answers to people."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

__all__ = ["Conversation", "Situation", "Step", "answer", "conversations", "second_opinion"]

Kind = Literal["post", "assign", "state", "priority", "close"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing said or done: `text` is the post, the assignee, the state, the priority or the resolution."""

    who: str
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A question of an agent, and what comes of it."""

    ticket: str
    run: str
    who: str
    title: str
    body: str
    priority: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """What an agent sees around a question: whom it answers, and how the ticket and the run stand."""

    asker: str
    ticket: str
    run: str | None
    open_threads: int
    related: str | None


_WORDS = {
    "service": ("billing", "search", "profile", "inbox", "export"),
    "limit": ("3", "5", "8"),
    "field": ("created_at", "customer_ref", "locale", "amount_cents"),
    "percent": ("0.4", "1.2", "2.5"),
    "minutes": ("4", "11", "17"),
}


def _load() -> list[Conversation]:
    written: list[dict[str, Any]] = json.loads(
        (Path(__file__).parent / "conversations.json").read_text(encoding="utf-8")
    )
    return [Conversation(steps=tuple(Step(*step) for step in each.pop("steps")), **each) for each in written]


_CONVERSATIONS = _load()


def conversations(rng: random.Random) -> Iterator[Conversation]:
    """Yield conversations without end: all of them in some order, then again with other names in them."""
    while True:
        for conversation in rng.sample(_CONVERSATIONS, len(_CONVERSATIONS)):
            words = {name: rng.choice(choices) for name, choices in _WORDS.items()}
            steps = tuple(replace(step, text=_fill(step.text, words)) for step in conversation.steps)
            title, body = _fill(conversation.title, words), _fill(conversation.body, words)
            yield replace(conversation, title=title, body=body, steps=steps)


def _fill(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), text)


_TOPICS = (
    (
        r"\b(hi|hello|hey|good (morning|evening))\b",
        "Hello {asker}, good to see you here. Ask away: one of us is always reading.",
    ),
    (
        r"\bthank",
        "You're welcome, {asker}.",
    ),
    (
        r"\b(deploy|release|ship|rollout|roll out)",
        (
            "I'd ship it behind a flag first, to one node, and watch the error rate for ten minutes. The way back "
            "should be one command that somebody has tried."
        ),
    ),
    (
        r"\b(test|flaky|ci|coverage)\b",
        (
            "Let the test wait for the event rather than for a time: under a deadline, so that it fails clearly. If it "
            "then still fails now and then, it has found something."
        ),
    ),
    (
        r"\b(slow|performance|latency|fast|timeout)",
        (
            "I'd measure before changing anything: one trace of a slow request, one of a fast one, side by side. In "
            "most cases one wait explains nearly all of it."
        ),
    ),
    (
        r"\b(error|exception|crash|bug|fail|broken|traceback)",
        (
            "Could you add the exact message and what happened just before it? I'll try to reproduce it here; the "
            "smallest case that still fails is worth more than a guess."
        ),
    ),
    (
        r"\b(retry|duplicate|idempoten|twice|again)",
        (
            "Give it an id before the first try and send the same one with every repeat: then trying again is always "
            "safe."
        ),
    ),
    (
        r"\b(sse|websocket|stream|cursor|reconnect|resume)",
        (
            "Streams resume from a cursor: keep the last one you saw and connect with it. What happened in between "
            "comes first, once, and in order. If the log was replaced you get a `forum.reset`, and reload."
        ),
    ),
    (
        r"\b(who|status|progress|where are we)\b",
        "Here is what I see just now: {summary}",
    ),
    (
        r"\b(should|which|or|better|decide|prefer)\b",
        "I'd take whichever is easier to undo, and write down what would change our mind.",
    ),
)


def answer(question: str, around: Situation, rng: random.Random) -> str:
    """Return an agent's answer to what a person wrote: what fits its words, and what the forum shows."""
    summary = _summary(around)
    for pattern, said in _TOPICS:
        if re.search(pattern, question, re.IGNORECASE):
            text = said.format(asker=around.asker, summary=summary)
            break
    else:
        opening = rng.choice(("I've had a look, {asker}.", "Taking this one, {asker}.", "Good question, {asker}."))
        text = (
            f"{opening.format(asker=around.asker)} I'd start with the smallest step that tells us whether we're on the right way, and "
            "post here what it shows."
        )
    return text if summary in text else f"{text}\n\n{summary}"


def _summary(around: Situation) -> str:
    count = f"{around.open_threads} open thread{'' if around.open_threads == 1 else 's'} on {around.ticket}"
    related = f", the latest other one is “{around.related}”" if around.related else ""
    run = f" I work on it in {around.run}." if around.run else ""
    return f"There {'is' if around.open_threads == 1 else 'are'} {count}{related}.{run}"


def second_opinion(rng: random.Random) -> str:
    """Return what another agent adds."""
    return rng.choice(
        (
            "Agreed. I'd only add a check that fails loudly if we are wrong about this.",
            "Same here. I've noted it on the ticket, so that the next run begins with it.",
            "One more thing: let's write down how we would notice that this was the wrong decision.",
        )
    )
