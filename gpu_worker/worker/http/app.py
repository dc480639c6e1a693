"""The HTTP front's routes.

    POST /infer     a signed request: the body as it was signed, the rest in `x-twohop-…` headers
    POST /run       for jobs that may outlive the request; `worker.http.kept_routes` has this and its sisters
    GET  /healthz   the process is alive
    GET  /readyz    the model is loaded and jobs are taken
    GET  /ping      the same for RunPod's load balancer: 200 ready, 204 starting, 503 stopping
    GET  /metrics   numbers for Prometheus, unless METRICS=off

`/infer` answers a `wire.WorkResult`: 200 with outputs; 401 not signed or stale; 408 its body does not come; 409 sent
before; 413 too many bytes; 422 the input is at fault; 500 the worker failed; 503, with Retry-After, not now.

A request that asks for a stream is answered by events; see `worker.http.live`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gate import wire
from worker.encoding import encode
from worker.errors import RefusedError
from worker.http.door import Door
from worker.http.exchange import answer_in_time, read_headers, read_in_time, respond, signed_request
from worker.http.kept import KeptJobs
from worker.http.kept_routes import KeptRoutes
from worker.http.live import LiveAnswer
from worker.jobs.parts import Parts
from worker.jobs.service import Service

_HEARTBEAT_SECONDS = 10.0
"""Proxies hang up on a silent answer, the strictest of them after half a minute."""


def make_app(
    service: Service,
    door: Door,
    *,
    body_bytes_max: int,
    body_seconds_max: float = 30,
    heartbeat_seconds: float = _HEARTBEAT_SECONDS,
    metrics: bool = True,
) -> ASGIApp:
    """Return the app. It publishes no schema and no documentation page: it is not for people."""
    infer = _Infer(service, door, body_bytes_max, body_seconds_max, heartbeat_seconds)
    kept = KeptRoutes(
        service,
        door,
        KeptJobs(service, door),
        bytes_max=body_bytes_max,
        seconds_max=body_seconds_max,
        heartbeat_seconds=heartbeat_seconds,
    )
    routes = [*health_routes(door), Route("/infer", infer, methods=["POST"]), *kept.routes()]
    if metrics:
        routes.append(Route("/metrics", _metrics(service, door)))
    app = Starlette(routes=routes)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        # Most requests are jobs, and a short one takes less time than all that a router does before it is found.
        is_job = scope["type"] == "http" and scope["path"] == "/infer" and scope["method"] == "POST"
        await (infer if is_job else app)(scope, receive, send)

    return front


def health_routes(door: Door) -> list[Route]:
    """Return the routes that say how the worker is."""

    async def healthz(_: Request) -> ASGIApp:
        return respond(200, encode({"status": "alive"}))

    async def readyz(_: Request) -> ASGIApp:
        return respond(503 if door.closed_because else 200, encode({"status": door.closed_because or "ready"}))

    async def ping(_: Request) -> Response:
        if door.is_starting:
            return Response(status_code=204)
        return Response(status_code=503 if door.closed_because else 200)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/ping", ping)]


def _metrics(service: Service, door: Door) -> Callable[[Request], Awaitable[Response]]:
    async def metrics(_: Request) -> Response:
        from worker.http.metrics import CONTENT_TYPE, render  # most workers are never asked

        return Response(render(service.measured, jobs_inside=door.inside), media_type=CONTENT_TYPE)

    return metrics


class _Infer:
    """The route of jobs. It answers by itself, so that a job is inside the door until its answer is written."""

    def __init__(
        self, service: Service, door: Door, bytes_max: int, seconds_max: float, heartbeat_seconds: float
    ) -> None:
        self._service = service
        self._door = door
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._heartbeat_seconds = heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            # The door comes first: a request that is sent back unread can be sent again with the same signature.
            with self._door.enter():
                headers = read_headers(scope)
                body = await read_in_time(headers, receive, bytes_max=self._bytes_max, seconds_max=self._seconds_max)
                signed = signed_request(headers, body)
                self._service.admit(signed)
                await self._answer(signed, scope, receive, send)
        except RefusedError as exc:
            refusal = respond(exc.http_status, encode(self._service.refuse(exc).to_json()))
            await refusal(scope, receive, send)
        except (ClientDisconnect, OSError):
            return  # Nobody reads it.

    async def _answer(self, signed: wire.SignedRequest, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at the end, or as a stream from the first part on; drop the job if its client goes away."""
        parts = Parts()
        answering = asyncio.create_task(answer_in_time(self._service, self._door, signed, parts))
        try:
            live = LiveAnswer(answering, parts, heartbeat_seconds=self._heartbeat_seconds)
            await live(scope, receive, send)
        finally:
            answering.cancel()
