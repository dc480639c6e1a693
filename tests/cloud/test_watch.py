"""The watchdog, its adapters and a cloud that misbehaves: what costs money and should not is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from gate.guard.alarm import Alarm
from gate.guard.channels import LogChannel
from gate.guard.watch import Bounds
from gate.guard.watchdog import Watchdog
from gate.ledgers.sqlite import SqliteLedger
from gate.money import gpu_price
from gate.providers.runpod import RunPodProvider
from gate.providers.runpod_control import RunPodControl
from gate.steps.policy import Policies
from tests.makers import make_config, make_documents
from tests.providers.hosts import SECRET
from tests.unit.doubles import WatchedLog, fill
from twohop.cloud.app import API_KEY, CONTROL_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.faults import CloudFaults
from twohop.cloud.virtual import EPOCH, LoopClock, run_virtual
from twohop.cloud.worker import LoopTimers
from twohop.prove.still import StillLedger

CONFIG = make_config(budget_microdollars_per_day=5_000_000, budget_microdollars_per_month=50_000_000)
MINUTES = 45

Trouble = Callable[[Cloud], None]


def work(_: Mapping[str, Any]) -> Work:
    return Work(execution_ms=2_000)


def nothing(cloud: Cloud) -> None:
    cloud.submit({})


def a_worker_that_never_ends(cloud: Cloud) -> None:
    cloud.set_workers(workers_min=1, workers_max=3)


def a_start_that_never_ends(cloud: Cloud) -> None:
    cloud.endpoint.start_ms = 3_600_000
    cloud.submit({})


def a_job_that_is_tried_for_ever(cloud: Cloud) -> None:
    cloud.faults = CloudFaults(crashed=1)
    cloud.endpoint.retries_max = 10**9
    cloud.submit({})


def an_endpoint_that_was_cut(cloud: Cloud) -> None:
    cloud.set_workers(workers_min=0, workers_max=0)


def a_balance_that_is_nearly_gone(cloud: Cloud) -> None:
    cloud.balance_microdollars = 400_000


async def play(path: str, trouble: Trouble) -> set[str]:
    """Look every five minutes, with a ledger that knows of no job, and return the alerts that were raised."""
    clock, log = LoopClock(), WatchedLog()
    ledger: Any = StillLedger(lambda: SqliteLedger(path))
    await fill(ledger, make_documents(config=CONFIG))
    prices = [(0.0, gpu_price("runpod/AMPERE_16", on=EPOCH.date()))]
    cloud = Cloud(timers=LoopTimers(), prices=prices, work=work, endpoint=Endpoint())
    transport = httpx.ASGITransport(app=make_cloud_app(cloud, epoch=EPOCH))
    watchdog = Watchdog(
        ledger=ledger,
        documents=ledger,
        policies=Policies(documents=ledger, notifier=log, clock=clock, fresh_seconds=10),
        provider=RunPodProvider(
            endpoint_id=ENDPOINT_ID, api_key=API_KEY, worker_secret=SECRET, clock=clock, transport=transport
        ),
        control=RunPodControl(endpoint_id=ENDPOINT_ID, api_key=API_KEY, control_key=CONTROL_KEY, transport=transport),
        alarm=Alarm(documents=ledger, channels=[LogChannel(log)], clock=clock, log=log),
        bounds=Bounds(start_seconds_max=60, idle_seconds=5),
        clock=clock,
        log=log,
    )
    await watchdog.look()
    trouble(cloud)
    for _ in range(MINUTES // 5):
        await asyncio.sleep(300)
        await watchdog.look()
    await ledger.close()
    return {line["alert"] for line in log.lines("alert.changed") if line["state"] != "recovered"}


@pytest.mark.parametrize(
    ("trouble", "alerts"),
    [
        pytest.param(nothing, set(), id="nothing"),
        pytest.param(a_worker_that_never_ends, {"idle_workers"}, id="a-worker-with-no-job"),
        pytest.param(a_start_that_never_ends, {"long_start", "orphans"}, id="a-start-beyond-the-limit"),
        pytest.param(
            a_job_that_is_tried_for_ever, {"retries", "orphans", "long_start"}, id="a-job-that-is-tried-for-ever"
        ),
        pytest.param(an_endpoint_that_was_cut, {"no_workers"}, id="an-endpoint-that-may-start-none"),
        pytest.param(a_balance_that_is_nearly_gone, {"balance"}, id="a-balance-that-is-nearly-gone"),
    ],
)
def test_what_costs_and_should_not_is_told(trouble: Trouble, alerts: set[str], tmp_path: Path) -> None:
    """Through hop 1's own adapters, over HTTP. An orphan is a job at the provider that the ledger does not know."""
    assert run_virtual(play(str(tmp_path / "ledger.sqlite3"), trouble)) == alerts
