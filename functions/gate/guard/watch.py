"""What a look at the ledger and at the provider tells: everything that costs money and should not. Pure.

Each check gives one observation, whether or not there is something to tell, so that its alert can recover.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from gate.control import Capacity
from gate.domain.kill import KillLevel
from gate.domain.limits import Periods
from gate.domain.plan import AlertThresholds, GateConfig
from gate.guard import forecast
from gate.guard.alerts import Observation, Severity, dollars, share_severity
from gate.guard.forecast import Sample
from gate.guard.spending import Spending
from gate.provider import ProviderHealth

_PATIENCE = timedelta(minutes=10)
"""How long something may look wrong before it is: two looks, five minutes apart."""
_CRITICAL_AFTER = timedelta(minutes=30)
_FALLING_PERCENT = 5
"""How far a share has to fall below a threshold before its alert is lowered."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one look saw. None where it could not be asked."""

    at: datetime
    spending: Spending
    config: GateConfig
    overdue: int
    """Holds that are past their expiry and were not settled by the sweep."""
    capacity: Capacity | None
    health: ProviderHealth | None
    balance_microdollars: int | None
    stopped: bool = False
    """The kill level has set the provider's workers to zero."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say that workers do."""

    start_seconds_max: int
    idle_seconds: int


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What one look leaves for the next: the document `gate/watch`. Its `at` is the watchdog's own sign of life."""

    at: datetime
    samples: tuple[Sample, ...] = ()
    idle_since: datetime | None = None
    starting_since: datetime | None = None
    orphaned_since: datetime | None = None
    retried: int | None = None
    """The provider's count of retries, at this look."""


def remember(seen: Sighting, before: Memory | None) -> Memory:
    """Return what the next look has to know."""
    workers = seen.capacity or Capacity(workers_min=0, workers_max=0)
    was = before or Memory(at=seen.at)
    nobody_waits = seen.spending.in_flight <= 0
    idle = nobody_waits and workers.idle > 0
    orphaned = nobody_waits and (workers.running > 0 or (seen.health is not None and seen.health.jobs_queued > 0))
    sample = Sample(
        at=seen.at,
        day_microdollars=seen.spending.day_microdollars,
        month_microdollars=seen.spending.month_microdollars,
    )
    return Memory(
        at=seen.at,
        samples=forecast.kept(was.samples, sample),
        idle_since=_since(idle, was.idle_since, seen.at),
        starting_since=_since(workers.initializing > 0, was.starting_since, seen.at),
        orphaned_since=_since(orphaned, was.orphaned_since, seen.at),
        retried=seen.health.jobs_retried if seen.health else None,
    )


def observations(seen: Sighting, before: Memory | None, now: Memory, bounds: Bounds) -> Iterator[Observation]:
    """Yield what there is to tell of each thing that is watched. What could not be asked is not told of."""
    yield from _budgets(seen, now)
    yield _switch(seen)
    yield _overdue(seen)
    if seen.capacity is not None:
        yield _idle_workers(seen, seen.capacity, now, bounds)
        yield _long_start(seen, seen.capacity, now, bounds)
        yield _no_workers(seen, seen.capacity)
    if seen.capacity is not None or seen.health is not None:
        yield _orphans(seen, now)
    if seen.health is not None and seen.health.jobs_retried is not None:
        yield _retries(tries_since(now, before))
    if seen.balance_microdollars is not None:
        yield _balance(seen.balance_microdollars, seen.config.budget_microdollars_per_day)


def _budgets(seen: Sighting, now: Memory) -> Iterator[Observation]:
    periods = Periods.of(seen.at)
    first = now.samples[0]
    day_began, month_began = periods.day_ends - timedelta(days=1), seen.at.replace(day=1)
    yield _budget(
        seen,
        period="day",
        # What was spent yesterday is no part of today's pace.
        before=(first.day_microdollars, first.at) if first.at >= day_began else (0, day_began),
        spent=seen.spending.day_microdollars,
        budget=seen.config.budget_microdollars_per_day,
        period_ends=periods.day_ends,
    )
    yield _budget(
        seen,
        period="month",
        before=(first.month_microdollars if first.at.month == month_began.month else 0, first.at),
        spent=seen.spending.month_microdollars,
        budget=seen.config.budget_microdollars_per_month,
        period_ends=periods.month_ends,
    )


def _budget(
    seen: Sighting, *, period: str, before: tuple[int, datetime], spent: int, budget: int, period_ends: datetime
) -> Observation:
    spent_before, first_at = before
    ends_at = forecast.budget_ends_at(spent_before, first_at, spent, seen.at, budget=budget, period_ends=period_ends)
    percent = 100 * spent / budget if budget else 100.0
    return Observation(
        alert=f"budget_{period}",
        severity=_severity(percent, seen.config.alerts),
        severity_falling=_severity(percent + _FALLING_PERCENT, seen.config.alerts),
        text=f"{percent:.0f} % of the {period}'s budget of {dollars(budget)} is spent or held."
        + forecast.in_words(ends_at, period=period, now=seen.at),
        facts={
            "spent_microdollars": spent,
            "budget_microdollars": budget,
            "budget_ends_at": ends_at.isoformat() if ends_at else None,
        },
    )


