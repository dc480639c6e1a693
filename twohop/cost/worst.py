"""The most that can be lost with what is configured, why, and the one setting that lowers it most. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from twohop.cost.book import Book
from twohop.cost.deployed import Function

_HOURS = 24
_SECONDS_PER_HOUR = 3600
_NANODOLLARS_PER_MICRODOLLAR = 1000
_WRITES_OF_A_REFUSAL = 12
"""A hold's six writes, and the six that put it back. The instance then remembers, until that caller may try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """Every setting that bounds a bill."""

    book: Book
    functions: tuple[Function, ...]
    budget_microdollars_per_day: int
    budget_microdollars_per_month: int
    budget_microdollars_per_hour: int | None
    plan_microdollars_per_day: int
    """The most that one caller's plan allows."""
    workers_max: int | None
    """As set at the provider; None if nobody said."""
    account_microdollars_per_hour: int | None
    """What the provider stops by itself."""
    gate_vcpus: float
    requests_per_second: int
    """What one instance of hop 1 can refuse."""
    accounts_per_hour: int
    """Signed-in accounts that an attacker has or can make in an hour."""
    denied_tries_per_hour: int = 60
    """How often an instance lets a refused account try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One limit, and what it allows in an hour and in a day."""

    name: str
    microdollars_per_hour: int
    microdollars_per_day: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The worst hour and day."""

    gpu_bounds: tuple[Bound, ...]
    """Every limit on the GPU's bill; the lowest binds."""
    refused: tuple[Bound, ...]
    """What traffic that is refused costs all the same."""

    def binding(self, *, hour: bool = False) -> Bound:
        """Return the limit that binds."""
        return min(self.gpu_bounds, key=lambda b: b.microdollars_per_hour if hour else b.microdollars_per_day)

    @property
    def microdollars_per_hour(self) -> int:
        """All together, in the worst hour."""
        refused = sum(bound.microdollars_per_hour for bound in self.refused)
        return self.binding(hour=True).microdollars_per_hour + refused

    @property
    def microdollars_per_day(self) -> int:
        """All together, in the worst day."""
        return self.binding().microdollars_per_day + sum(bound.microdollars_per_day for bound in self.refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One setting, changed."""

    setting: str
    change: str
    saved_microdollars_per_day: int


def worst_case(configured: Configured) -> Worst:
    """Return the most that can be lost.

    What is admitted costs at most the budget, because every job's worst case is held before it runs; workers and the
    provider's account bound the same bill from below. What is refused is bounded by the instances alone.
    """
    return Worst(gpu_bounds=tuple(_gpu_bounds(configured)), refused=tuple(_refused(configured)))


def _gpu_bounds(configured: Configured) -> Iterator[Bound]:
    day = configured.budget_microdollars_per_day
    yield Bound(
        name="the day's budget",
        microdollars_per_hour=day,
        microdollars_per_day=day,
        because="gate/config holds no more than this in a day, and nothing forbids one hour to take it all",
    )
    if (hour := configured.budget_microdollars_per_hour) is not None:
        yield Bound(
            name="the hour's budget",
            microdollars_per_hour=hour,
            microdollars_per_day=hour * _HOURS,
            because="gate/config holds no more than this in an hour",
        )
    callers = configured.accounts_per_hour
    yield Bound(
        name="the callers' plans",
        microdollars_per_hour=callers * configured.plan_microdollars_per_day,
        microdollars_per_day=callers * _HOURS * configured.plan_microdollars_per_day,
        because=f"{callers:,} new accounts an hour, each with a plan of "
        f"${configured.plan_microdollars_per_day / 1e6:,.2f} a day",
    )
    month = configured.budget_microdollars_per_month
    yield Bound(
        name="the month's budget",
        microdollars_per_hour=month,
        microdollars_per_day=month,
        because="gate/config holds no more than this in a month",
    )
    if configured.workers_max is not None:
        rate = configured.book.gpu.nanodollars_per_hour // _NANODOLLARS_PER_MICRODOLLAR
        yield Bound(
            name="the workers",
            microdollars_per_hour=rate * configured.workers_max,
            microdollars_per_day=rate * configured.workers_max * _HOURS,
            because=f"{configured.workers_max} of {configured.book.gpu.hardware} at ${rate / 1e6:,.4f} an hour",
        )
    if (account := configured.account_microdollars_per_hour) is not None:
        yield Bound(
            name="the provider's account",
            microdollars_per_hour=account,
            microdollars_per_day=account * _HOURS,
            because="the provider stops an account that spends more in an hour",
        )


def _refused(configured: Configured) -> Iterator[Bound]:
    """Yield what refusing costs when every instance is busy with it, around the clock."""
    items = {name: priced.rate.nanodollars for name, priced in configured.book.items.items()}
    public = [function for function in configured.functions if function.public]
    per_second = sum(
        function.instances_max
        * (configured.gate_vcpus * items["vcpu_seconds"] + function.memory_gib * items["gib_seconds"])
        for function in public
    )
    instances = sum(function.instances_max for function in public)
    requests = instances * configured.requests_per_second
    yield _per_hour(
        "instances that refuse",
        per_second * _SECONDS_PER_HOUR,
        f"{instances} instances of {len(public)} public functions, busy all the time",
    )
    yield _per_hour(
        "invocations that are refused",
        requests * _SECONDS_PER_HOUR * items["requests"],
        f"{requests:,} requests a second, {configured.requests_per_second} an instance",
    )
    tries = configured.accounts_per_hour * configured.denied_tries_per_hour * instances
    tries = min(tries, requests * _SECONDS_PER_HOUR)
    yield _per_hour(
        "refusals of signed-in callers",
        tries * (_WRITES_OF_A_REFUSAL * items["firestore_writes"] + items["firestore_reads"]),
        f"{configured.accounts_per_hour:,} accounts, each remembered by each instance after its first refusal",
    )


def _per_hour(name: str, nanodollars: float, because: str) -> Bound:
    hour = -(-int(nanodollars) // _NANODOLLARS_PER_MICRODOLLAR)
    return Bound(name=name, microdollars_per_hour=hour, microdollars_per_day=hour * _HOURS, because=because)


def remedies(configured: Configured) -> list[Remedy]:
    """Return settings, each halved alone, the one that lowers the worst day most first."""
    base = worst_case(configured).microdollars_per_day
    halved: list[tuple[str, str, Configured]] = [
        (
            "the day's budget",
            _halved(configured.budget_microdollars_per_day, "$"),
            replace(configured, budget_microdollars_per_day=configured.budget_microdollars_per_day // 2),
        ),
        (
            "max_instances of the public functions (main.py)",
            "each halved",
            replace(
                configured,
                functions=tuple(replace(f, instances_max=max(1, f.instances_max // 2)) for f in configured.functions),
            ),
        ),
    ]
    if configured.workers_max is not None and configured.workers_max > 1:
        halved.append(
            (
                "max workers at the provider",
                f"{configured.workers_max} to {configured.workers_max // 2}",
                replace(configured, workers_max=configured.workers_max // 2),
            )
        )
    found = [
        Remedy(setting=name, change=change, saved_microdollars_per_day=base - worst_case(other).microdollars_per_day)
        for name, change, other in halved
    ]
    return sorted(found, key=lambda remedy: -remedy.saved_microdollars_per_day)


def _halved(microdollars: int, unit: str) -> str:
    return f"{unit}{microdollars / 1e6:,.2f} to {unit}{microdollars / 2e6:,.2f}"
