"""The watchdog, its adapters and a cloud that misbehaves: what costs money and should not is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.world import CloudWorld
from tests.makers import make_config, make_model
from twohop.cloud.cloud import Cloud, Work
from twohop.cloud.faults import CloudFaults
from twohop.cloud.virtual import run_virtual

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
    world = CloudWorld(path, model=make_model(), work=work)
    await world.configure(CONFIG)
    await world.watchdog.look()
    trouble(world.cloud)
    for _ in range(MINUTES // 5):
        await asyncio.sleep(300)
        await world.watchdog.look()
    await world.close()
    return {line["alert"] for line in world.log.lines("alert.changed") if line["state"] != "recovered"}


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
