"""What the cloud bills and no job accounts for comes into everybody's budget, which so bounds the bill."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gate.domain.limits import Periods
from gate.domain.overhead import OVERHEAD
from gate.domain.plan import GateConfig
from gate.domain.request import InferRequest
from tests.cloud.world import CloudWorld, again_and_again
from tests.gate.world import ALICE
from tests.makers import make_config, make_model
from twohop.cloud.cloud import Endpoint, Work
from twohop.cloud.virtual import EPOCH, run_virtual

COUNTED_WITHIN_SECONDS = 72 * 60
"""As docs/budgets-and-the-switch.md states it: the hour, and twelve minutes."""
MODEL = make_model(execution_ms_max=300_000)
WORKERS_MAX, BUDGET = 3, 10_000_000
DOUBLED = replace(MODEL.tariff.gpu, nanodollars_per_hour=2 * MODEL.tariff.gpu.nanodollars_per_hour)
BOUND = BUDGET + WORKERS_MAX * DOUBLED.microdollars(COUNTED_WITHIN_SECONDS * 1000)
DAY = Periods.of(EPOCH).day


def work(_: Mapping[str, Any]) -> Work:
    return Work(execution_ms=280_000, outputs=[1])


async def play(path: str, config: GateConfig) -> tuple[int, int]:
    """Let jobs keep three workers busy all day while the price doubles at two; return the bill and the overhead."""
    prices = [(0.0, MODEL.tariff.gpu), (2 * 3_600_000.0, DOUBLED)]
    endpoint = Endpoint(workers_max=WORKERS_MAX, scale_ms=15_000)
    world = CloudWorld(path, model=MODEL, work=work, prices=prices, endpoint=endpoint)
    await world.configure(config)
    world.run_schedules()

    async def submit() -> None:
        await world.gate.jobs.submit(ALICE, InferRequest(inputs="a text"))

    world.start(again_and_again(submit, pause_seconds=100))
    await asyncio.sleep(23.9 * 3_600)
    counters = await world.ledger.counters("budget/0")
    billed = world.cloud.spent_microdollars()
    await world.close()
    return billed, counters.get((*DAY, OVERHEAD), 0)


@pytest.mark.parametrize("counts", [True, False])
def test_a_price_that_doubles_in_silence_is_on_the_budget_in_the_stated_time(tmp_path: Path, counts: bool) -> None:
    """So the bill stays below the budget and what the workers can cost meanwhile; without it, it does not."""
    config = make_config(
        budget_microdollars_per_day=BUDGET, budget_microdollars_per_month=BUDGET, count_overhead=counts
    )

    billed, overhead = run_virtual(play(str(tmp_path / "ledger"), config))

    assert (billed <= BOUND, overhead > 0) == (counts, counts)
