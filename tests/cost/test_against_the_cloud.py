"""The forecast of a trace beside the fake GPU cloud's own bill for the same calls, job by job on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.virtual import run_virtual
from twohop.cloud.worker import LoopTimers
from twohop.cost.book import book_of
from twohop.cost.fleet import live
from twohop.cost.forecast import rules_of
from twohop.cost.scenario import Scenario
from twohop.cost.traffic import Seconds, calls

BOOK = book_of("runpod/ADA_24", on=date(2026, 11, 25))


def _works(given: Mapping[str, Any]) -> Work:
    return Work(execution_ms=given["ms"])


def _cloud_bill(arrivals: Seconds, times: Seconds, scenario: Scenario) -> int:
    """Return what the cloud bills for all of it, in micro-dollars."""

    async def main() -> int:
        endpoint = Endpoint(
            workers_max=scenario.workers_max,
            idle_ms=scenario.idle_seconds * 1000,
            pull_ms=scenario.pull_seconds * 1000,
            start_ms=scenario.cold_start_seconds * 1000,
        )
        cloud = Cloud(timers=LoopTimers(), prices=[(0.0, BOOK.gpu)], work=_works, endpoint=endpoint)
        now = 0.0
        for at, seconds in zip(arrivals.tolist(), times.tolist(), strict=True):
            await asyncio.sleep(at - now)
            now = at
            cloud.submit({"ms": seconds * 1000})
        await asyncio.sleep(7200)
        assert not cloud.queue
        assert not cloud.workers
        return cloud.spent_microdollars()

    return run_virtual(main())


@pytest.mark.parametrize(("trace", "hours"), [("azure-code", 24), ("azure-conv", 3)])
def test_the_forecast_of_a_trace_and_the_clouds_bill_agree(trace: str, hours: int) -> None:
    """Within two per cent: the same queue, starts, tails and rounding, told once as a loop and once as events."""
    scenario = Scenario(
        calls_per_month=1,
        compute_seconds=1.0,
        cold_start_seconds=8,
        pull_seconds=2,
        workers_max=6,
        wait_seconds_max=1e6,
        hardware="runpod/ADA_24",
        trace=trace,
        days=1,
    )
    arrivals, times = calls(scenario)
    arrivals, times = arrivals[arrivals < hours * 3600], times[: int((arrivals < hours * 3600).sum())]

    lived = live(arrivals, times, rules_of(scenario, BOOK), until=hours * 3600)

    forecast = BOOK.gpu.microdollars(round(lived.billed_seconds * 1000))
    assert forecast == pytest.approx(_cloud_bill(arrivals, times, scenario), rel=0.02)
