"""The most that can be lost with what is configured, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gate.domain.plan import NO_BUDGET, Budget, Cohort, GateConfig, Plan
from gate.money import Tariff
from twohop.cost.assumed import Assumed
from twohop.cost.book import Book
from twohop.cost.bound import HOURS, Bound, hourly_bound
from twohop.cost.deployed import Function
from twohop.cost.refused import refused

_NANODOLLARS_PER_MICRODOLLAR = 1000
_ON_THE_BUDGET_AFTER_MINUTES = 72
"""The reconciliation counts the hour before it, twelve minutes after each hour (ADR 0013)."""
_WITHOUT_JOBS = "workers without a job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """Every setting that bounds a bill."""

    book: Book
    functions: tuple[Function, ...]
    config: GateConfig
    plans: Mapping[str, Plan]
    """Of the cohorts, by name."""
    model: str
    tariff: Tariff
    execution_ms_max: int
    """The timeout of a job at the provider."""
    wait_ms_max: int
    """The timeout of a call at hop 1."""
    workers_max: int | None
    """As it is set at the provider; None if nobody says."""
    account_microdollars_per_hour: int | None
    """What the provider stops by itself."""
    gate_vcpus: float = 1.0
    assumed: Assumed = field(default_factory=Assumed)

    @property
    def job_microdollars_max(self) -> int:
        """What one job can cost, when it runs until its timeouts."""
        return self.tariff.worst_case_microdollars(
            execution_ms_max=self.execution_ms_max, wait_ms_max=self.wait_ms_max
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The worst hour and day."""

    gpu_bounds: tuple[Bound, ...]
    """Every limit on what admitted jobs cost; the lowest binds."""
    refused: tuple[Bound, ...]
    """What hop 1 costs all the same, whomever it refuses."""
    without_jobs: Bound
    """What workers can cost beside that which run without a job: the budget knows of them some time later."""

    def binding(self, *, hour: bool = False) -> Bound:
        """Return the limit that binds."""
        return min(self.gpu_bounds, key=lambda b: b.microdollars_per_hour if hour else b.microdollars_per_day)

    @property
    def microdollars_per_hour(self) -> int:
        """All together, in the worst hour."""
        rest = sum(one.microdollars_per_hour for one in (self.without_jobs, *self.refused))
        return self.binding(hour=True).microdollars_per_hour + rest

    @property
    def microdollars_per_day(self) -> int:
        """All together, in the worst day."""
        rest = sum(one.microdollars_per_day for one in (self.without_jobs, *self.refused))
        return self.binding().microdollars_per_day + rest


def worst_case(configured: Configured) -> Worst:
    """Return the most that can be lost.

    What is admitted costs at most the budget, because every job's worst case is held before it runs; workers and the
    provider's account bound the same bill, and what workers cost that have no job. What is refused is bounded by the
    instances alone.
    """
    its = refused(
        configured.functions, book=configured.book, gate_vcpus=configured.gate_vcpus, assumed=configured.assumed
    )
    jobs, of_provider = tuple(_of_jobs(configured)), tuple(_of_provider(configured))
    return Worst(
        gpu_bounds=(*jobs, *of_provider),
        refused=tuple(its),
        without_jobs=_without_jobs(jobs, of_provider, counted=configured.config.count_overhead),
    )


def _of_jobs(configured: Configured) -> Iterator[Bound]:
    config = configured.config
    yield from _of_budget("budget", config.budget, "gate/config holds no more than this in")
    model = config.model_budgets.get(configured.model, NO_BUDGET)
    yield from _of_budget(f"budget of {configured.model}", model, "the only model holds no more than this in")
    yield from _of_cohorts(config)
    yield _of_plans(configured)


