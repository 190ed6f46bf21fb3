"""The demo's own endpoints, by plain requests: what they refuse, and what they never believe."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest
from starlette.types import Message

from asgi_forum.client import read
from demo.app import create_app
from tests.browser.conftest import AGENT_KEY

pytestmark = pytest.mark.anyio

QUESTION = {"request_id": "web-test-0001", "name": "Ada", "title": "Who?", "ticket": "T-1"}


@pytest.fixture
async def api(demo: str) -> AsyncGenerator[httpx2.AsyncClient, None]:
    """A client of the demo's endpoints."""
    async with httpx2.AsyncClient(base_url=demo) as client:
        yield client


async def test_who_acts_is_decided_by_the_server(api: httpx2.AsyncClient, demo: str) -> None:
    """A visitor who claims to be an agent, or names an event's type, is a human who asked a question."""
    claims = {"actor_type": "agent", "event_type": "forum.control.signal", "agent_name": "coder-1"}
    assert (await api.post("/api/ask", json={**QUESTION, **claims})).status_code == 201
    (event,) = (await read(f"{demo}/forum")).events
    assert (event.envelope.actor_type, event.envelope.event_type) == ("human", "forum.thread.opened")
    assert event.envelope.agent_name is None


async def test_publishing_past_the_forms_takes_the_agents_key(api: httpx2.AsyncClient) -> None:
    """The forum's own POST is for who has the key."""
    event = {"event_type": "forum.post.added", "ticket": "T-1"}
    assert (await api.post("/forum/events", json=event)).status_code == 403
    wrong = {"Authorization": "Bearer wrong"}
    assert (await api.post("/forum/events", json=event, headers=wrong)).status_code == 403
    right = {"Authorization": f"Bearer {AGENT_KEY}"}
    assert (await api.post("/forum/events", json=event, headers=right)).status_code == 201


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"title": "   "}, "title", "Please give your question a title."),
        ({"title": "x" * 201}, "title", "at most 200 characters"),
        ({"title": "two\nlines"}, "title", "one line"),
        ({"title": None}, "title", "valid string"),
        ({"ticket": ""}, "ticket", "Please name the ticket"),
        ({"body": "x" * 10_001}, "body", "at most 10,000 characters"),
        ({"priority": "sky-high"}, "priority", "'low', 'normal', 'high' or 'urgent'"),
        ({"name": ""}, "name", "Please tell your name."),
        ({"request_id": "short"}, "request_id", "match pattern"),
    ],
)
async def test_a_form_that_is_off_names_the_field(
    api: httpx2.AsyncClient, change: dict[str, Any], field: str, said: str
) -> None:
    """Whatever is wrong with a form is said at its field, and nothing is published."""
    answer = await api.post("/api/ask", json={**QUESTION, **change})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert list(error["fields"]) == [field]
    assert said in error["fields"][field]
    assert (await api.get("/forum/events")).json()["events"] == []


@pytest.mark.parametrize(
    ("path", "content", "content_type", "status"),
    [
        ("/api/ask", b"not json", "application/json", 400),
        ("/api/ask", b"[1, 2]", "application/json", 422),
        ("/api/ask", b"title=x", "application/x-www-form-urlencoded", 415),
        ("/api/ask", b" " * 70_000, "application/json", 413),
        ("/api/ask", b'{"title": "\\ud800", "request_id": "web-test-0001", "name": "A", "ticket": "T"}', "application/json", 400),
        ("/api/ask", b"[" * 60_000, "application/json", 400),
        ("/api/dance", b"{}", "application/json", 404),
    ],
)  # fmt: skip
async def test_every_refusal_is_a_sentence(
    api: httpx2.AsyncClient, path: str, content: bytes, content_type: str, status: int
) -> None:
    """What can't be read, isn't allowed or isn't there is answered with JSON and a message, never with a traceback."""
    answer = await api.post(path, content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_leaving_amid_a_form_is_no_error_of_the_server() -> None:
    """A visitor whose connection breaks while a form is sent leaves no event, and no exception for the server's log."""
    app = create_app()
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/api/ask", "query_string": b"", "headers": headers}
    sent: list[Message] = [
        {"type": "http.request", "body": b'{"title"', "more_body": True},
        {"type": "http.disconnect"},
    ]
    answered: list[Message] = []

    async def receive() -> Message:
        return sent.pop(0)

    async def send(message: Message) -> None:
        answered.append(message)

    await app(scope, receive, send)
    assert answered[0]["status"] == 400


@pytest.mark.parametrize(
    ("action", "form"),
    [("reply", {"thread_id": "none", "body": "x"}), ("signal", {"ticket": "T-1", "run_id": "none", "signal": "stop"})],
)
async def test_what_is_not_there_is_said_to_be_gone(api: httpx2.AsyncClient, action: str, form: dict[str, str]) -> None:
    """A thread or a run that the server doesn't have is a 404 that tells the likely reason."""
    answer = await api.post(f"/api/{action}", json={"request_id": "web-test-0001", "name": "Ada", **form})
    assert answer.status_code == 404
    assert "restarted" in answer.json()["error"]["message"]


async def test_the_same_form_counts_once(api: httpx2.AsyncClient) -> None:
    """A form that is sent twice opens one thread; the same id with other content is refused."""
    first, second = [(await api.post("/api/ask", json=QUESTION)).json() for _ in range(2)]
    assert first == second
    assert (await api.post("/api/ask", json={**QUESTION, "title": "Other"})).status_code == 409
    assert len((await api.get("/forum/events")).json()["events"]) == 1


async def test_a_thread_can_be_replied_to_at_once(api: httpx2.AsyncClient) -> None:
    """The next request knows of a thread that was just opened, and of one that was just closed."""
    thread = (await api.post("/api/ask", json=QUESTION)).json()["thread_id"]
    on_thread = {"name": "Ada", "thread_id": thread, "body": "x"}
    assert (await api.post("/api/reply", json={**on_thread, "request_id": "web-test-0002"})).status_code == 201
    assert (await api.post("/api/close", json={**on_thread, "request_id": "web-test-0003"})).status_code == 201
    assert (await api.post("/api/reply", json={**on_thread, "request_id": "web-test-0004"})).status_code == 409


async def test_the_page_allows_scripts_of_its_own_server_only(api: httpx2.AsyncClient) -> None:
    """Should the page ever make markup of a post, the browser would still run nothing of it."""
    policy = (await api.get("/")).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
