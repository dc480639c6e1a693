"""Hop 1 and all that watches it, over a cloud that bills, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import httpx

from gate.domain.model import ServedModel
from gate.domain.plan import GateConfig
from gate.endpoints.webhook import WebhookDoor
from gate.errors import GateError
from gate.guard.alarm import Alarm
from gate.guard.channels import LogChannel
from gate.guard.kill_ladder import KillLadder
from gate.guard.overhead import OverheadCount
from gate.guard.reconcile import Reconciler
from gate.guard.sweeper import Sweeper
from gate.guard.watch import Bounds
from gate.guard.watchdog import Watchdog
from gate.ledgers.sqlite import SqliteLedger
from gate.money import GpuPrice
from gate.over_httpx import OverHttpx
from gate.providers.runpod import RunPodProvider
from gate.providers.runpod_control import RunPodControl
from gate.service import Gate
from gate.steps.policy import Policies
from tests.gate.doubles import WatchedLog, fill
from tests.gate.world import WEBHOOKS
from tests.makers import make_documents
from tests.providers.hosts import SECRET
from twohop.cloud.app import API_KEY, CONTROL_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.faults import CloudFaults
from twohop.cloud.virtual import EPOCH, LoopClock
from twohop.cloud.webhooks import Webhooks as CloudWebhooks
from twohop.cloud.worker import LoopTimers
from twohop.prove.still import StillLedger

Action = Callable[[], Awaitable[Any]]


class CloudWorld:
    """Everything that is deployed, and a cloud in RunPod's place. The schedules run as `main.py` says."""

    def __init__(
        self,
        path: str,
        *,
        model: ServedModel,
        work: Callable[[Mapping[str, Any]], Work],
        prices: Sequence[tuple[float, GpuPrice]] = (),
        endpoint: Endpoint | None = None,
        faults: CloudFaults | None = None,
    ) -> None:
        self.model, self.clock, self.log = model, LoopClock(), WatchedLog()
        self.ledger: Any = StillLedger(lambda: SqliteLedger(path))
        self.cloud = Cloud(
            timers=LoopTimers(),
            prices=prices or [(0.0, model.tariff.gpu)],
            work=work,
            endpoint=endpoint or Endpoint(),
            faults=faults or CloudFaults(),
        )
        exchanges = OverHttpx(httpx.ASGITransport(app=make_cloud_app(self.cloud, epoch=EPOCH)))
        self.provider = RunPodProvider(
            endpoint_id=ENDPOINT_ID, api_key=API_KEY, worker_secret=SECRET, clock=self.clock, exchanges=exchanges
        )
        control = RunPodControl(
            endpoint_id=ENDPOINT_ID, api_key=API_KEY, control_key=CONTROL_KEY, exchanges=exchanges
        )
        policies = Policies(documents=self.ledger, notifier=self.log, clock=self.clock, fresh_seconds=10)
        alarm = Alarm(documents=self.ledger, channels=[LogChannel(self.log)], clock=self.clock, log=self.log)
        self.gate = Gate(
            policies=policies,
            ledger=self.ledger,
            provider=self.provider,
            model=model,
            webhooks=WEBHOOKS,
            clock=self.clock,
            log=self.log,
        )
        self.sweeper = Sweeper(
            ledger=self.ledger,
            policies=policies,
            clock=self.clock,
            log=self.log,
            visit=self.gate.follower.visit,
        )
        self.watchdog = Watchdog(
            ledger=self.ledger,
            documents=self.ledger,
            policies=policies,
            provider=self.provider,
            control=control,
            alarm=alarm,
            bounds=Bounds(start_seconds_max=60, idle_seconds=5),
            visit=self.gate.follower.visit,
            clock=self.clock,
            log=self.log,
        )
        self.ladder = KillLadder(
            store=self.ledger, clock=self.clock, log=self.log, control=control, stop=self.gate.follower.stop
        )
        overhead = OverheadCount(
            ledger=self.ledger,
            documents=self.ledger,
            job_microdollars_max=model.worst_case_gpu_microdollars,
            log=self.log,
        )
        self.reconciler = Reconciler(
            ledger=self.ledger,
            documents=self.ledger,
            control=control,
            tariff=model.tariff,
            overhead=overhead,
            alarm=alarm,
            clock=self.clock,
            log=self.log,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._tell_of_ends()

    async def configure(self, config: GateConfig) -> None:
        await fill(self.ledger, make_documents(config=config))

    def run_schedules(self) -> None:
        """Do what Cloud Scheduler does."""
        self.start(_every(timedelta(minutes=1), timedelta(0), self._go_up_and_look_after))
        self.start(_every(timedelta(minutes=5), timedelta(0), self._sweep))
        self.start(_every(timedelta(hours=1), timedelta(minutes=12), self.reconciler.reconcile))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.ledger.close()

    async def _go_up_and_look_after(self) -> None:
        await self.ladder.run()
        await self.sweeper.look_after()

    async def _sweep(self) -> None:
        await self.sweeper.sweep()
        await self.watchdog.look()

    def _tell_of_ends(self) -> None:
        door = WebhookDoor(self.gate.jobs.ended, webhooks=WEBHOOKS, log=self.log)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=door))

        async def post(url: str, fields: dict[str, Any]) -> bool:
            return (await client.post(url, json=fields)).is_success

        CloudWebhooks(self.cloud, post)


async def again_and_again(ask: Action, *, pause_seconds: float) -> None:
    """Ask and ask again, whatever the answer is."""
    while True:
        with suppress(GateError):
            await ask()
        await asyncio.sleep(pause_seconds)


async def _every(interval: timedelta, offset: timedelta, action: Action) -> None:
    """Run at each multiple of the interval, and the offset."""
    clock = LoopClock()
    while True:
        due = _next_after(clock.now(), interval, offset)
        await asyncio.sleep((due - clock.now()).total_seconds())
        with suppress(GateError):
            await action()


def _next_after(now: datetime, interval: timedelta, offset: timedelta) -> datetime:
    passed = (now - EPOCH - offset) // interval
    return EPOCH + offset + (passed + 1) * interval
