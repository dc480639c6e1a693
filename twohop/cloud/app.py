"""The cloud over HTTP: RunPod's job API and the part of its management API that Twohop uses.

    job API          POST /v2/{endpoint}/run, /runsync, /cancel/{id}, /retry/{id}, /purge-queue
                     GET  /v2/{endpoint}/status/{id}, /stream/{id}, /health
    management API   GET, PATCH /v2/serverless/{endpoint}; GET /v2/serverless/{endpoint}/workers
                     GET  /v2/billing/serverless; POST /graphql

The two live at different hosts in RunPod's cloud, and here at one address.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from twohop.cloud.account import balance_json, billing_json, endpoint_json, workers_json
from twohop.cloud.cloud import Cloud
from twohop.cloud.jobs import CloudJob, Policy

ENDPOINT_ID = "fake0endpoint"
API_KEY = "rpa_FAKE0JOBS"
CONTROL_KEY = "rpa_FAKE0CONTROL"
_WAIT_MS_DEFAULT = 90_000
_WAIT_MS_MAX = 300_000

Answer = Callable[[Request], Awaitable[Response]]


def make_cloud_app(cloud: Cloud, *, epoch: datetime) -> Starlette:
    """Return the app over a cloud. The epoch is the time at which the cloud began, for its bill."""
    jobs = _JobApi(cloud)
    account = _ManagementApi(cloud, epoch)
    job_api, endpoint = f"/v2/{ENDPOINT_ID}", f"/v2/serverless/{ENDPOINT_ID}"
    return Starlette(
        routes=[
            _route(cloud, "GET", endpoint, account.show, CONTROL_KEY),
            _route(cloud, "PATCH", endpoint, account.change, CONTROL_KEY),
            _route(cloud, "GET", f"{endpoint}/workers", account.workers, CONTROL_KEY),
            _route(cloud, "GET", "/v2/billing/serverless", account.billing, CONTROL_KEY),
            _route(cloud, "POST", "/graphql", account.graphql, CONTROL_KEY),
            _route(cloud, "POST", f"{job_api}/run", jobs.run, API_KEY),
            _route(cloud, "POST", f"{job_api}/runsync", jobs.runsync, API_KEY),
            _route(cloud, "GET", f"{job_api}/status/{{job_id}}", jobs.status, API_KEY),
            _route(cloud, "GET", f"{job_api}/stream/{{job_id}}", jobs.stream, API_KEY),
            _route(cloud, "POST", f"{job_api}/cancel/{{job_id}}", jobs.cancel, API_KEY),
            _route(cloud, "POST", f"{job_api}/retry/{{job_id}}", jobs.retry, API_KEY),
            _route(cloud, "POST", f"{job_api}/purge-queue", jobs.purge, API_KEY),
            _route(cloud, "GET", f"{job_api}/health", jobs.health, API_KEY),
        ]
    )


def _route(cloud: Cloud, method: str, path: str, answer: Answer, key: str) -> Route:
    """Return a route that checks the key, and goes wrong as often as the cloud's faults say."""

    async def guarded(request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if given not in (f"Bearer {key}", f"Bearer {CONTROL_KEY}"):
            return _error(403 if given == f"Bearer {API_KEY}" else 401, "this key may not do this")
        if cloud.dice.hit("throttled", cloud.faults.throttled):
            return JSONResponse({"error": "too many requests"}, 429, {"retry-after": "1"})
        response = await answer(request)
        if method == "POST" and cloud.dice.hit("answer_lost", cloud.faults.answer_lost):
            return Response("bad gateway", 502)
        return response

    return Route(path, guarded, methods=[method])


class _JobApi:
    """Jobs, by the endpoint's own key."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def run(self, request: Request) -> Response:
        job = self._submitted(await request.body(), sync=False)
        return _error(400, "the body has no input") if job is None else JSONResponse(_brief(job))

    async def runsync(self, request: Request) -> Response:
        wait_ms = min(int(request.query_params.get("wait", _WAIT_MS_DEFAULT)), _WAIT_MS_MAX)
        job = self._submitted(await request.body(), sync=True)
        if job is None:
            return _error(400, "the body has no input")
        with suppress(TimeoutError):
            await asyncio.wait_for(job.done.wait(), wait_ms / 1000)
        return self._told(job) if job.final else JSONResponse(_brief(job))

    async def status(self, request: Request) -> Response:
        job = self._find(request)
        if job is None or (job.final and self._cloud.dice.hit("forgotten", self._cloud.faults.forgotten)):
            return _error(404, "job not found")
        return self._told(job)

    async def stream(self, request: Request) -> Response:
        job = self._find(request)
        if job is None:
            return _error(404, "job not found")
        parts, job.parts = job.parts, []
        outputs = [*parts, job.output] if job.status == "COMPLETED" else parts
        return JSONResponse({"status": job.status, "stream": [{"output": output} for output in outputs]})

    async def cancel(self, request: Request) -> Response:
        job = self._find(request)
        if job is None:
            return _error(404, "job not found")
        self._cloud.cancel(job)
        return JSONResponse(_brief(job))

    async def retry(self, request: Request) -> Response:
        job = self._find(request)
        if job is None or job.status not in ("FAILED", "TIMED_OUT"):
            return _error(400, "only a job that failed or timed out can be tried again")
        self._cloud.retry(job)
        return JSONResponse(_brief(job))

    async def purge(self, _: Request) -> Response:
        return JSONResponse({"removed": self._cloud.purge(), "status": "completed"})

    async def health(self, _: Request) -> Response:
        states = [job.status for job in self._cloud.jobs.values()]
        jobs = {
            "completed": states.count("COMPLETED"),
            "failed": states.count("FAILED") + states.count("TIMED_OUT"),
            "inProgress": states.count("IN_PROGRESS"),
            "inQueue": states.count("IN_QUEUE"),
            "retried": self._cloud.retried,
        }
        count = self._cloud.count()
        return JSONResponse({"jobs": jobs, "workers": {**count, "ready": count["running"] + count["idle"]}})

    def _submitted(self, body: bytes, *, sync: bool) -> CloudJob | None:
        fields = json.loads(body)
        if not isinstance(fields, dict) or "input" not in fields:
            return None
        policy = Policy.read(fields.get("policy"))
        return self._cloud.submit(fields["input"], policy=policy, webhook=fields.get("webhook"), sync=sync)

    def _find(self, request: Request) -> CloudJob | None:
        return self._cloud.jobs.get(request.path_params["job_id"])

    def _told(self, job: CloudJob) -> Response:
        job.asked += job.final
        return JSONResponse(job.to_json())


class _ManagementApi:
    """Workers and the bill, by a key of the account."""

    def __init__(self, cloud: Cloud, epoch: datetime) -> None:
        self._cloud = cloud
        self._epoch = epoch

    async def show(self, _: Request) -> Response:
        return JSONResponse(endpoint_json(self._cloud, ENDPOINT_ID, self._epoch))

    async def change(self, request: Request) -> Response:
        bounds = json.loads(await request.body()).get("workers", {})
        endpoint = self._cloud.endpoint
        workers_min, workers_max = bounds.get("min", endpoint.workers_min), bounds.get("max", endpoint.workers_max)
        if not _is_count(workers_min) or not _is_count(workers_max) or workers_min > workers_max:
            return _error(400, "workers.min and workers.max are whole numbers, and min is not above max")
        self._cloud.set_workers(workers_min=workers_min, workers_max=workers_max)
        return await self.show(request)

    async def workers(self, _: Request) -> Response:
        return JSONResponse(workers_json(self._cloud))

    async def billing(self, request: Request) -> Response:
        asked = request.query_params
        since, until = (datetime.fromisoformat(asked[name]) for name in ("startTime", "endTime"))
        size = asked.get("bucketSize", "day")
        if size not in ("hour", "day"):
            return _error(400, "bucketSize is hour or day here")
        return JSONResponse(billing_json(self._cloud, ENDPOINT_ID, self._epoch, since=since, until=until, size=size))

    async def graphql(self, _: Request) -> Response:
        return JSONResponse(balance_json(self._cloud))


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _brief(job: CloudJob) -> dict[str, Any]:
    return {"id": job.job_id, "status": job.status}


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)
