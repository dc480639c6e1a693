"""RunPod's adapters against the fake cloud's HTTP: the contract suites, unchanged, on a clock that jumps.

Every answer of the cloud is held to what RunPod has published of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import jsonschema_rs
import pytest

from gate import wire
from gate.control import ProviderControl
from gate.money import gpu_price
from gate.over_httpx import OverHttpx
from gate.provider import Provider
from gate.providers.runpod import RunPodProvider
from gate.providers.runpod_control import RunPodControl
from tests.cloud.published import Published
from tests.contract.control_contract import ControlContract
from tests.contract.provider_contract import ProviderContract
from tests.makers import NOON, FakeClock
from tests.providers.hosts import SECRET, Sleeper
from twohop.cloud.app import API_KEY, CONTROL_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.jobs import CloudJob
from twohop.cloud.virtual import LoopClock
from twohop.cloud.worker import LoopTimers

START_MS, EXECUTION_MS = 40, 25


class CloudHost:
    """The cloud, with a worker that does what a test says."""

    took = (EXECUTION_MS, START_MS)

    def __init__(self, **endpoint: Any) -> None:
        quick = {"pull_ms": 0, "start_ms": START_MS, "jobs_per_worker": 50}
        price = gpu_price("runpod/AMPERE_16", on=NOON.date())
        self.work = Work(execution_ms=EXECUTION_MS, outputs="outputs")
        self.key = API_KEY
        self.cloud = Cloud(
            timers=LoopTimers(),
            prices=[(0, price)],
            work=self._work,
            endpoint=Endpoint(**{**quick, **endpoint}),
        )
        app = httpx.ASGITransport(app=make_cloud_app(self.cloud, epoch=NOON - timedelta(hours=1)))
        self.published = Published(app)
        self.exchanges = OverHttpx(httpx.MockTransport(self._answer))
        self.error: Exception | None = None

    @property
    def webhook(self) -> str | None:
        return self._latest().webhook

    def finishes(self, outputs: Any) -> None:
        self.work = replace(self.work, outputs=outputs)

    def lasts(self, outputs: Any) -> None:
        self.finishes(outputs)

    def streams(self, texts: Sequence[str], *, outputs: Any) -> None:
        self.work = replace(self.work, outputs=outputs, parts=texts)

    def refuses_the_input(self, message: str) -> None:
        self.work = replace(self.work, failure=wire.WorkFailure(code="invalid-argument", message=message))

    def crashes(self) -> None:
        self.work = replace(self.work, error="Traceback (most recent call last):\nCUDA out of memory")

    def refuses_the_key(self) -> None:
        self.key = "another"

    def is_away(self) -> None:
        self.error = httpx.ConnectError(f"{ENDPOINT_ID}: all connection attempts failed")

    def never_answers(self) -> None:
        self.error = httpx.ReadTimeout(f"{ENDPOINT_ID}: {API_KEY}")

    def _latest(self) -> CloudJob:
        return list(self.cloud.jobs.values())[-1]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.error:
            raise self.error
        if request.headers["authorization"] == f"Bearer {API_KEY}":
            request.headers["authorization"] = f"Bearer {self.key}"
        return await self.published.handle_async_request(request)

    def _work(self, envelope: Mapping[str, Any]) -> Work:
        now_ms = int(NOON.timestamp() * 1000)
        wire.verify(wire.SignedRequest.from_envelope(envelope), secrets=[SECRET], now_ms=now_ms)
        return self.work


class TestProvider(ProviderContract):
    @pytest.fixture
    async def host(self) -> CloudHost:
        return CloudHost()

    @pytest.fixture
    async def provider(self, host: CloudHost) -> Provider:
        return RunPodProvider(
            endpoint_id=ENDPOINT_ID,
            api_key=API_KEY,
            worker_secret=SECRET,
            clock=LoopClock(NOON),
            exchanges=host.exchanges,
        )

    async def test_every_answer_was_held_to_what_runpod_published(self, provider: Provider, host: CloudHost) -> None:
        """A check that checks nothing would pass as well."""
        await self.finish(provider)
        await provider.health()

        assert {route.split("/")[3] for route in host.published.checked} >= {"runsync", "health"}


class TestControl(ControlContract):
    @pytest.fixture
    async def control(self) -> ProviderControl:
        host = CloudHost(workers_max=3, start_ms=60_000)
        host.cloud.submit({})
        host.cloud.submit({})
        await asyncio.sleep(0.01)
        return RunPodControl(
            endpoint_id=ENDPOINT_ID,
            api_key=API_KEY,
            control_key=CONTROL_KEY,
            exchanges=host.exchanges,
            sleep=Sleeper(FakeClock()),
        )


async def test_an_answer_that_runpod_would_not_give_is_seen() -> None:
    """The schemas refuse something."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": "x", "status": "DONE"})

    with pytest.raises(jsonschema_rs.ValidationError):
        async with httpx.AsyncClient(transport=Published(httpx.MockTransport(answer))) as client:
            await client.get("https://runpod.example/v2/x/status/1")
