"""RunPod's serverless queue, over its job API."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import timedelta
from typing import TypedDict
from urllib.parse import quote

from msgspec.structs import replace

from gate.environment import Environment
from gate.errors import (
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    SettingsError,
)
from gate.exchanges import Exchanges
from gate.ports import Clock
from gate.provider import Capabilities, Order, Part, ProviderHealth, ProviderJob, ProviderState
from gate.providers._addresses import checked_address
from gate.providers._http import Answer, Ask, HttpHost, Sleep, header_text
from gate.providers._results import checked_secret, left_ms, signed, too_large
from gate.providers._runpod_json import health_of, job_of, stream_of
from gate.settings import Settings

BASE_URL = "https://api.runpod.ai/v2"

_RUN_BYTES_MAX = 10_000_000
_RUNSYNC_BYTES_MAX = 20_000_000
_EXECUTION_MS_MIN = 5_000
_STOPPED_WITHIN_MS = 180_000
"""How long after an order's end RunPod keeps its job. Hop 1 stops it before that, and is told what it took; one that
RunPod has deleted can only pay its hold."""
_WAIT_MS_MIN = 1_000
_WAIT_MS_MAX = 300_000
_WAIT_SECONDS = 10.0
"""RunPod could hold a call for longer. Until it answers, nobody knows the job's id, and so nobody can cancel it."""
_ANSWER_SECONDS = 15.0
_PATIENCE_SECONDS_MAX = 8.0
_STREAM_PAUSE_SECONDS = 0.25
_REMEDIES = {
    401: "RunPod does not know RUNPOD_API_KEY",
    402: "RunPod wants to be paid: look at the account's balance",
    403: "RUNPOD_API_KEY is not allowed to use this endpoint",
    404: "there is no endpoint RUNPOD_ENDPOINT_ID, or it is another account's",
    413: "the request is larger than RunPod takes",
}


class RunPodProvider:
    """A `Provider` that hands jobs to a RunPod endpoint.

    Args:
        endpoint_id: the serverless endpoint's.
        api_key: one that is restricted to this endpoint is enough.
        worker_secret: signs each request, for the worker to check.
        clock: says how long an order is still worth something.
        base_url: of the job API.
        exchanges: another way to send requests.
        sleep: another way to wait.

    Raises:
        SettingsError: one of them cannot be right.
    """

    capabilities = Capabilities(
        name="runpod",
        queues=True,
        stops_at_timeout=True,
        bytes_in_max=_RUN_BYTES_MAX,
        bytes_out_max=_RUNSYNC_BYTES_MAX,
        retention_seconds=60,
        wait_seconds_max=_WAIT_SECONDS,
    )

    def __init__(
        self,
        *,
        endpoint_id: str,
        api_key: str,
        worker_secret: bytes,
        clock: Clock,
        base_url: str = BASE_URL,
        exchanges: Exchanges | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        base = checked_address(base_url, setting="RUNPOD_URL").geturl().rstrip("/")
        self._url = f"{base}/{checked_endpoint(endpoint_id)}"
        self._headers = {"authorization": f"Bearer {header_text('RUNPOD_API_KEY', api_key)}"}
        self._secret = checked_secret(worker_secret)
        self._clock = clock
        self._sleep = sleep
        bytes_out_max = self.capabilities.bytes_out_max
        self._http = HttpHost(name="runpod", bytes_out_max=bytes_out_max, exchanges=exchanges, sleep=sleep)

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock) -> RunPodProvider:
        """Read RUNPOD_ENDPOINT_ID, RUNPOD_API_KEY and RUNPOD_URL.

        Raises:
            SettingsError: one of them is missing or cannot be right.
        """
        secret = settings.worker_secret.reveal().encode()
        return cls(**endpoint_of(settings.environment), worker_secret=secret, clock=clock)

    async def submit(self, order: Order, *, wait_seconds: float) -> ProviderJob:
        """See `Provider.submit`. Waits at RunPod, up to five minutes."""
        left = left_ms(order, self._clock, "runpod")
        wait_ms = min(int(wait_seconds * 1000), left, _WAIT_MS_MAX)
        path, bytes_max = "/run", _RUN_BYTES_MAX
        if wait_ms >= _WAIT_MS_MIN:
            path, bytes_max = f"/runsync?wait={wait_ms}", _RUNSYNC_BYTES_MAX
        ask = self._post(path, self._body(order, left, bytes_max))
        answer = await self._http.ask(
            lambda: ask,
            read_seconds=max(wait_ms, 0) / 1000 + _ANSWER_SECONDS,
            patience_seconds=min(_PATIENCE_SECONDS_MAX, left / 4000),
        )
        return _submitted(answer, order)

    async def stream(self, order: Order, *, wait_seconds: float) -> AsyncGenerator[Part | ProviderJob, None]:
        """See `Streams.stream`. RunPod is asked, again and again, for what came since it was asked last."""
        until = self._clock.now() + timedelta(seconds=wait_seconds)
        job = await self.submit(order, wait_seconds=0)
        while not job.state.final and self._clock.now() < until:
            yield job
            text, state = await self._streamed(job)
            if text:
                yield Part(text=text)
            elif state.final:
                job = await self._seen(job)
            if state is ProviderState.RUNNING:
                job = replace(job, state=state)
            if not text and not job.state.final:
                await self._sleep(_STREAM_PAUSE_SECONDS)
        yield job

    async def status(self, provider_job_id: str) -> ProviderJob:
        """See `Provider.status`."""
        answer = await self._ask("GET", f"/status/{quote(provider_job_id, safe='')}")
        if answer.status == 404:
            return ProviderJob(provider_job_id=provider_job_id, state=ProviderState.EXPIRED)
        if not answer.ok:
            raise _refusal(answer)
        if not answer.whole:
            return too_large(provider_job_id, None)
        return job_of(_json(answer))

    async def cancel(self, provider_job_id: str) -> None:
        """See `Provider.cancel`."""
        answer = await self._ask("POST", f"/cancel/{quote(provider_job_id, safe='')}")
        # RunPod says 400 or 404 of a job that has ended or that it never saw.
        if not answer.ok and answer.status not in (400, 404, 409):
            raise _refusal(answer)

    async def health(self) -> ProviderHealth:
        """See `Provider.health`."""
        answer = await self._ask("GET", "/health")
        if not answer.ok:
            raise _refusal(answer)
        return health_of(_json(answer))

    async def close(self) -> None:
        """See `Provider.close`."""
        await self._http.close()

    async def _streamed(self, job: ProviderJob) -> tuple[str, ProviderState]:
        """Return what a job has written since it was last asked for, and how it stands. No answer changes nothing."""
        with suppress(ProviderError):
            answer = await self._ask("GET", f"/stream/{quote(job.provider_job_id, safe='')}")
            if answer.ok:
                return stream_of(_json(answer))
            if answer.status == 404:
                return "", ProviderState.EXPIRED
        return "", job.state

    async def _seen(self, job: ProviderJob) -> ProviderJob:
        with suppress(ProviderError):
            return await self.status(job.provider_job_id)
        return job

    def _body(self, order: Order, left: int, bytes_max: int) -> bytes:
        """Return the job as RunPod takes it, signed now; RunPod drops it if hop 1 does not stop it in time."""
        policy = {
            "executionTimeout": max(min(order.execution_ms_max, left), _EXECUTION_MS_MIN),
            "ttl": left + _STOPPED_WITHIN_MS,
            **({"lowPriority": True} if order.low_priority else {}),
        }
        webhook = {"webhook": order.webhook} if order.webhook else {}
        request = signed(order, secret=self._secret, now=self._clock.now())
        body = json.dumps({"input": request.to_envelope(), "policy": policy, **webhook}, ensure_ascii=False).encode()
        if len(body) > bytes_max:
            raise ProviderRejectedError(f"runpod: the request has {len(body)} bytes, and {bytes_max} are allowed")
        return body

    def _post(self, path: str, body: bytes) -> Ask:
        headers = {**self._headers, "content-type": "application/json"}
        return Ask(method="POST", url=self._url + path, headers=headers, body=body)

    async def _ask(self, method: str, path: str) -> Answer:
        ask = Ask(method=method, url=self._url + path, headers=self._headers)
        return await self._http.ask(lambda: ask, read_seconds=_ANSWER_SECONDS, patience_seconds=2)


