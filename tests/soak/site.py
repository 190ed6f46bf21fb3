"""An application of somebody's own with a forum mounted in it and no lifespan wired, for uvicorn as it is."""

from __future__ import annotations

import asyncio
import json
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from asgi_forum import Forum, Limits

LIMITS = "SOAK_LIMITS"

forum = Forum.from_env(limits=Limits(**json.loads(os.environ.get(LIMITS, "{}"))))


async def tasks(request: Request) -> JSONResponse:
    """Name the tasks that are there, but for the one that answers this."""
    del request
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return JSONResponse(sorted(f"{each.get_name()}: {each.get_coro()!r}" for each in others))


app = Starlette(routes=[Route("/tasks", tasks), Mount("/forum", app=forum)])
