"""Tells the operator of limits that are below a single hold: they refuse everybody, and say to come again later."""

from __future__ import annotations

from collections.abc import Iterator

from gate.domain.job import Job
from gate.log import EventLog
from gate.steps.policy import Policy

_TOLD_MAX = 1_000
"""What callers may choose, as a token's budget, must not fill an instance's memory."""
_MS = 1_000


class Unholdable:
    """Tells of each such limit once in an instance. It looks when a hold was refused: other calls pay nothing."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._told: set[tuple[str, int]] = set()
        self._looked_at: tuple[object, ...] = ()

    def tell(self, job: Job, policy: Policy) -> None:
        """Look through all limits of a refused job. A flood of the refused mostly has the same ones."""
        limits = policy.plan_name, policy.plan, policy.config, job.token_id, policy.token_budget
        if limits == self._looked_at:
            return
        self._looked_at = limits
        for limit, value, held in _below_one_hold(job, policy):
            if (limit, value) not in self._told and len(self._told) < _TOLD_MAX:
                self._told.add((limit, value))
                self._log.error("limit.below_one_hold", limit=limit, value=value, held=held)


def _below_one_hold(job: Job, policy: Policy) -> Iterator[tuple[str, int, int]]:
    """Yield where a limit is edited, how much it is, and how much one job holds. A limit of zero is meant so."""
    for limit, value, held in _limits(job, policy):
        if value and value < held:
            yield limit, value, held


def _limits(job: Job, policy: Policy) -> Iterator[tuple[str, int | None, int]]:
    plan, config = policy.plan, policy.config
    yield f"plans/{policy.plan_name}.gpu_seconds_per_day", plan.gpu_seconds_per_day, -(-job.held_gpu_ms // _MS)
    for where, budget in (
        (f"plans/{policy.plan_name}.", plan.budget),
        ("gate/config.budget_", config.budget),
        *((f"gate/config.cohort_budgets.{name}.", budget) for name, budget in config.cohort_budgets.items()),
        *((f"gate/config.model_budgets.{name}.", budget) for name, budget in config.model_budgets.items()),
        (f"tokens/{job.token_id}.budget.", policy.token_budget),
    ):
        for period in budget.__struct_fields__:
            yield where + period, getattr(budget, period), job.held_microdollars
