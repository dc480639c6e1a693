"""What lowers the worst case: each setting halved alone, and the worst case computed again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from gate.domain.plan import Budget
from twohop.cost.worst import Configured, worst_case


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One setting, changed."""

    setting: str
    change: str
    microdollars_per_day: int
    """The worst day with it."""
    saved_microdollars_per_day: int


def remedies(configured: Configured) -> list[Remedy]:
    """Return every setting halved alone, the one that lowers the worst day most first."""
    base = worst_case(configured).microdollars_per_day
    found = [
        Remedy(setting=setting, change=change, microdollars_per_day=after, saved_microdollars_per_day=base - after)
        for setting, change, other in _changes(configured)
        for after in (worst_case(other).microdollars_per_day,)
    ]
    return sorted(found, key=lambda remedy: -remedy.saved_microdollars_per_day)


def _changes(now: Configured) -> Iterator[tuple[str, str, Configured]]:
    config = now.config
    for name in ("budget_microdollars_per_hour", "budget_microdollars_per_day", "budget_microdollars_per_month"):
        if value := getattr(config, name):
            yield f"gate/config, {name}", _dollars(value), _with(now, **{name: value // 2})
    if config.cohort_budgets:
        halved = {cohort: _half(budget) for cohort, budget in config.cohort_budgets.items()}
        yield "gate/config, cohort_budgets", "each halved", _with(now, cohort_budgets=halved)
    if budget := config.model_budgets.get(now.model):
        halved_too = {**config.model_budgets, now.model: _half(budget)}
        yield f"gate/config, model_budgets of {now.model}", "halved", _with(now, model_budgets=halved_too)
    plans = {
        name: msgspec.structs.replace(plan, microdollars_per_day=plan.microdollars_per_day // 2)
        for name, plan in now.plans.items()
    }
    yield "the plans' microdollars_per_day", "each halved", replace(now, plans=plans)
    functions = tuple(replace(one, instances_max=max(1, one.instances_max // 2)) for one in now.functions)
    yield "max_instances of the functions (main.py)", "each halved", replace(now, functions=functions)
    seconds = now.execution_ms_max // 1000
    shorter = replace(now, execution_ms_max=now.execution_ms_max // 2)
    yield "EXECUTION_SECONDS_MAX", f"{seconds} to {seconds // 2}", shorter
    if now.workers_max is not None and now.workers_max > 1:
        fewer = now.workers_max // 2
        yield "max workers at the provider", f"{now.workers_max} to {fewer}", replace(now, workers_max=fewer)


def _with(configured: Configured, **changes: object) -> Configured:
    return replace(configured, config=msgspec.structs.replace(configured.config, **changes))


def _half(budget: Budget) -> Budget:
    return Budget(
        **{name: None if value is None else value // 2 for name, value in msgspec.structs.asdict(budget).items()}
    )


def _dollars(microdollars: int) -> str:
    return f"${microdollars / 1e6:,.2f} to ${microdollars / 2e6:,.2f}"
