"""Law 2: a job runs only after its worst case is held, in one commit, idempotent by job id.

recall a denial ──yes──► refuse, nothing written (but look for the job first, if it may be a repeated one)
      │ no
hold on a shard of the budget ──denied by the shard──► next shard
      ├── denied by the caller's own limit ──► remember, refuse
      ├── repeated ──► the job that there is
      └── admitted
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from gate import meter
from gate.denials import DenialMemory
from gate.errors import QuotaExceededError
from gate.job import Job
from gate.meter import Denial, LimitName
from gate.policy import Policy
from gate.ports import Admitted, Clock, Denied, Ledger, Repeated

_SHARD_TRIES_MAX = 8
_UNTRIED_RETRY = timedelta(seconds=1)

_LIMITS_IN_WORDS = {
    LimitName.REQUESTS_PER_MINUTE: "Rate limit: {} requests a minute.",
    LimitName.REQUESTS_PER_DAY: "Daily limit: {} requests.",
    LimitName.REQUESTS_PER_MONTH: "Monthly limit: {} requests.",
    LimitName.CONCURRENCY: "Limit: {} requests at the same time.",
    LimitName.GPU_SECONDS_PER_DAY: "Daily limit: {} GPU seconds.",
    LimitName.MICRODOLLARS_PER_DAY: "Daily limit: {} micro-dollars.",
    LimitName.MICRODOLLARS_PER_MONTH: "Monthly limit: {} micro-dollars.",
    LimitName.BUDGET_PER_DAY: "This service has used up its budget for today.",
    LimitName.BUDGET_PER_MONTH: "This service has used up its budget for this month.",
}


class Admission:
    """Holds jobs in the ledger, or says why not and until when."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._denials = DenialMemory()

    async def hold(self, job: Job, policy: Policy, *, may_repeat: bool = False) -> Admitted | Repeated:
        """Hold a job, or return the one that has its id.

        A job that `may_repeat` an earlier one is looked for even when its caller is refused from memory: repeating
        counts nothing, so no limit stands in its way.

        Raises:
            UnauthenticatedError: the token that was shown is there no more.
            QuotaExceededError: a limit of the caller or the owner's budget is reached.
            LedgerError: the hold is not known to stand.
        """
        account = meter.usage_account(job.caller)
        denial = self._denials.recall(account, policy.plan, now=self._clock.now())
        if job.token_id:
            # Only the commit of a hold knows whether the token lives, so no answer is given again without one.
            denial, may_repeat = None if may_repeat else denial, False
        if denial is None:
            outcome = await self._hold_on_some_shard(job, policy)
            if not isinstance(outcome, Denied):
                return outcome
            denial = outcome.denial
            if not denial.limit.name.is_budget:
                self._denials.remember(account, denial, policy.plan)
        earlier = await self._ledger.job(job.job_id) if may_repeat else None
        if earlier:
            return Repeated(job=earlier)
        raise _refusal(denial, now=self._clock.now())

    def settled(self, job: Job) -> None:
        """Note that a job of this instance ended, so that what it freed is not refused from memory."""
        self._denials.forget(meter.usage_account(job.caller))
        self._denials.forget(meter.budget_account(job.shard))

    async def _hold_on_some_shard(self, job: Job, policy: Policy) -> Admitted | Denied | Repeated:
        """Try shards of the budget in an order of the job's own, skipping those known to be used up."""
        denials: list[Denial] = []
        tries = 0
        for shard in _shards(job, policy.config.budget_shards):
            account = meter.budget_account(shard)
            denial = self._denials.recall(account, policy.config, now=self._clock.now())
            if denial is None and tries < _SHARD_TRIES_MAX:
                tries += 1
                candidate = replace(job, shard=shard)
                moves = meter.moves_to_hold(candidate, policy.plan, policy.config)
                outcome = await self._ledger.hold(candidate, moves, require=_required(job))
                if not isinstance(outcome, Denied) or not outcome.denial.limit.name.is_budget:
                    return outcome
                denial = outcome.denial
                self._denials.remember(account, denial, policy.config)
            if denial:
                denials.append(denial)
        # Whichever shard comes free first is the one to come back for; one that was not tried may have room now.
        earliest = min(denials, key=lambda denial: denial.retry_at)
        if len(denials) == policy.config.budget_shards:
            return Denied(denial=earliest)
        return Denied(denial=replace(earliest, retry_at=self._clock.now() + _UNTRIED_RETRY))


def _required(job: Job) -> tuple[str, ...]:
    return (meter.token_path(job.token_id),) if job.token_id else ()


def _shards(job: Job, count: int) -> Iterator[int]:
    """Yield every shard once, beginning with one that the job's id chooses: a repeated id begins where it did."""
    first = zlib.crc32(job.job_id.encode())
    return ((first + step) % count for step in range(count))


def _refusal(denial: Denial, *, now: datetime) -> QuotaExceededError:
    """Say no in words and in facts. The budget's size is the owner's business."""
    limit = denial.limit
    wait_seconds = max(0.001, math.ceil((denial.retry_at - now).total_seconds() * 1000) / 1000)
    details: dict[str, object] = {
        "limit": limit.name.value,
        "limit_value": None if limit.name.is_budget else limit.value,
        "retry_after_seconds": wait_seconds,
        "resets_at": limit.resets_at.isoformat() if limit.resets_at else None,
    }
    sentence = _LIMITS_IN_WORDS[limit.name].format(limit.value)
    return QuotaExceededError(
        f"denied by {limit.name.value}",
        public_message=f"{sentence} Try again in {_in_words(wait_seconds)}.",
        details=details,
    )


def _in_words(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{math.ceil(seconds / size)} {unit}"
    return f"{math.ceil(seconds)} s"
