"""The GPU cloud behind `twohop dev --cloud`: hop 1's own RunPod adapter speaks to it over loopback, in real time.

GET /cloud says what an owner wants to know of it: its workers, its queue, its bill, and what the ledger says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gate import wire
from gate.assembly import Hop1
from gate.guard.ledger_hours import gpu_microdollars
from twohop.cloud.app import API_KEY, CONTROL_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.faults import CloudFaults
from twohop.cloud.kept import keep_bill, take_up_bill
from twohop.cloud.webhooks import Webhooks
from twohop.cloud.worker import LoopTimers

_PULL_MS = 2_000
_START_MS = 4_000
_EXECUTION_MS = 800
_SCALE_MS = 15_000
"""Above a start, as ADR 0006 advises: a queue that the first worker will empty starts no second one."""
_POST_SECONDS = 10
_JOBS_MAX = 10_000
_MICRODOLLARS_PER_DOLLAR = 1_000_000


def cloud_environment(port: int) -> dict[str, str]:
    """Return the settings with which hop 1 takes the cloud below /cloud for RunPod."""
    return {
        "PROVIDER": "runpod",
        "RUNPOD_URL": f"http://127.0.0.1:{port}/cloud/v2",
        "RUNPOD_CONTROL_URL": f"http://127.0.0.1:{port}/cloud",
        "RUNPOD_ENDPOINT_ID": ENDPOINT_ID,
        "RUNPOD_API_KEY": API_KEY,
        "RUNPOD_CONTROL_KEY": CONTROL_KEY,
    }


class DevCloud:
    """A cloud that belongs to the server's event loop, and keeps its bill in a file."""

    def __init__(self, hop1: Hop1, *, folder: Path, faults: CloudFaults) -> None:
        self._hop1 = hop1
        self._bill = folder / "cloud-bill.json"
        self._faults = faults
        self._epoch = datetime.now(UTC)
        self._cloud: Cloud | None = None
        self._app: ASGIApp | None = None
        self._http = httpx.AsyncClient(timeout=_POST_SECONDS)

    def routes(self) -> list[Route | Mount]:
        """Return the owner's page and the two APIs."""
        return [Route("/cloud", self._show), Mount("/cloud", app=self._apis)]

    def open(self) -> None:
        """Begin, in the loop that runs."""
        tariff = self._hop1.model.tariff
        self._cloud = Cloud(
            timers=LoopTimers(),
            prices=[(0.0, tariff.gpu)],
            work=_work,
            endpoint=Endpoint(
                idle_ms=tariff.idle_ms,
                pull_ms=tariff.billed_pull_ms or _PULL_MS,
                start_ms=min(_START_MS, tariff.start_ms_max),
                scale_ms=_SCALE_MS,
            ),
            faults=self._faults,
        )
        take_up_bill(self._cloud, self._bill, epoch=self._epoch)
        Webhooks(self._cloud, self._post)
        self._app = make_cloud_app(self._cloud, epoch=self._epoch)

    def keep(self) -> None:
        """Write the bill down."""
        if self._cloud:
            keep_bill(self._cloud, self._bill, epoch=self._epoch)

    async def close(self) -> None:
        """Write the bill down, and let go of connections."""
        self.keep()
        await self._http.aclose()

    async def _apis(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None, "the server opens it before it answers"
        await self._app(scope, receive, send)

    async def _post(self, url: str, fields: dict[str, Any]) -> bool:
        try:
            return (await self._http.post(url, json=fields)).is_success
        except httpx.HTTPError:
            return False

    async def _show(self, _: Request) -> PlainTextResponse:
        assert self._cloud is not None, "as above"
        jobs = await self._hop1.store.jobs(limit=_JOBS_MAX)
        ledger = sum(gpu_microdollars(job, self._hop1.model.tariff) for job in jobs)
        return PlainTextResponse(_told(self._cloud, ledger_microdollars=ledger, jobs=len(jobs)))


def _told(cloud: Cloud, *, ledger_microdollars: int, jobs: int) -> str:
    endpoint, count, now_ms = cloud.endpoint, cloud.count(), cloud.timers.now_ms()
    states = ", ".join(f"{number} {state}" for state, number in count.items() if number) or "none"
    billed = cloud.spent_microdollars()
    seconds, lives = cloud.bill.billed_ms(now_ms) / 1000, len(cloud.bill.lives)
    rows = {
        "endpoint": f"{ENDPOINT_ID}, workers {endpoint.workers_min} to {endpoint.workers_max}, "
        f"idle timeout {endpoint.idle_ms / 1000:g} s",
        "workers": states,
        "queue": f"{len(cloud.queue)} jobs wait; {cloud.retried} were tried again",
        "bill": f"{_dollars(billed)} for {seconds:,.0f} s of {lives} worker{'s' * (lives != 1)}",
        "ledger": f"{_dollars(ledger_microdollars)} for the workers' part of {jobs} jobs",
        "bill - ledger": f"{_dollars(billed - ledger_microdollars)}",
        "balance": _dollars(cloud.balance_microdollars - billed),
    }
    return "".join(f"{name:14}{value}\n" for name, value in rows.items())


def _dollars(microdollars: int) -> str:
    return f"{'-' if microdollars < 0 else ''}${abs(microdollars) / _MICRODOLLARS_PER_DOLLAR:,.6f}"


def _work(job_input: Mapping[str, Any]) -> Work:
    """Stand in for a model: eight numbers for each text, always the same ones."""
    try:
        inputs = wire.WorkBody.decode(wire.SignedRequest.from_envelope(job_input).body).inputs
    except wire.WireError as exc:
        return Work(execution_ms=1, failure=wire.WorkFailure(code="unauthenticated", message=str(exc)))
    texts = inputs if isinstance(inputs, list) else [inputs]
    return Work(execution_ms=_EXECUTION_MS, outputs=[_numbers(text) for text in texts])


def _numbers(text: object) -> list[float]:
    digest = hashlib.sha256(repr(text).encode("utf-8", "replace")).digest()
    return [round(byte / 127.5 - 1, 3) for byte in digest[:8]]
