"""Holds a job on one shard of the budget, which borrows from the others when it has none left.

    hold on the job's own shard ──room──► done: one commit, no read
      │ none                                  ▲
    read all shards ──enough together──► borrow, hold again
      │ not enough, and nobody is about to put anything back
    refuse, and remember it for jobs of the same kind

Borrowing is the rare path. Those of one process do it one after the other, so that they need not race each other.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeGuard

import msgspec

from gate.domain import lending, meter
from gate.domain.job import Job
from gate.domain.lending import Shards
from gate.domain.meter import Denial, Limit, Move
from gate.domain.plan import GateConfig
from gate.domain.scopes import BUDGET
from gate.ports import Admitted, Clock, Denied, Ledger, Repeated
from gate.steps.denials import DenialMemory
from gate.steps.policy import Policy

Outcome = Admitted | Denied | Repeated
Sleep = Callable[[float], Awaitable[None]]

_ROUNDS_MAX = 5
_QUIET_SECONDS = (0.05, 0.1, 0.2, 0.4)
"""How long is waited between looks at a budget that seems used up. What a denied hold added is in it, until that is
put back; when two looks see the same, nobody is about to put anything back."""
_RETRY = timedelta(seconds=1)


class UnderWay(msgspec.Struct):
    """The last hold that the ledger was asked for. It goes on to its end, though its caller may have gone away."""

    hold: asyncio.Future[Outcome] | None = None


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A job on a shard, with what its hold moves there."""

    job: Job
    moves: tuple[Move, ...]
    config: GateConfig
    under_way: UnderWay

    @property
    def kind(self) -> str:
        """The same for jobs that need the same of the same budgets."""
        return f"{self.job.cohort} {self.job.model} {self.job.held_microdollars}"

    @property
    def place(self) -> str:
        """The kind of job on its shard."""
        return f"{meter.budget_account(self.job.shard)} {self.kind}"