def _without_jobs(jobs: Sequence[Bound], of_provider: Sequence[Bound], *, counted: bool) -> Bound:
    """Return what workers cost beyond what jobs can: until the budget has it, or as far as the provider goes."""
    if not of_provider:
        because = "nobody says how many workers there may be: give --workers"
        return Bound(name=_WITHOUT_JOBS, microdollars_per_hour=0, microdollars_per_day=0, because=because)
    hour, day = min(of_provider, key=_an_hour), min(of_provider, key=_a_day)
    most_day = _a_day(day) - min(map(_a_day, jobs))
    seen_late = _an_hour(hour) * _ON_THE_BUDGET_AFTER_MINUTES // 60
    return Bound(
        name=_WITHOUT_JOBS,
        microdollars_per_hour=max(0, _an_hour(hour) - min(map(_an_hour, jobs))),
        microdollars_per_day=max(0, min(most_day, seen_late) if counted else most_day),
        because=f"{day.name}, until it is on the budget, {_ON_THE_BUDGET_AFTER_MINUTES} minutes later"
        if counted
        else f"{day.name}; count_overhead is off, so no budget knows of them",
    )


def _an_hour(bound: Bound) -> int:
    return bound.microdollars_per_hour


def _a_day(bound: Bound) -> int:
    return bound.microdollars_per_day


def _of_budget(name: str, budget: Budget, words: str) -> Iterator[Bound]:
    """Yield a bound for each period; a longer one bounds a shorter one, which may take it all at once."""
    if (hour := budget.microdollars_per_hour) is not None:
        yield hourly_bound(f"the hour's {name}", hour, f"{words} an hour")
    for period, most in (("day", budget.microdollars_per_day), ("month", budget.microdollars_per_month)):
        if most is not None:
            because = f"{words} a {period}; one hour may take it all"
            yield Bound(
                name=f"the {period}'s {name}", microdollars_per_hour=most, microdollars_per_day=most, because=because
            )


def _of_cohorts(config: GateConfig) -> Iterator[Bound]:
    """Yield the sum of the cohorts' budgets, if every cohort that may call has one."""
    may_call = set(config.plans) | ({Cohort.NEW} if config.tells_newcomers else set())
    budgets = [config.cohort_budgets.get(cohort, NO_BUDGET) for cohort in may_call]
    hours, days = [_in_an_hour(one) for one in budgets], [_in_a_day(one) for one in budgets]
    known_hours, known_days = [one for one in hours if one is not None], [one for one in days if one is not None]
    if budgets and len(known_hours) == len(budgets):
        yield Bound(
            name="the cohorts' budgets",
            microdollars_per_hour=sum(known_hours),
            microdollars_per_day=sum(known_days),
            because=f"the sum of {', '.join(sorted(may_call))}: gate/config holds no more for each",
        )


def _in_a_day(budget: Budget) -> int | None:
    hour = budget.microdollars_per_hour
    limits = (None if hour is None else hour * HOURS, budget.microdollars_per_day, budget.microdollars_per_month)
    return min((limit for limit in limits if limit is not None), default=None)


def _in_an_hour(budget: Budget) -> int | None:
    limits = (budget.microdollars_per_hour, _in_a_day(budget))
    return min((limit for limit in limits if limit is not None), default=None)


def _of_plans(configured: Configured) -> Bound:
    """Return what new accounts can spend: each the whole of the largest plan's money, or of its calls."""
    job = configured.job_microdollars_max
    by_plan = {name: _of_plan(plan, job) for name, plan in configured.plans.items()}
    name = max(by_plan, key=lambda name: by_plan[name])
    accounts = configured.assumed.accounts_per_hour
    seconds = configured.execution_ms_max // 1000
    because = (
        f"{accounts:,} new accounts an hour, ${by_plan[name] / 1e6:,.2f} a day each by the plan {name}; a job costs "
        f"${job / 1e6:,.4f} at most, by its timeout of {seconds} s"
    )
    return hourly_bound("the callers' plans", accounts * by_plan[name], because)


def _of_plan(plan: Plan, job_microdollars: int) -> int:
    return min(plan.microdollars_per_day, plan.microdollars_per_month, plan.requests_per_day * job_microdollars)


def _of_provider(configured: Configured) -> Iterator[Bound]:
    if (workers := configured.workers_max) is not None:
        rate = -(-configured.book.gpu.nanodollars_per_hour // _NANODOLLARS_PER_MICRODOLLAR)
        because = f"{workers} of {configured.book.gpu.hardware} at ${rate / 1e6:,.4f} an hour"
        yield hourly_bound("the workers", rate * workers, because)
    if (account := configured.account_microdollars_per_hour) is not None:
        because = "the provider stops an account that spends more in an hour, unless it was raised"
        yield hourly_bound("the provider's account", account, because)