class Endpoint(TypedDict):
    """Which endpoint, and by which key: what the job API's and the management API's settings have in common."""

    endpoint_id: str
    api_key: str
    base_url: str


def endpoint_of(read: Environment) -> Endpoint:
    """Read the settings of the job API.

    Raises:
        SettingsError: one of them is missing.
    """
    return Endpoint(
        endpoint_id=read.needed("RUNPOD_ENDPOINT_ID", "the id of your serverless endpoint"),
        api_key=read.needed("RUNPOD_API_KEY", "`firebase functions:secrets:set RUNPOD_API_KEY`"),
        base_url=read.text("RUNPOD_URL", BASE_URL),
    )


def checked_endpoint(endpoint_id: str) -> str:
    """Return an endpoint's id.

    Raises:
        SettingsError: it is none; an address would be taken apart wrongly.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", endpoint_id):
        raise SettingsError("RUNPOD_ENDPOINT_ID is no endpoint's id: letters and digits, without the address")
    return endpoint_id


def _submitted(answer: Answer, order: Order) -> ProviderJob:
    if answer.ok:
        return job_of(_json(answer)) if answer.whole else too_large(order.job_id, None)
    if answer.status >= 500:
        raise ProviderTimeoutError(f"runpod: HTTP {answer.status}; the job may have been taken")
    raise _refusal(answer)


def _refusal(answer: Answer) -> ProviderError:
    """Return the error that an answer means of which it is sure that it started nothing."""
    if answer.status in _REMEDIES:
        return ProviderRejectedError(f"runpod: HTTP {answer.status}; {_REMEDIES[answer.status]}")
    if answer.status == 429 or answer.status >= 500:
        retry = answer.retry_hint_seconds
        return ProviderUnavailableError(f"runpod: HTTP {answer.status}", retry_after_seconds=retry)
    return ProviderRejectedError(
        f"runpod: HTTP {answer.status}; this version of Twohop sends what RunPod does not take"
    )


def _json(answer: Answer) -> object:
    try:
        return answer.json()
    except ValueError as exc:
        raise ProviderTimeoutError(f"runpod: HTTP {answer.status} with an answer that is no JSON") from exc
