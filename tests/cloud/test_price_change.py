"""A provider raises its price at noon, nobody tells hop 1, and the next reconciliation does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from gate.domain.job import Settlement
from gate.guard.alarm import Alarm
from gate.guard.channels import LogChannel
from gate.guard.reconcile import Reconciler
from gate.money import GpuPrice
from gate.over_httpx import OverHttpx
from gate.providers._runpod_json import job_of
from gate.providers.runpod_control import RunPodControl
from gate.steps.outcome import settlement_for
from tests.gate.doubles import WatchedLedger, WatchedLog
from tests.guard.makers import make_overhead_count
from tests.makers import make_job, make_model, make_moves
from twohop.cloud.app import API_KEY, CONTROL_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Work
from twohop.cloud.jobs import CloudJob
from twohop.cloud.virtual import EPOCH, LoopClock, run_virtual
from twohop.cloud.worker import LoopTimers
from twohop.prove.still import StillLedger

NOON_MS = 12 * 3_600_000
TARIFF = make_model().tariff
DEARER = replace(TARIFF.gpu, nanodollars_per_hour=2 * TARIFF.gpu.nanodollars_per_hour)


def work(_: Mapping[str, Any]) -> Work:
    return Work(execution_ms=2_000)


async def play(path: str, prices: list[tuple[float, GpuPrice]]) -> tuple[float, list[dict[str, Any]]]:
    """Let a job come every five minutes of a day, and return the drift and the alerts that were told."""
    clock, log = LoopClock(), WatchedLog()
    ledger: Any = StillLedger(lambda: WatchedLedger(path))
    cloud = Cloud(timers=LoopTimers(), prices=prices, work=work)
    settling: list[asyncio.Task[None]] = []

    async def settle(settlement: Settlement) -> None:
        job = make_job(held_at=clock.now())
        await ledger.hold(job, make_moves(job))
        await ledger.settle(job, settlement, at=clock.now())

    def ended(job: CloudJob) -> None:
        settlement = settlement_for(job_of(job.to_json()), make_job(held_gpu_ms=90_000), TARIFF, wait_ms=0)
        settling.append(asyncio.ensure_future(settle(settlement)))

    cloud.on_end = ended
    for _ in range(24 * 12):
        cloud.submit({})
        await asyncio.sleep(300)
    await asyncio.sleep(900)
    await asyncio.gather(*settling)
    exchanges = OverHttpx(httpx.ASGITransport(app=make_cloud_app(cloud, epoch=EPOCH)))
    control = RunPodControl(endpoint_id=ENDPOINT_ID, api_key=API_KEY, control_key=CONTROL_KEY, exchanges=exchanges)
    alarm = Alarm(documents=ledger, channels=[LogChannel(log)], clock=clock, log=log)
    reconciler = Reconciler(
        ledger=ledger,
        documents=ledger,
        control=control,
        tariff=TARIFF,
        overhead=make_overhead_count(ledger, log),
        alarm=alarm,
        clock=clock,
        log=log,
    )
    found = await reconciler.reconcile()
    assert found is not None
    assert (found.jobs, found.until - found.since) == (288, timedelta(days=1))
    await ledger.close()
    return round(found.drift_percent, 1), log.lines("alert.changed")


def test_without_a_change_ledger_and_bill_agree(tmp_path: Path) -> None:
    """By the adapter, over HTTP, to the last micro-dollar."""
    drift_percent, told = run_virtual(play(str(tmp_path / "ledger.sqlite3"), [(0, TARIFF.gpu)]))

    assert (drift_percent, told) == (0.0, [])


def test_a_price_that_doubles_at_noon_is_seen_and_told(tmp_path: Path) -> None:
    """Half a day at twice the price: a third of the bill is not in the ledger."""
    prices = [(0.0, TARIFF.gpu), (float(NOON_MS), DEARER)]

    drift_percent, told = run_virtual(play(str(tmp_path / "ledger.sqlite3"), prices))

    assert drift_percent == 33.3
    [line] = told
    assert (line["alert"], line["state"]) == ("drift", "critical")
    assert "HARDWARE" in line["text"]
