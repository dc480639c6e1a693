"""A forecast: a scenario's month simulated and priced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from gate.prices import Kind
from twohop.cost.bill import Bill, bill
from twohop.cost.book import Book
from twohop.cost.fleet import Rules, live
from twohop.cost.month import Month, month_of
from twohop.cost.operations import Operations
from twohop.cost.scenario import Design, Scenario
from twohop.cost.traffic import Seconds, calls
from twohop.cost.use import operations, used

_RUNPOD_QUEUE_DELAY_SECONDS = 4.0
"""RunPod's default scaling: by queue delay, of four seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One month, as it would be."""

    scenario: Scenario
    book: Book
    ran: Ran
    bill: Bill

    @property
    def microdollars(self) -> int:
        """The month's bill."""
        return self.bill.microdollars

    @property
    def dollars_per_thousand(self) -> float:
        """Dollars per thousand calls that were served."""
        return self.microdollars / 1e3 / max(1, self.ran.calls - self.ran.refused)

    @property
    def gpu_share(self) -> float:
        """How much of the bill is the GPU's."""
        return self.bill.gpu_microdollars / max(1, self.microdollars)

    @property
    def operations(self) -> Operations:
        """What a call does in Firestore and of functions."""
        return operations(self.scenario, self.ran.month)


def forecast(scenario: Scenario, book: Book) -> Forecast:
    """Simulate a month and price it."""
    return next(of_designs(scenario, book, [scenario.design]))


def of_designs(scenario: Scenario, book: Book, designs: Iterable[Design]) -> Iterator[Forecast]:
    """Yield a forecast for each design. Workers live the same life in all of them, so it is simulated once."""
    found = ran(scenario, book)
    for design in designs:
        one = changed(scenario, design=design)
        priced = bill(used(one, found.month, book), book)
        yield Forecast(scenario=one, book=book, ran=found, bill=priced)


def rules_of(scenario: Scenario, book: Book) -> Rules:
    """Return how the provider's workers behave. A rented machine is there from the first second to the last."""
    rented = book.kind is Kind.MACHINE
    least, most = book.billing.idle_seconds_least or 0, book.billing.idle_seconds_most or 10**9
    return Rules(
        workers_max=scenario.workers_max,
        workers_min=scenario.workers_max if rented else min(scenario.workers_min, scenario.workers_max),
        jobs_at_once=scenario.jobs_at_once,
        pull_seconds=scenario.pull_seconds,
        start_seconds=scenario.cold_start_seconds,
        idle_seconds=min(max(scenario.idle_seconds, least), most),
        wait_seconds_max=scenario.wait_seconds_max,
        bills_pull=book.gpu.bills_image_pull,
        bills_start=book.gpu.bills_start,
        bills_idle=book.gpu.bills_idle,
        granularity_ms=book.gpu.granularity_ms,
        min_charge_ms=book.gpu.min_charge_ms,
        start_delay_seconds=_RUNPOD_QUEUE_DELAY_SECONDS if book.provider == "runpod" else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What is kept of a simulated month once its calls are forgotten."""

    month: Month
    calls: int
    refused: int
    starts: int
    cold_share: float
    wait_p95_seconds: float
    billed_seconds: float
    useful_seconds: float


def ran(scenario: Scenario, book: Book) -> Ran:
    """Run a month. The design is no part of it, nor is a price: the same month is run once."""
    alike = changed(scenario, design=Design.HOLD, hardware="", workers_min=0, workers_max=1, idle_seconds=0)
    return _ran(alike, rules_of(scenario, book))


@lru_cache(maxsize=1024)
def _ran(scenario: Scenario, rules: Rules) -> Ran:
    at, times = _calls(_traffic_only(scenario))
    lived = live(at, times, rules, until=scenario.seconds)
    return Ran(
        month=month_of(scenario, lived),
        calls=lived.calls,
        refused=lived.refused,
        starts=lived.starts,
        cold_share=lived.cold_share,
        wait_p95_seconds=lived.wait_at(95),
        billed_seconds=lived.billed_seconds,
        useful_seconds=lived.useful_seconds,
    )


@lru_cache(maxsize=4)
def _calls(scenario: Scenario) -> tuple[Seconds, Seconds]:
    return calls(scenario)


def _traffic_only(scenario: Scenario) -> Scenario:
    """Return a scenario that differs only where the traffic does, so that it is drawn once."""
    return Scenario(
        **{
            name: getattr(scenario, name)
            for name in (
                "calls_per_month",
                "compute_seconds",
                "shape",
                "gap_cv",
                "compute_cv",
                "trace",
                "days",
                "seed",
            )
        }
    )


def changed(scenario: Scenario, **changes: object) -> Scenario:
    """Return the scenario with other values, unchecked."""
    return msgspec.structs.replace(scenario, **changes)
