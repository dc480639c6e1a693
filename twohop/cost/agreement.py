"""Holds the forecast of a shipped trace against the fake GPU cloud's own bill for the same calls, job by job.

`python -m twohop.cost.agreement` does it for a day of each, in some minutes, and prints the rows of docs/cost.md.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.virtual import run_virtual
from twohop.cloud.worker import LoopTimers
from twohop.cost.book import Book, book_of
from twohop.cost.fleet import live
from twohop.cost.forecast import rules_of
from twohop.cost.scenario import Scenario
from twohop.cost.traffic import Seconds, calls

_HARDWARE = "runpod/ADA_24"
_ON = date(2026, 11, 25)
_LAST_TAIL_SECONDS = 7_200
TRACES = ("azure-code", "azure-conv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What the GPU costs for some hours of a trace, told twice."""

    trace: str
    hours: int
    calls: int
    forecast_microdollars: int
    billed_microdollars: int

    @property
    def difference(self) -> float:
        """By how much the forecast is above the bill, as a share of the bill."""
        return self.forecast_microdollars / self.billed_microdollars - 1

    def __str__(self) -> str:
        """Return it as a row of a table."""
        forecast, billed = (amount / 1e6 for amount in (self.forecast_microdollars, self.billed_microdollars))
        return (
            f"| `{self.trace}` | {self.hours} | {self.calls:,} | ${forecast:,.4f} | ${billed:,.4f} "
            f"| {self.difference * 100:+.3f} % |"
        )


def agreement(trace: str, *, hours: int) -> Agreement:
    """Simulate some hours of a trace that is played again and again, and play the same calls to the cloud."""
    scenario = Scenario(
        calls_per_month=1,
        compute_seconds=1.0,
        cold_start_seconds=8,
        pull_seconds=2,
        workers_max=6,
        wait_seconds_max=1e6,
        hardware=_HARDWARE,
        trace=trace,
        days=1,
    )
    book = book_of(_HARDWARE, on=_ON)
    arrivals, times = calls(scenario)
    count = int((arrivals < hours * 3600).sum())
    arrivals, times = arrivals[:count], times[:count]
    lived = live(arrivals, times, rules_of(scenario, book), until=hours * 3600)
    return Agreement(
        trace=trace,
        hours=hours,
        calls=count,
        forecast_microdollars=book.gpu.microdollars(round(lived.billed_seconds * 1000)),
        billed_microdollars=_cloud_bill(arrivals, times, scenario, book),
    )


def _cloud_bill(arrivals: Seconds, times: Seconds, scenario: Scenario, book: Book) -> int:
    async def main() -> int:
        endpoint = Endpoint(
            workers_max=scenario.workers_max,
            idle_ms=scenario.idle_seconds * 1000,
            pull_ms=scenario.pull_seconds * 1000,
            start_ms=scenario.cold_start_seconds * 1000,
        )
        cloud = Cloud(timers=LoopTimers(), prices=[(0.0, book.gpu)], work=_work, endpoint=endpoint)
        now = 0.0
        for at, seconds in zip(arrivals.tolist(), times.tolist(), strict=True):
            await asyncio.sleep(at - now)
            now = at
            cloud.submit({"ms": seconds * 1000})
        await asyncio.sleep(_LAST_TAIL_SECONDS)
        assert not cloud.queue, "the cloud has jobs left"
        assert not cloud.workers, "the cloud has workers left"
        return cloud.spent_microdollars()

    return run_virtual(main())


def _work(given: Mapping[str, Any]) -> Work:
    return Work(execution_ms=given["ms"])


def main() -> None:
    """Print a row for a day of each trace."""
    for trace in TRACES:
        sys.stdout.write(f"{agreement(trace, hours=24)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
