"""Whose money is counted together: a caller, an API token, a cohort, a model, everybody. One counter each, by period.

The budgets for many callers are counted in shards, so that no document is hot. The whole of each budget begins
in the first shard; another has none until it borrows some (`domain.lending`). So the number of shards says nothing
about how much may be spent, and may change at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

import msgspec

from gate.domain.job import Job
from gate.domain.limits import Limit, LimitName, Move, Periods
from gate.domain.plan import NO_BUDGET, Budget, Cohort, GateConfig

BUDGET = "budget/"
"""What the shards' accounts begin with."""
_MICRODOLLARS = "microdollars"


def usage_account(caller: str) -> str:
    """Return the account of a caller's counters."""
    return f"usage/{caller}"


def budget_account(shard: int) -> str:
    """Return the account of one shard of the global budget."""
    return f"{BUDGET}{shard}"


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Whose money is counted together: one counter in each period, and the budget that it may have."""

    kind: str
    """What the names of its limits begin with."""
    account: str
    counter: tuple[str, ...]
    """Inside a period."""
    budget: Budget

    is_bank: bool = True
    """The whole budget begins here. Other shards have none until they borrow."""

    def limit(self, period: str, value: int, resets_at: datetime) -> Limit:
        """Return the limit of this scope in a period, named "hour", "day" or "month"."""
        name = LimitName(f"{self.kind}_per_{period}")
        return Limit(name=name, value=value, ceiling=value if self.is_bank else 0, resets_at=resets_at)


def plan_scope(caller: str, budget: Budget) -> Scope:
    """A caller's own money, within their plan."""
    return Scope(kind=_MICRODOLLARS, account=usage_account(caller), counter=(_MICRODOLLARS,), budget=budget)


def token_scope(owner: str, token_id: str, budget: Budget) -> Scope:
    """A token's money is counted in its owner's account, whose document a hold writes anyway."""
    counter = ("token_microdollars", token_id)
    return Scope(kind="token_budget", account=usage_account(owner), counter=counter, budget=budget)


def budget_moves(job: Job, config: GateConfig | None, microdollars: int, at: Periods) -> tuple[Move, ...]:
    """Return what a job moves in its shard of the budgets.

    All scopes are counted whether they have a budget or not, so that one that gets a budget knows what it spent. They
    lie in one document, so that another scope costs no further write.
    """
    budgets = (NO_BUDGET, NO_BUDGET, NO_BUDGET)
    if config:
        of_cohort = config.cohort_budgets.get(Cohort(job.cohort), NO_BUDGET)
        budgets = (config.budget, of_cohort, config.model_budgets.get(job.model, NO_BUDGET))
    return _budget_moves((job.shard, job.cohort, job.model), budgets, microdollars, at)


@lru_cache(maxsize=1024)
def _budget_moves(
    counted: tuple[int, str, str], budgets: tuple[Budget, Budget, Budget], microdollars: int, at: Periods
) -> tuple[Move, ...]:
    """Remembered, because all holds of an hour on one shard move the same, cohort by cohort."""
    shard, cohort, model = counted
    whole, of_cohort, of_model = budgets
    scopes = (
        _shard_scope("budget", shard, (_MICRODOLLARS,), whole),
        _shard_scope("cohort_budget", shard, ("cohort_microdollars", cohort), of_cohort),
        _shard_scope("model_budget", shard, ("model_microdollars", model), of_model),
    )
    return tuple(money_moves(scopes, microdollars, at))


def all_budget_scopes(config: GateConfig) -> tuple[Scope, ...]:
    """Return every scope that has a budget, as the first shard counts it."""
    cohorts, models = config.cohort_budgets.items(), config.model_budgets.items()
    return (
        _shard_scope("budget", 0, (_MICRODOLLARS,), config.budget),
        *(_shard_scope("cohort_budget", 0, ("cohort_microdollars", name.value), budget) for name, budget in cohorts),
        *(_shard_scope("model_budget", 0, ("model_microdollars", name), budget) for name, budget in models),
    )


def _shard_scope(kind: str, shard: int, counter: tuple[str, ...], budget: Budget) -> Scope:
    return Scope(kind=kind, account=budget_account(shard), counter=counter, budget=budget, is_bank=shard == 0)


def money_moves(scopes: Iterable[Scope], microdollars: int, at: Periods) -> list[Move]:
    """Return one move for each scope in each period."""
    moves = []
    for scope in scopes:
        budget, account, counter = scope.budget, scope.account, scope.counter
        for name, where, value, ends in (
            ("hour", at.hour, budget.microdollars_per_hour, at.hour_ends),
            ("day", at.day, budget.microdollars_per_day, at.day_ends),
            ("month", at.month, budget.microdollars_per_month, at.month_ends),
        ):
            limit = None if value is None else scope.limit(name, value, ends)
            moves.append(Move(account=account, counter=where + counter, amount=microdollars, limit=limit))
    return moves
