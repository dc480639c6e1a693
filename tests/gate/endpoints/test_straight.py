"""Past the framework's layers, after it has shown the way once."""

from __future__ import annotations

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gate.endpoints.straight import straight


class Counting:
    """A layer that counts what goes through it."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self.app = app
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope["path"])
        await self.app(scope, receive, send)


async def test_a_process_asks_the_framework_for_the_way_once() -> None:
    """Its layers do nothing for a door, at each call."""
    seen: list[str] = []

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(f"{scope['method']} {scope['path']}")(scope, receive, send)

    async def endpoint(request: Request) -> ASGIApp:
        return straight(request, door)

    framework = Starlette(
        routes=[Route("/{path:path}", endpoint, methods=["GET", "POST"])],
        middleware=[Middleware(Counting, seen=seen)],
    )

    async with httpx.AsyncClient(transport=httpx.ASGITransport(framework), base_url="http://127.0.0.1") as client:
        answers = [(await client.post(path)).text for path in ("/first", "/second", "/third")]

    assert answers == ["POST /first", "POST /second", "POST /third"]
    assert seen == ["/first"]
