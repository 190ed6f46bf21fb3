"""Publishers who go on until what they have was accepted, and now and then publish again what was."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import anyio
import httpx2

from asgi_forum import client
from asgi_forum.errors import EventIdConflict, ForumError, Unavailable
from tests.properties.checker import Violation
from tests.soak.plans import RUNS, THREADS, TICKETS, TYPES, PublisherPlan
from tests.soak.scene import Attempt, Document, Request, Scene

__all__ = ["Publisher", "publish_all"]

_SIZES = {0: 30, 10: 20, 100: 20, 300: 15, 1000: 10, 5000: 4, 20_000: 2, 100_000: 1}
"""Characters of a payload, and how often they come."""

_TIMEOUT = 6.0


class Publisher:
    """One of them."""

    def __init__(self, scene: Scene, plan: PublisherPlan) -> None:
        """Begin with nothing published."""
        self._scene = scene
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._url = scene.stage.url(front=plan.front)
        self._made = 0
        self._done: list[Request] = []

    def run(self) -> None:
        """Publish until the round is over."""
        with httpx2.Client(timeout=_TIMEOUT, trust_env=False) as http:
            while not (self._scene.over.is_set() or self._scene.aborted.is_set()):
                self.send(http, self._request())
                self._scene.pause(self._chance.expovariate(1 / self._plan.pause))

    def burst(self, count: int) -> None:
        """Publish so much at once."""
        with httpx2.Client(timeout=_TIMEOUT, trust_env=False) as http:
            for _ in range(3):
                self.send(http, Request([self._event() for _ in range(count)]))

    def send(self, http: httpx2.Client, request: Request) -> None:
        """Try until it is accepted, or refused as it has to be."""
        self._scene.requests.append(request)
        post = self._post_as_client if self._plan.client else self._post
        while not self._scene.aborted.is_set():
            attempt = post(http, request.events)
            request.attempts.append(attempt)
            if attempt.status in (200, 201, 409):
                break
            if attempt.status not in (0, 503):
                raise Violation(f"{attempt.status} for a request that is right: {attempt.answer}")
            if self._scene.now > self._scene.deadline:
                raise Violation(f"nothing was accepted any more: {request.attempts[-3:]}")
            self._scene.pause(self._chance.uniform(0.05, 0.5))
        else:
            return
        if attempt.status != 409:
            self._done.append(request)
            self._scene.acknowledged += [(each["sequence"], each["cursor"]) for each in attempt.answer["events"]]

    def _request(self) -> Request:
        """Draw what to publish: mostly something new; something old too, and, where the log stays, an old id with other content."""
        chance = self._chance
        kind = chance.random()
        if self._done and kind < 0.15:
            old = chance.choice(chance.choice(self._done).events)
            if kind < 0.05:
                return Request(chance.choice(self._done[-20:]).events)
            if kind < 0.1:
                return Request([old, *(self._event() for _ in range(chance.randint(1, 3)))])
            if not self._scene.plan.settings.wipes:
                changed = {**old, "payload": {"other": "content"}}
                return Request([self._event(), changed], conflicts=True)
        return Request([self._event() for _ in range(1 if kind < 0.7 else chance.randint(2, 20))])

    def _event(self) -> Document:
        chance = self._chance
        self._made += 1
        (size,) = chance.choices(list(_SIZES), list(_SIZES.values()))
        event: Document = {
            "event_id": f"{self._plan.name.replace(' ', '-')}-{self._made}",
            "event_type": chance.choice(TYPES),
            "ticket": chance.choice(TICKETS),
            "payload": {"n": self._made, "text": chance.choice("aaä€") * size},
        }
        for name, values in (("run_id", RUNS), ("thread_id", THREADS)):
            if chance.random() < 0.7:
                event[name] = chance.choice(values)
        return event

    def _post(self, http: httpx2.Client, events: Sequence[Document]) -> Attempt:
        began = time.monotonic()
        try:
            answer = http.post(f"{self._url}/events", json=events)
        except httpx2.HTTPError as error:
            return Attempt(began, time.monotonic(), 0, {"error": repr(error)})
        return Attempt(began, time.monotonic(), answer.status_code, answer.json())

    def _post_as_client(self, http: httpx2.Client, events: Sequence[Document]) -> Attempt:
        """Publish as users of the package do."""
        del http
        began = time.monotonic()

        async def publish() -> list[Any]:
            return await client.publish(self._url, events, answer_timeout=_TIMEOUT)

        try:
            receipts = anyio.run(publish)
        except EventIdConflict as error:
            return Attempt(began, time.monotonic(), 409, {"error": {"message": str(error)}})
        except Unavailable as error:
            told = {"code": error.code, "outcome": error.outcome, "event_ids": list(error.event_ids)}
            return Attempt(began, time.monotonic(), 503, {"error": told})
        except ForumError as error:
            return Attempt(began, time.monotonic(), error.status, {"error": repr(error)})
        names = ("event_id", "sequence", "cursor", "duplicate")
        found = [{name: getattr(each, name) for name in names} for each in receipts]
        status = 200 if all(each["duplicate"] for each in found) else 201
        return Attempt(began, time.monotonic(), status, {"events": found})


def publish_all(scene: Scene, events: Sequence[Document]) -> None:
    """Publish something in one request, straight to the server, until it is accepted."""
    publisher = Publisher(scene, PublisherPlan("the fence", 0, 0.0, front=False, client=False))
    with httpx2.Client(timeout=_TIMEOUT, trust_env=False) as http:
        publisher.send(http, Request(events))
