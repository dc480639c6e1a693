"""The routes of jobs that outlive their request, in the shape of RunPod's.

    POST /run?wait=ms      a signed request, as `/infer` takes it; answered as there if the job ends within the wait,
                           else 202 and `{"id", "status"}`, which end a stream as the event `kept`.
                           `x-twohop-webhook` names who is told of its end then
    GET  /status/{job_id}  `{"id", "status", "result"}`; 404 if it is unknown
    POST /cancel/{job_id}  stop it; answered as `/status` is

The last two are signed as well, over `status` and `cancel` in the place of a body.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gate import wire
from worker.encoding import encode
from worker.errors import RefusedError, UnauthenticatedError
from worker.http.door import Door
from worker.http.exchange import read_headers, read_in_time, respond, signed_request
from worker.http.kept import KeptJob, KeptJobs
from worker.http.live import LiveAnswer, Wait
from worker.jobs.parts import Parts
from worker.jobs.service import Service

_WAIT_MS_MAX = 900_000
_STOP_SECONDS = 1.0
"""How long the engine may take to notice that a job was cancelled."""


class KeptRoutes:
    """Serves them."""

    def __init__(
        self,
        service: Service,
        door: Door,
        kept: KeptJobs,
        *,
        bytes_max: int,
        seconds_max: float,
        heartbeat_seconds: float,
    ) -> None:
        self._service = service
        self._door = door
        self._kept = kept
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._heartbeat_seconds = heartbeat_seconds

    def routes(self) -> list[Route]:
        """Return the routes for the app."""
        return [
            Route("/run", self._run, methods=["POST"]),
            Route("/status/{job_id}", self._status, methods=["GET"]),
            Route("/cancel/{job_id}", self._cancel, methods=["POST"]),
        ]

    async def _run(self, request: Request) -> ASGIApp:
        try:
            with self._door.enter():
                headers = read_headers(request.scope)
                body = await read_in_time(
                    headers, request.receive, bytes_max=self._bytes_max, seconds_max=self._seconds_max
                )
                order = signed_request(headers, body)
                self._service.admit(order)
                parts = Parts()
                job = self._kept.begin(order, parts)
            return self._answer(job, parts, request)
        except RefusedError as exc:
            return respond(exc.http_status, encode(self._service.refuse(exc).to_json()))
        except (ClientDisconnect, OSError):
            return Response(status_code=499)

    def _answer(self, job: KeptJob, parts: Parts, request: Request) -> LiveAnswer:
        """Answer with the end if it comes in time. A caller who leaves before that takes the job along."""

        def go_on() -> dict[str, Any]:
            job.webhook = request.headers.get(wire.WEBHOOK_HEADER)
            return job.to_json()

        wait = Wait(seconds=_wait_ms(request) / 1000, go_on=go_on, leave=lambda: self._kept.drop(job))
        return LiveAnswer(job.task, parts, heartbeat_seconds=self._heartbeat_seconds, wait=wait)

    async def _status(self, request: Request) -> ASGIApp:
        return self._told(self._asked_for(request, b"status"))

    async def _cancel(self, request: Request) -> ASGIApp:
        job = self._asked_for(request, b"cancel")
        if isinstance(job, KeptJob):
            job.task.cancel()
            await asyncio.wait((job.task,), timeout=_STOP_SECONDS)
        return self._told(job)

    def _asked_for(self, request: Request, word: bytes) -> KeptJob | ASGIApp:
        try:
            asking = signed_request(read_headers(request.scope), word)
            if asking.job_id != request.path_params["job_id"]:
                raise UnauthenticatedError("the signature is another job's")
            self._service.prove(asking)
        except RefusedError as exc:
            return respond(exc.http_status, encode(self._service.refuse(exc).to_json()))
        return self._kept.find(asking.job_id) or respond(404, b"{}")

    def _told(self, job: KeptJob | ASGIApp) -> ASGIApp:
        return respond(200, encode(job.to_json())) if isinstance(job, KeptJob) else job


def _wait_ms(request: Request) -> int:
    wait = request.query_params.get("wait", "0")
    return min(int(wait), _WAIT_MS_MAX) if wait.isdecimal() and len(wait) < 10 else 0
