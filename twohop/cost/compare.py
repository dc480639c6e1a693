"""The same traffic over every provider, GPU and design that has a price, and the knobs that are best for a wait."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from gate import prices
from gate.prices import Kind
from twohop.cost.book import Book, book_of
from twohop.cost.forecast import Forecast, changed, of_designs
from twohop.cost.progress import Progress
from twohop.cost.scenario import Design, Scenario

_IDLE_SECONDS = (1, 5, 15, 60, 300, 900)
_CALLS_SIMULATED_MAX = 100_000
"""A sweep simulates at most so many calls a setting, the first days of the month, and scales up."""
_GIVEN_UP_MOST = 0.01
_WORTH, _WORTH_SECONDS = 0.9, 0.1
_FEWEST_INVOCATIONS = (Design.DIRECT, Design.WEBHOOK, Design.HOLD, Design.POLL)
"""Of two designs at the same price, the one that a rise of a price would touch less comes first."""
_BY_HOP_1 = tuple(design for design in Design if design is not Design.DIRECT)


class How(StrEnum):
    """Who keeps the GPU, and for how long."""

    SERVERLESS = "serverless"
    ALWAYS_ON = "always on"
    MACHINE = "VM"
    """A machine of one's own, with Docker on it."""


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
    def how(self) -> How:
        """Who keeps the GPU."""
        if self.kind is Kind.MACHINE:
            return How.MACHINE
        return How.ALWAYS_ON if self.always_on else How.SERVERLESS

    @property
    def serves_all(self) -> bool:
        """False if one call in a hundred, or more, is given up."""
        return self.refused_share < _GIVEN_UP_MOST

    def within(self, wait_seconds: float) -> bool:
        """Return whether 95 of 100 calls wait no longer, and hardly any is given up."""
        return self.serves_all and self.wait_p95_seconds <= wait_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The same traffic, served in every way."""

    ways: tuple[Option, ...]
    """Every hardware and design with its best settings; the cheapest that keeps the wait first."""
    frontier: tuple[Option, ...]
    """Of all that was tried behind hop 1: what no other way beats in both cost and wait."""

    @property
    def hardware(self) -> list[Option]:
        """Each hardware behind hop 1, serverless and kept on, in its best design."""
        return _firsts(
            (way for way in self.ways if way.design is not Design.DIRECT), lambda way: (way.hardware, way.how)
        )

    @property
    def designs(self) -> list[Option]:
        """Each design on its best hardware, serverless, kept on and on a machine."""
        return _firsts(self.ways, lambda way: (way.how, way.design))


def _firsts(ways: Iterable[Option], key: Callable[[Option], object]) -> list[Option]:
    found: dict[object, Option] = {}
    for way in ways:
        found.setdefault(key(way), way)
    return list(found.values())


def hardware_names() -> Iterator[str]:
    """Yield all hardware that has a price."""
    for provider in prices.providers():
        for sku in prices.load(provider).skus:
            yield f"{provider}/{sku}"


def compared(scenario: Scenario, *, on: date, wait_seconds: float, progress: Progress) -> Compared:
    """Return the traffic over every provider, GPU and design: serverless, and kept on where that is possible.

    The calls' compute time is the same everywhere: how fast your model is on which GPU, only you can measure.
    """
    sized = smaller(scenario)
    ways, edge = list[Option](), list[Option]()
    for name in progress.each(list(hardware_names()), "every provider and GPU"):
        tried = _of_hardware(sized, book_of(name, on=on))
        ways += (best(settings, wait_seconds) for settings in _by_way(tried))
        edge = frontier([*edge, *(option for option in tried if option.design is not Design.DIRECT)])
    ordered = sorted(ways, key=lambda option: _rank(option, wait_seconds))
    return Compared(ways=tuple(ordered), frontier=tuple(edge))


def _rank(option: Option, wait_seconds: float) -> tuple[bool, int, int, float]:
    fewest = _FEWEST_INVOCATIONS.index(option.design)
    return not option.within(wait_seconds), option.microdollars, fewest, option.wait_mean_seconds


def _of_hardware(scenario: Scenario, book: Book) -> list[Option]:
    """Return all settings of one hardware, in all designs. Nobody computes FastAPI on a GPU that ends when idle."""
    kept = [option for one in _kept_on(scenario) for option in _scaled(one, book, tuple(Design))]
    if book.kind is Kind.MACHINE:
        return kept
    return [*(option for one in _ending(scenario, book) for option in _scaled(one, book, _BY_HOP_1)), *kept]


def _by_way(tried: Iterable[Option]) -> list[list[Option]]:
    parts: dict[tuple[How, Design], list[Option]] = {}
    for option in tried:
        parts.setdefault((option.how, option.design), []).append(option)
    return list(parts.values())


def frontier(options: Iterable[Option]) -> list[Option]:
    """Return the options that no other beats in cost and mean wait, the cheapest first.

    The dearer of two has to save a tenth of the wait and of a second, or a table of them would tell nobody anything.
    """
    best_wait, kept = math.inf, list[Option]()
    for option in sorted(options, key=lambda option: _rank(option, math.inf)):
        if option.serves_all and option.wait_mean_seconds < min(best_wait * _WORTH, best_wait - _WORTH_SECONDS):
            best_wait = option.wait_mean_seconds
            kept.append(option)
    return kept


def settings(scenario: Scenario, book: Book) -> list[Option]:
    """Return one hardware and design over all idle timeouts and numbers of workers."""
    sized = smaller(scenario)
    tried = [*_ending(sized, book), *_kept_on(sized)]
    return [option for one in tried for option in _scaled(one, book, (scenario.design,))]


def best(options: Sequence[Option], wait_seconds: float) -> Option:
    """Return the cheapest option whose 95th percentile waits no longer; the quickest if none does."""
    within = [option for option in options if option.within(wait_seconds)]
    if within:
        return min(within, key=lambda option: option.microdollars)
    return min(options, key=lambda option: (option.refused_share, option.wait_p95_seconds, option.microdollars))


def option_of(found: Forecast, *, scale: float = 1.0) -> Option:
    """Return a forecast as an option."""
    return Option(
        hardware=found.book.gpu.hardware,
        kind=found.book.kind,
        design=found.scenario.design,
        idle_seconds=found.scenario.idle_seconds,
        workers_max=found.scenario.workers_max,
        microdollars=round(found.microdollars * scale),
        wait_mean_seconds=found.ran.month.wait_mean_seconds,
        wait_p95_seconds=found.ran.wait_p95_seconds,
        refused_share=found.ran.refused / max(1, found.ran.calls),
        always_on=found.scenario.workers_min > 0,
    )


def smaller(scenario: Scenario) -> Scenario:
    """Return the first whole days of the month that hold few enough calls; a trace stays as it is."""
    if scenario.trace or scenario.calls_per_month <= _CALLS_SIMULATED_MAX:
        return scenario
    per_day = scenario.calls_per_month / scenario.days
    days = max(1, min(scenario.days, int(_CALLS_SIMULATED_MAX / per_day) // 7 * 7 or 1))
    return changed(scenario, days=days, calls_per_month=max(1, round(per_day * days)))


def _ending(scenario: Scenario, book: Book) -> list[Scenario]:
    least, most = book.billing.idle_seconds_least or 0, book.billing.idle_seconds_most or 10**9
    idles = sorted({min(max(idle, least), most) for idle in _IDLE_SECONDS})
    return [
        changed(scenario, idle_seconds=idle, workers_max=workers, workers_min=0)
        for idle in idles
        for workers in _workers(scenario)
    ]


def _kept_on(scenario: Scenario) -> list[Scenario]:
    return [changed(scenario, workers_min=workers, workers_max=workers) for workers in _workers(scenario)]


def _workers(scenario: Scenario) -> list[int]:
    """Return numbers of workers to try: from what the calls need on average to many times that."""
    needed = scenario.calls_per_second * scenario.compute_seconds / scenario.jobs_at_once
    base = max(1, int(needed) + 1)
    return sorted({base, base + 1, base * 2, base * 3, base * 6})


def _scaled(scenario: Scenario, book: Book, designs: Iterable[Design]) -> list[Option]:
    """Return an option a design, each with its bill for a month of 30 days."""
    scale = 30 / scenario.days if scenario.days < 28 else 1.0
    return [option_of(found, scale=scale) for found in of_designs(scenario, book, designs)]
