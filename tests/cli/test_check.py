"""`asgi-forum check`, in a process of its own."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from asgi_forum import Forum as Mounted
from tests.cli.command import Forum, one_line, run
from tests.servers import serve


def test_a_forum_that_is_well_is_described(forum: Forum) -> None:
    """Health, head cursor, and the time of one read; nothing is written."""
    published = run("publish", forum.url, "--ticket", "T", "--type", "a").stdout.decode().split()
    for _ in range(2):
        found = run("check", forum.url)
        assert (found.returncode, found.stderr) == (0, b"")
        told = dict(line.split(None, 1) for line in found.stdout.decode().splitlines())
        assert told.pop("read").endswith(" ms")
        assert told == {
            "status": "ok",
            "source": "memory, available",
            "streams": "sse 0, websocket 0",
            "cursor": published[2],
        }


@pytest.mark.parametrize("withheld", [True, False])
def test_a_degraded_forum_is_a_failure(withheld: bool) -> None:
    """Also where it tells nothing but that."""
    report = {"status": "degraded"} | (
        {} if withheld else {"source": {"kind": "redis", "available": False}, "streams": {"sse": 1, "websocket": 0}}
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        health = str(scope["path"]).endswith("/health")
        away = {"error": {"code": "source_unavailable", "message": "the event source can't be reached just now"}}
        await JSONResponse(report if health else away, 200 if health else 503)(scope, receive, send)

    with serve(app) as served:
        found = run("check", served.url)
    assert found.returncode == 1
    assert "degraded" in one_line(found.stderr)
    assert found.stdout.decode().startswith("status   degraded\n")
    assert ("source   redis, away" in found.stdout.decode()) == (not withheld)


def test_what_a_server_says_cannot_take_over_a_terminal() -> None:
    """Neither its refusals nor its reports."""
    evil = "\x1b]0;owned\x07\x9b31m\r\n"
    report = {
        "status": evil,
        "source": {"kind": evil, "available": True, evil: evil},
        "streams": {evil: 1},
        "cursor": evil,
    }
    refusal = {"error": {"code": "forbidden", "message": evil}}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        health = str(scope["path"]).endswith("/health")
        await JSONResponse(report if health else refusal, 200 if health else 403)(scope, receive, send)

    with serve(app) as served:
        for command in (("check",), ("tail",), ("publish", "--ticket", "T", "--type", "a")):
            found = run(command[0], served.url, *command[1:])
            assert found.returncode == 1
            one_line(found.stderr)
            assert not {"\x1b", "\x07", "\x9b", "\r"} & set((found.stdout + found.stderr).decode())


def test_it_may_show_who_it_is() -> None:
    """By headers, on the command line or in the environment."""

    def authorize(connection: HTTPConnection, _: object) -> bool:
        return connection.headers.get("authorization") == "Bearer right" and "x-more" in connection.headers

    app = Starlette(routes=[Mount("/forum", app=Mounted(authorize=authorize))])
    with serve(app) as served:
        url = f"{served.url}/forum"
        refused = run("check", url, "--header", "Authorization: Bearer wrong")
        given = run("check", url, "--header", "Authorization: Bearer right", "--header", "X-More:1")
        from_environment = run("check", url, env={"ASGI_FORUM_HEADER": "Authorization: Bearer right\nX-More: 1\n"})
    assert refused.returncode == 1
    assert one_line(refused.stderr).startswith("Error: ")
    assert given.returncode == from_environment.returncode == 0


def test_what_does_not_answer_is_one_line() -> None:
    """Nothing that listens, or something else."""
    nobody = run("check", "http://127.0.0.1:1/forum")
    assert nobody.returncode == 1
    assert one_line(nobody.stderr).startswith("Error: http://127.0.0.1:1/forum: ")
    with serve(HTMLResponse("<html>")) as served:
        page = run("check", served.url)
    assert page.returncode == 1
    assert re.search("did not answer as a forum does", one_line(page.stderr))