class Holding:
    """Holds jobs, within the budget that all shards have together."""

    def __init__(self, *, ledger: Ledger, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self._ledger = ledger
        self._clock = clock
        self._sleep = sleep
        self._empty = DenialMemory(clock)
        """Shards that have nothing left for a kind of job."""
        self._used_up = DenialMemory(clock)
        """Kinds of jobs for which all shards together have nothing left."""
        self._borrowing = asyncio.Lock()
        self._config: GateConfig | None = None
        self._over_hold = False
        self._freed = 0
        """How often something came free. An answer that was asked for before that says nothing any more."""

    async def hold(self, job: Job, policy: Policy, under_way: UnderWay) -> Outcome:
        """Hold a job on the shard that its id chooses.

        Args:
            job: to be held.
            policy: its caller's.
            under_way: is told of each hold that the ledger is asked for.

        Raises:
            UnauthenticatedError: the token that was shown is there no more.
            LedgerError: the hold is not known to stand.
        """
        await self._follow(policy.config)
        shard = zlib.crc32(job.job_id.encode()) % policy.config.budget_shards
        job = msgspec.structs.replace(job, shard=shard)
        moves = meter.moves_to_hold(
            job,
            policy.plan,
            policy.config,
            token_budget=policy.token_budget,
            first_seen_by=policy.first_seen_by(job.held_at),
        )
        attempt = _Attempt(job=job, moves=moves, config=policy.config, under_way=under_way)
        for _ in range(_ROUNDS_MAX):
            if denial := self._used_up.recall(attempt.kind, attempt.config):
                return Denied(denial=denial)
            outcome = None
            if not self._empty.recall(attempt.place, attempt.config):
                outcome = await self._try(attempt)
            if outcome is None or _by_budget(outcome):
                outcome = await self._hold_on_credit(attempt)
            if outcome is not None:
                return outcome
        async with (
            self._borrowing
        ):  # Others took each time what was borrowed. They wait now until this one has its own.
            return await self._borrow_and_hold(attempt)

    def settled(self, job: Job) -> None:
        """Note that a job ended: what it did not use came free, and what is above its hold is a debt."""
        self.freed(job)
        self._over_hold |= (job.settled_microdollars or 0) > job.held_microdollars

    def freed(self, job: Job) -> None:
        """Note that what a job held may have come free, so that nobody is refused for it from memory."""
        self._freed += 1
        self._used_up.clear()
        self._empty.forget_under(f"{meter.budget_account(job.shard)} ")

    async def _follow(self, config: GateConfig) -> None:
        """Settle the loans when the owner changed a budget: one that was lowered may be lent out already."""
        if config is self._config and not self._over_hold:
            return
        async with self._borrowing:
            before, over_hold, self._over_hold = self._config, self._over_hold, False
            if over_hold or (before is not None and _budgets(before) != _budgets(config)):
                await settle_loans(self._ledger, config, now=self._clock.now())
            self._config = config

    async def _try(self, attempt: _Attempt) -> Outcome:
        job = attempt.job
        required = (meter.token_path(job.token_id),) if job.token_id else ()
        freed = self._freed
        holding = asyncio.ensure_future(self._ledger.hold(job, attempt.moves, require=required))
        attempt.under_way.hold = holding
        outcome = await asyncio.shield(holding)
        if _by_budget(outcome) and freed == self._freed:
            self._empty.remember(attempt.place, outcome.denial, attempt.config)
        return outcome

    async def _hold_on_credit(self, attempt: _Attempt) -> Outcome | None:
        """Borrow and hold. None means that somebody else borrowed for this shard meanwhile."""
        async with self._borrowing:
            if denial := self._used_up.recall(attempt.kind, attempt.config):
                return Denied(denial=denial)
            if not self._empty.recall(attempt.place, attempt.config):
                return None
            return await self._borrow_and_hold(attempt)

    async def _borrow_and_hold(self, attempt: _Attempt) -> Outcome:
        for _ in range(_ROUNDS_MAX):
            if denial := await self._borrow(attempt):
                return Denied(denial=denial)
            outcome = await self._try(attempt)
            if not _by_budget(outcome):
                self._note_room(attempt, outcome)
                return outcome
        return self._too_many(attempt)

    async def _borrow(self, attempt: _Attempt) -> Denial | None:
        """Make room on the job's shard; or say what all shards together are short of, when that is sure."""
        before: Shards | None = None
        for pause in (*_QUIET_SECONDS, 0):
            freed = self._freed
            shards = await self._ledger.rebalance(BUDGET, lambda seen: lending.moves_to_lend(attempt.moves, seen))
            short = lending.short_of(attempt.moves, shards)
            if not short:
                return None
            if shards == before or not lending.spent(meter.IN_FLIGHT, shards):
                break
            before = shards
            await self._sleep(pause * random.uniform(1, 2))  # noqa: S311 - no secret hangs on it
        denial = self._denial(short, shards)
        if freed == self._freed:
            self._used_up.remember(attempt.kind, denial, attempt.config)
        return denial

    def _denial(self, short: list[Limit], shards: Shards) -> Denial:
        """Say until when. While any job is in flight it may settle below its hold, and free something."""
        limit = max(short, key=lambda one: one.resets_at or self._clock.now())
        soon = self._clock.now() + _RETRY
        return Denial(
            limit=limit, retry_at=soon if lending.spent(meter.IN_FLIGHT, shards) else limit.resets_at or soon
        )

    def _note_room(self, attempt: _Attempt, outcome: Outcome) -> None:
        """Let others of this process try the shard at once, if the loan was larger than what this job needed."""
        if isinstance(outcome, Admitted) and all(
            outcome.sums[move.key] + move.amount <= move.limit.ceiling
            for move in attempt.moves
            if move.limit and move.limit.name.is_budget
        ):
            self._empty.forget(attempt.place)

    def _too_many(self, attempt: _Attempt) -> Denied:
        """Others took each time what was borrowed."""
        limit = next(move.limit for move in attempt.moves if move.limit and move.limit.name.is_budget)
        return Denied(denial=Denial(limit=limit, retry_at=self._clock.now() + _RETRY))


async def settle_loans(ledger: Ledger, config: GateConfig, *, now: datetime) -> Shards:
    """Bring home what shards lent each other where a changed budget, or a job above its hold, makes it untrue.

    Return the shards as they were before; their sums are the same afterwards.

    Raises:
        LedgerError: it is not known whether it was done; doing it again does no harm.
    """
    limits = meter.budgets_of(config, now=now)
    return await ledger.rebalance(BUDGET, lambda seen: lending.moves_to_settle_loans(limits, seen))


def _by_budget(outcome: Outcome) -> TypeGuard[Denied]:
    return isinstance(outcome, Denied) and outcome.denial.limit.name.is_budget


def _budgets(config: GateConfig) -> tuple[object, ...]:
    return config.budget, config.cohort_budgets, config.model_budgets
