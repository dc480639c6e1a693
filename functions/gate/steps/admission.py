"""Law 2: a job runs only after its worst case is held, in one commit, idempotent by job id.

recall a denial ──yes──► refuse, nothing written (but look for the job first, if it may be a repeated one)
      │ no
hold on a shard of the budget ──denied by the shard──► borrow from the others, hold again
      ├── denied by the caller's own limit ──► remember, refuse
      ├── repeated ──► the job that there is
      └── admitted
"""

from __future__ import annotations

import math
from datetime import datetime
from functools import lru_cache

import msgspec

from gate.domain import meter
from gate.domain.job import Job
from gate.domain.meter import Denial, Limit, LimitName
from gate.errors import QuotaExceededError
from gate.ports import Admitted, Caller, Clock, Denied, Ledger, Repeated
from gate.steps.denials import DenialMemory
from gate.steps.holding import Holding, UnderWay
from gate.steps.newcomers import NewcomerError
from gate.steps.policy import Policy

_LIMITS_IN_WORDS = {
    LimitName.REQUESTS_PER_MINUTE: "Rate limit: {} requests a minute.",
    LimitName.REQUESTS_PER_DAY: "Daily limit: {} requests.",
    LimitName.REQUESTS_PER_MONTH: "Monthly limit: {} requests.",
    LimitName.CONCURRENCY: "Limit: {} requests at the same time.",
    LimitName.GPU_SECONDS_PER_DAY: "Daily limit: {} GPU seconds.",
    LimitName.MICRODOLLARS_PER_HOUR: "Hourly limit: {} micro-dollars.",
    LimitName.MICRODOLLARS_PER_DAY: "Daily limit: {} micro-dollars.",
    LimitName.MICRODOLLARS_PER_MONTH: "Monthly limit: {} micro-dollars.",
    LimitName.TOKEN_BUDGET_PER_HOUR: "Hourly limit of this token: {} micro-dollars.",
    LimitName.TOKEN_BUDGET_PER_DAY: "Daily limit of this token: {} micro-dollars.",
    LimitName.TOKEN_BUDGET_PER_MONTH: "Monthly limit of this token: {} micro-dollars.",
    LimitName.COHORT_BUDGET_PER_HOUR: "This service has used up its budget of this hour for accounts like yours.",
    LimitName.COHORT_BUDGET_PER_DAY: "This service has used up its budget of today for accounts like yours.",
    LimitName.COHORT_BUDGET_PER_MONTH: "This service has used up its budget of this month for accounts like yours.",
    LimitName.MODEL_BUDGET_PER_HOUR: "This service has used up its budget of this hour for this model.",
    LimitName.MODEL_BUDGET_PER_DAY: "This service has used up its budget of today for this model.",
    LimitName.MODEL_BUDGET_PER_MONTH: "This service has used up its budget of this month for this model.",
    LimitName.BUDGET_PER_HOUR: "This service has used up its budget for this hour.",
    LimitName.BUDGET_PER_DAY: "This service has used up its budget for today.",
    LimitName.BUDGET_PER_MONTH: "This service has used up its budget for this month.",
}


class Admission:
    """Holds jobs in the ledger, or says why not and until when."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._denials = DenialMemory(clock)
        self._holding = Holding(ledger=ledger, clock=clock)

    async def hold(
        self, job: Job, policy: Policy, *, may_repeat: bool = False, under_way: UnderWay | None = None
    ) -> Admitted | Repeated:
        """Hold a job, or return the one that has its id.

        A job that `may_repeat` an earlier one is looked for even when its caller is refused from memory: repeating
        counts nothing, so no limit stands in its way.

        Raises:
            UnauthenticatedError: the token that was shown is there no more.
            QuotaExceededError: a limit of the caller or the owner's budget is reached.
            NewcomerError: another policy holds for this caller; nothing is held.
            LedgerError: the hold is not known to stand.
        """
        denial = self._recalled(job.caller, job.token_id, policy)
        if job.token_id:
            # Only the commit of a hold knows whether the token lives, so no answer is given again without one.
            denial, may_repeat = None if may_repeat else denial, False
        if denial is None:
            outcome = await self._holding.hold(job, policy, under_way or UnderWay())
            if not isinstance(outcome, Denied):
                return outcome
            denial = outcome.denial
            if denial.limit.name is LimitName.AGE:
                raise NewcomerError(denial)
            self._remember(denial, job, policy)
        earlier = await self._ledger.job(job.job_id) if may_repeat else None
        if earlier:
            return Repeated(job=earlier)
        raise _refusal(denial, now=self._clock.now())

    def check(self, caller: Caller, policy: Policy) -> None:
        """Refuse who is remembered to be refused, before anything is made of a request that can repeat no other.

        Raises:
            QuotaExceededError: as `hold`.
        """
        denial = self._recalled(caller.uid, caller.token_id, policy)
        if denial:
            raise _refusal(denial, now=self._clock.now())

    async def is_there(self, job: Job) -> bool:
        """Return whether a job of this id was held before, so that holding it again holds nothing.

        Raises:
            LedgerError: it cannot be read.
        """
        return await self._ledger.job(job.job_id) is not None

    def settled(self, job: Job) -> None:
        """Note that a job of this instance ended, so that what it freed is not refused from memory."""
        self._forget(job)
        self._holding.settled(job)

    def freed(self, job: Job) -> None:
        """Note that a job of this instance may have ended: its settlement was sent, and not answered."""
        self._forget(job)
        self._holding.freed(job)

    def _forget(self, job: Job) -> None:
        self._denials.forget(meter.usage_account(job.caller))
        if job.token_id:
            self._denials.forget(meter.token_path(job.token_id))

    def _recalled(self, uid: str, token_id: str | None, policy: Policy) -> Denial | None:
        """Return a denial by the caller's plan or by the token's budget that still stands."""
        denial = self._denials.recall(meter.usage_account(uid), policy.plan)
        if denial is None and token_id:
            denial = self._denials.recall(meter.token_path(token_id), policy.token_budget)
        return denial

    def _remember(self, denial: Denial, job: Job, policy: Policy) -> None:
        if denial.limit.name.is_token and job.token_id:
            self._denials.remember(meter.token_path(job.token_id), denial, policy.token_budget)
        elif not denial.limit.name.is_budget:
            self._denials.remember(meter.usage_account(job.caller), denial, policy.plan)


def _refusal(denial: Denial, *, now: datetime) -> QuotaExceededError:
    """Say no in words and in facts. The budget's size is the owner's business."""
    told = _told_of(denial.limit)
    wait_seconds = max(0.001, math.ceil((denial.retry_at - now).total_seconds() * 1000) / 1000)
    return QuotaExceededError(
        told.reason,
        public_message=f"{told.sentence} Try again in {_in_words(wait_seconds)}.",
        details={**told.facts, "retry_after_seconds": wait_seconds},
    )


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a limit, whoever runs into it and whenever."""

    reason: str
    sentence: str
    facts: dict[str, object]


@lru_cache(maxsize=1024)
def _told_of(limit: Limit) -> _Told:
    name = limit.name
    return _Told(
        reason=f"denied by {name.value}",
        sentence=_LIMITS_IN_WORDS[name].format(limit.value),
        facts={
            "limit": name.value,
            "limit_value": None if name.is_budget else limit.value,
            "resets_at": limit.resets_at.isoformat() if limit.resets_at else None,
        },
    )


def _in_words(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{math.ceil(seconds / size)} {unit}"
    return f"{math.ceil(seconds)} s"