def _severity(percent: float, thresholds: AlertThresholds) -> Severity:
    return share_severity(percent, warn_percent=thresholds.warn_percent, critical_percent=thresholds.critical_percent)


def _switch(seen: Sighting) -> Observation:
    level = KillLevel(seen.config.kill_level)
    severity = Severity.WARNING if level else Severity.FINE
    severity = Severity.CRITICAL if level >= KillLevel.ANSWERS_ONLY else severity
    return Observation(
        alert="kill_level",
        severity=severity,
        text=f"The switch is at level {level:d}, {level.name.lower().replace('_', ' ')}; `twohop kill` says since "
        "when and why, `twohop revive` lowers it."
        if level
        else "Nothing is switched off.",
        facts={"kill_level": int(level)},
    )


def _overdue(seen: Sighting) -> Observation:
    return Observation(
        alert="holds_overdue",
        severity=Severity.CRITICAL if seen.overdue else Severity.FINE,
        text=f"{seen.overdue} holds are past their expiry and cannot be settled; the log of `sweep` says why."
        if seen.overdue
        else "Every hold that expired is settled.",
        facts={"holds": seen.overdue},
    )


def _idle_workers(seen: Sighting, workers: Capacity, now: Memory, bounds: Bounds) -> Observation:
    patience = _PATIENCE + timedelta(seconds=bounds.idle_seconds)
    severity = _after(now.idle_since, seen.at, patience)
    why = (
        f"its minimum is {workers.workers_min}, so they never end; set it to 0"
        if workers.workers_min
        else f"look at the endpoint's idle timeout, which should be {bounds.idle_seconds} s"
    )
    return Observation(
        alert="idle_workers",
        severity=severity,
        text=f"{workers.idle} workers run at the provider with no job, and are billed: {why}."
        if severity is not Severity.FINE
        else "No worker runs without a job.",
        facts={"workers_idle": workers.idle, "workers_min": workers.workers_min},
    )


def _long_start(seen: Sighting, workers: Capacity, now: Memory, bounds: Bounds) -> Observation:
    severity = _after(now.starting_since, seen.at, _PATIENCE + timedelta(seconds=bounds.start_seconds_max))
    return Observation(
        alert="long_start",
        severity=severity,
        text=f"{workers.initializing} workers have been starting for longer than START_SECONDS_MAX="
        f"{bounds.start_seconds_max}: do they crash at start? The provider bills it, and holds may be too small."
        if severity is not Severity.FINE
        else "Workers start in time.",
        facts={"workers_initializing": workers.initializing},
    )


def _no_workers(seen: Sighting, workers: Capacity) -> Observation:
    cut = workers.workers_max == 0 and not seen.stopped
    return Observation(
        alert="no_workers",
        severity=Severity.CRITICAL if cut else Severity.FINE,
        text="The provider allows this endpoint no worker, though nobody stopped it here: no job can run. "
        "RunPod does that to endpoints that rest for a week; set the maximum there."
        if cut
        else "The provider may start workers.",
        facts={"workers_max": workers.workers_max},
    )


def _orphans(seen: Sighting, now: Memory) -> Observation:
    running = seen.capacity.running if seen.capacity else 0
    queued = seen.health.jobs_queued if seen.health else 0
    severity = _after(now.orphaned_since, seen.at, _PATIENCE)
    return Observation(
        alert="orphans",
        severity=severity,
        text=f"The provider has {queued} jobs queued and {running} workers busy, and the ledger knows of no job: "
        "they are retried for ever, or somebody else uses the endpoint. `twohop kill 5` ends it."
        if severity is not Severity.FINE
        else "The provider runs nothing that the ledger does not know.",
        facts={"jobs_queued": queued, "workers_running": running},
    )


def tries_since(now: Memory, before: Memory | None) -> int:
    """Return how often the provider started jobs again since the look before."""
    if before is None or before.retried is None or now.retried is None:
        return 0
    return max(0, now.retried - before.retried)


def _retries(more: int) -> Observation:
    return Observation(
        alert="retries",
        severity=Severity.WARNING if more else Severity.FINE,
        text=f"The provider started {more} jobs again since the last look: a worker died with them. "
        "Each try is billed."
        if more
        else "No job was started again.",
        facts={"retried": more},
    )


def _balance(balance: int, budget_per_day: int) -> Observation:
    severity = Severity.FINE if balance >= budget_per_day else Severity.WARNING
    severity = Severity.CRITICAL if balance <= budget_per_day // 10 else severity
    return Observation(
        alert="balance",
        severity=severity,
        text=f"{dollars(balance)} are left at the provider, and the day's budget is {dollars(budget_per_day)}."
        " At nothing, the provider stops every worker.",
        facts={"balance_microdollars": balance},
    )


def _after(since: datetime | None, at: datetime, patience: timedelta) -> Severity:
    if since is None or at - since < patience:
        return Severity.FINE
    return Severity.CRITICAL if at - since >= max(_CRITICAL_AFTER, patience) else Severity.WARNING


def _since(holds: bool, since: datetime | None, at: datetime) -> datetime | None:
    return (since or at) if holds else None
