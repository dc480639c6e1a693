"""The same traffic over every provider, GPU and design that has a price, and the knobs that are best for a wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from gate import prices
from gate.prices import Kind
from twohop.cost.book import Book, book_of
from twohop.cost.forecast import Forecast, changed, forecast
from twohop.cost.scenario import Design, Scenario

_IDLE_SECONDS = (1, 5, 15, 60, 300, 900)
_CALLS_SIMULATED_MAX = 100_000
"""A sweep simulates at most so many calls a setting, the first days of the month, and scales up."""

Progress = Callable[[Iterable[str]], Iterable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to serve the traffic, with its best settings."""

    hardware: str
    kind: Kind
    design: Design
    idle_seconds: float
    workers_max: int
    microdollars: int
    wait_mean_seconds: float
    wait_p95_seconds: float
    refused_share: float
    always_on: bool = False

    @property
    def how(self) -> str:
        """In words: serverless, always on, or a machine of one's own."""
        if self.kind is Kind.MACHINE:
            return "machine"
        return "always on" if self.always_on else "serverless"


def hardware_names() -> Iterator[str]:
    """Yield all hardware that has a price."""
    for provider in prices.providers():
        for sku in prices.load(provider).skus:
            yield f"{provider}/{sku}"


def compared(scenario: Scenario, *, on: date, wait_seconds: float, progress: Progress | None = None) -> list[Option]:
    """Return the best settings of each hardware, cheapest first: serverless, and kept on where that is possible.

    The calls' compute time is the same everywhere: how fast your model is on which GPU, only you can measure.
    """
    sized = smaller(scenario)
    found: list[Option] = []
    names = list(hardware_names())
    for name in progress(names) if progress else names:
        book = book_of(name, on=on)
        if book.kind is not Kind.MACHINE:
            found.append(best(_tried(sized, book), wait_seconds))
        found.append(best(_kept_on(sized, book), wait_seconds))
    return sorted(found, key=lambda option: (option.wait_p95_seconds > wait_seconds, option.microdollars))


def designs(scenario: Scenario, book: Book) -> list[Option]:
    """Return the scenario with each way for a client to get its answer."""
    return [option_of(forecast(changed(scenario, design=design), book)) for design in Design]


def frontier(options: Iterable[Option]) -> list[Option]:
    """Return the options that no other beats in both cost and wait, cheapest first."""
    best_wait, kept = float("inf"), list[Option]()
    for option in sorted(options, key=lambda option: (option.microdollars, option.wait_p95_seconds)):
        if option.wait_p95_seconds < best_wait and option.refused_share < 0.01:
            best_wait = option.wait_p95_seconds
            kept.append(option)
    return kept


def settings(scenario: Scenario, book: Book) -> list[Option]:
    """Return one hardware over all idle timeouts and numbers of workers: what the frontier is made of."""
    return [*_tried(smaller(scenario), book), *_kept_on(smaller(scenario), book)]


def best(options: Sequence[Option], wait_seconds: float) -> Option:
    """Return the cheapest option whose 95th percentile waits no longer; the quickest if none does."""
    within = [o for o in options if o.wait_p95_seconds <= wait_seconds and o.refused_share < 0.01]
    if within:
        return min(within, key=lambda option: option.microdollars)
    return min(options, key=lambda option: (option.refused_share, option.wait_p95_seconds, option.microdollars))


def break_even(scenario: Scenario, book: Book, machine: Book) -> int | None:
    """Return from how many calls a month one always-on worker is cheaper; None if never up to what it can compute."""
    if machine.kind is not Kind.MACHINE:
        machine_scenario = changed(scenario, workers_min=1, workers_max=1)
    else:
        machine_scenario = changed(scenario, workers_max=1)
    most = int(scenario.seconds / scenario.compute_seconds * 0.8 * scenario.jobs_at_once)

    def cheaper(count: int) -> bool:
        serverless = forecast(_of_calls(scenario, count), book)
        kept = forecast(_of_calls(machine_scenario, count), machine)
        return kept.bill.gpu_microdollars <= serverless.bill.gpu_microdollars

    least = 1
    if most <= least or not cheaper(min(most, _CALLS_SIMULATED_MAX * 10)):
        return None
    most = min(most, _CALLS_SIMULATED_MAX * 10)
    while most - least > max(1, least // 50):
        middle = (least + most) // 2
        least, most = (least, middle) if cheaper(middle) else (middle, most)
    return most


def option_of(found: Forecast, *, scale: float = 1.0) -> Option:
    """Return a forecast as an option."""
    return Option(
        hardware=found.book.gpu.hardware,
        kind=found.book.kind,
        design=found.scenario.design,
        idle_seconds=found.scenario.idle_seconds,
        workers_max=found.scenario.workers_max,
        microdollars=round(found.microdollars * scale),
        wait_mean_seconds=found.lived.wait_mean,
        wait_p95_seconds=found.lived.wait_at(95),
        refused_share=found.lived.refused / max(1, found.lived.calls),
        always_on=found.scenario.workers_min > 0,
    )


def smaller(scenario: Scenario) -> Scenario:
    """Return the first whole days of the month that hold few enough calls; a trace stays as it is."""
    if scenario.trace or scenario.calls_per_month <= _CALLS_SIMULATED_MAX:
        return scenario
    per_day = scenario.calls_per_month / scenario.days
    days = max(1, min(scenario.days, int(_CALLS_SIMULATED_MAX / per_day) // 7 * 7 or 1))
    return changed(scenario, days=days, calls_per_month=max(1, round(per_day * days)))


def _tried(scenario: Scenario, book: Book) -> list[Option]:
    least, most = book.billing.idle_seconds_least or 0, book.billing.idle_seconds_most or 10**9
    idles = sorted({min(max(idle, least), most) for idle in _IDLE_SECONDS})
    return [
        _scaled(changed(scenario, idle_seconds=idle, workers_max=workers, workers_min=0), book)
        for idle in idles
        for workers in _workers(scenario)
    ]


def _kept_on(scenario: Scenario, book: Book) -> list[Option]:
    return [
        _scaled(changed(scenario, workers_min=workers, workers_max=workers), book) for workers in _workers(scenario)
    ]


def _workers(scenario: Scenario) -> list[int]:
    """Return numbers of workers to try: from what the calls need on average to many times that."""
    needed = scenario.calls_per_second * scenario.compute_seconds / scenario.jobs_at_once
    base = max(1, int(needed) + 1)
    return sorted({base, base + 1, base * 2, base * 3, base * 6})


def _scaled(scenario: Scenario, book: Book) -> Option:
    """Return the option with its bill for a month of 30 days."""
    return option_of(forecast(scenario, book), scale=30 / scenario.days if scenario.days < 28 else 1.0)


def _of_calls(scenario: Scenario, count: int) -> Scenario:
    return changed(scenario, calls_per_month=max(1, count), trace=None)
