"""The short way to a door: past what functions-framework has around it, once it has shown the way."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send


def straight(request: Request, door: ASGIApp) -> ASGIApp:
    """Return the door, and let it answer all further requests of this process itself.

    A process of functions-framework serves one function, by way of five layers of middleware and a router with one
    route. They do nothing for a door, which routes, logs and answers its own errors, and take a tenth of its time
    (ADR 0008). Starlette's applications keep what they call in `middleware_stack`, for whoever wants another.
    """
    app = request.scope["app"]
    if not isinstance(app.middleware_stack, _Straight):
        app.middleware_stack = _Straight(door, app.middleware_stack)
    return door


class _Straight:
    def __init__(self, door: ASGIApp, before: ASGIApp) -> None:
        self._door = door
        self._before = before

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._door if scope["type"] == "http" else self._before)(scope, receive, send)
