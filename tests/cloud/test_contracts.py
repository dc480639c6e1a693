"""RunPod's management adapter against the fake cloud's HTTP: the contract suite, unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gate import wire
from gate.control import ProviderControl
from gate.money import gpu_price
from gate.providers.runpod_control import RunPodControl
from tests.contract.control_contract import ControlContract
from tests.makers import NOON, FakeClock
from tests.providers.hosts import SECRET, Sleeper
from twohop.cloud.app import API_KEY, CONTROL_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.worker import LoopTimers


class CloudHost:
    """The cloud, with a worker that does what a test says; starts take no time."""

    def __init__(self, **endpoint: Any) -> None:
        quick = {"pull_ms": 0, "start_ms": 5, "jobs_per_worker": 50}
        price = gpu_price("runpod/AMPERE_16", on=NOON.date())
        self.doing = Work(execution_ms=3, outputs="outputs")
        self.cloud = Cloud(
            timers=LoopTimers(),
            prices=[(0, price)],
            work=self._work,
            endpoint=Endpoint(**{**quick, **endpoint}),
        )
        self.transport = httpx.ASGITransport(app=make_cloud_app(self.cloud, epoch=NOON - timedelta(hours=1)))

    def _work(self, envelope: Mapping[str, Any]) -> Work:
        now_ms = int(NOON.timestamp() * 1000)
        wire.verify(wire.SignedRequest.from_envelope(envelope), secrets=[SECRET], now_ms=now_ms)
        return self.doing


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
            transport=host.transport,
            sleep=Sleeper(FakeClock()),
        )
