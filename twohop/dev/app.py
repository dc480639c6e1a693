"""Hop 1 as one ASGI app for this machine: the deployed doors, the dev sign-in, and a first page."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from gate.assembly import Hop1
from gate.callers.dev import DevSignIn
from gate.endpoints.cors import LOOPBACK_ORIGIN
from gate.errors import GateError
from gate.stores.files import FileResultStore
from gate.watchroom import make_watchroom
from twohop.dev.cloud import DevCloud
from twohop.dev.sign_in import SignInRoutes

_PAGE = Path(__file__).with_name("page.html")
_SWEEP_SECONDS = 60
_LADDER_SECONDS = 10
"""A sixth of what Cloud Scheduler takes, for somebody who looks on."""
_RECONCILE_SECONDS = 600
_FIRST_SECONDS = 1
"""The cloud's bill is asked for over loopback, from a server that is not open yet."""


def make_app(hop1: Hop1, sign_in: DevSignIn, *, project: str, cloud: DevCloud | None = None) -> Starlette:
    """Return the app. A callable answers where `connectFunctionsEmulator` posts: `/{project}/{region}/{name}`."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if cloud:
            cloud.open()
        schedules = asyncio.gather(*_schedules(hop1, cloud))
        yield
        schedules.cancel()
        with suppress(asyncio.CancelledError):
            await schedules
        if cloud:
            await cloud.close()
        await hop1.close()

    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(_page(request, project=project, model=hop1.settings.model_name))

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    # The sign-in's doors have no allow-list of their own: only pages of this machine may use them.
    loopback = Middleware(
        CORSMiddleware, allow_origin_regex=LOOPBACK_ORIGIN, allow_methods=["GET", "POST"], allow_headers=["*"]
    )
    sign_in_routes = Starlette(routes=SignInRoutes(sign_in).routes(), middleware=[loopback])
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/healthz", healthz),
            Route("/{project}/{region}/infer", hop1.infer),
            Route("/{project}/{region}/submit", hop1.submit),
            Route("/{project}/{region}/job", hop1.job),
            Route("/{project}/{region}/cancel", hop1.cancel),
            Route("/{project}/{region}/quota", hop1.quota),
            Route("/{project}/{region}/tokens", hop1.tokens),
            Route("/{project}/{region}/webhook", hop1.webhook),
            Route("/{project}/{region}/result", _result_route(hop1)),
            *(cloud.routes() if cloud else ()),
            *(Route(path, hop1.api()) for path in ("/v1/{rest:path}", "/models/{rest:path}", "/openapi.json")),
        ],
        lifespan=lifespan,
        # A page elsewhere could point a name of its own at this machine, and would then be of this origin.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )
    app.mount("/", sign_in_routes)
    return app


def _result_route(hop1: Hop1) -> Callable[[Request], Awaitable[Response]]:
    async def result(request: Request) -> Response:
        assert isinstance(hop1.results, FileResultStore)
        asked = {name: request.query_params.get(name, "") for name in ("expires", "proof")}
        content = await hop1.results.read(request.query_params.get("job", ""), **asked)
        if content is None:
            return Response(status_code=404)
        # The address is the key, as a bucket's signed one is; any page that has it may read it.
        return Response(content, media_type="application/json", headers={"access-control-allow-origin": "*"})

    return result


def _page(request: Request, *, project: str, model: str) -> str:
    """Return the first page, with the words of this very server in it."""
    url = request.base_url
    words = {
        "base": str(url).rstrip("/"),
        "project": project,
        "model": html.escape(model),
        "host": url.hostname,
        "port": url.port or 80,
    }
    text = _PAGE.read_text("utf-8")
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", str(value))
    return text


def _schedules(hop1: Hop1, cloud: DevCloud | None) -> Iterator[Coroutine[Any, Any, None]]:
    """Yield what Cloud Scheduler does in the cloud."""
    watchroom = make_watchroom(hop1)

    async def sweep() -> None:
        await hop1.sweeper.sweep()
        await watchroom.watchdog.look()
        if cloud:
            cloud.keep()

    yield _for_ever(sweep, _SWEEP_SECONDS)
    yield _for_ever(watchroom.ladder.run, _LADDER_SECONDS)
    if watchroom.reconciler:
        yield _for_ever(watchroom.reconciler.reconcile, _RECONCILE_SECONDS)


async def _for_ever(run: Callable[[], Awaitable[object]], pause_seconds: float) -> None:
    await asyncio.sleep(_FIRST_SECONDS)
    while True:
        with suppress(GateError):
            await run()
        await asyncio.sleep(pause_seconds)
