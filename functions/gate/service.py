"""The gate, from a verified caller's request to a settled job.

    plan and limits ─► hold ─► dispatch ─┬─► settle    it ran: its caller pays what it took
                                         └─► release   it never ran: its caller pays nothing

Every way out after a hold goes through one settlement. A process that dies in between leaves a hold behind, which
expires and is swept.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec

from gate import meter
from gate.admission import Admission
from gate.dispatch import Dispatcher
from gate.errors import (
    ForbiddenError,
    GateError,
    JobFailedError,
    LedgerError,
    ProviderError,
    ProviderUnavailableError,
)
from gate.job import Job, JobState, Settlement, job_id_for
from gate.joining import Joining
from gate.log import EventLog
from gate.meter import Key, Remaining
from gate.money import Tariff
from gate.outcome import failure_again, failure_of, kept_result, settlement_after, settlement_for
from gate.policy import Policies, Policy
from gate.ports import Admitted, Caller, Clock, Ledger, Order, Provider, Repeated
from gate.request import InferRequest, check_raw_size, check_size, payload_digest

_ROUNDS_MAX = 5
"""How often one idempotency key may start anew after tries that were released."""
_SETTLE_TRIES = 3
_WIND_UP_MS = 20_000
"""How long hop 1 may be busy with a job after its wait: cancelling it, and asking what it took."""
_SWEEP_MARGIN = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model that callers may name, and what a job of it may cost."""

    name: str
    tariff: Tariff
    execution_ms_max: int
    wait_ms_max: int
    """How long hop 1 waits for the answer: the start of a worker, the queue and the execution."""

    @property
    def worst_case_microdollars(self) -> int:
        """The hold for one job."""
        return self.tariff.worst_case_microdollars(
            execution_ms_max=self.execution_ms_max, wait_ms_max=self.wait_ms_max + _WIND_UP_MS
        )

    @property
    def worst_case_gpu_ms(self) -> int:
        """The GPU time that is held for one job."""
        return self.execution_ms_max + self.tariff.start_ms_max


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a caller gets for a job that ended well."""

    job: Job
    outputs: Any
    quota: tuple[Remaining, ...]
    repeated: bool = False
    """It was answered before; this is the same answer, and nothing was counted."""


class Gate:
    """Hop 1 behind its doors."""

    def __init__(
        self,
        *,
        policies: Policies,
        ledger: Ledger,
        provider: Provider,
        model: ServedModel,
        clock: Clock,
        log: EventLog,
    ) -> None:
        self._policies = policies
        self._ledger = ledger
        self._model = model
        self._clock = clock
        self._log = log
        self._admission = Admission(ledger=ledger, clock=clock)
        self._dispatcher = Dispatcher(provider=provider, clock=clock, log=log)
        self._joining = Joining(ledger=ledger, clock=clock)
        self._told_unholdable: set[tuple[str, int]] = set()
        self._detached: set[asyncio.Future[None]] = set()

    async def infer(self, caller: Caller, request: InferRequest, *, size_bytes: int = 0) -> Answer:
        """Run a verified caller's request on the model, and count it.

        Args:
            caller: who is asking.
            request: what is asked.
            size_bytes: of the request as it came, if that is known.

        Raises:
            GateError: it was refused or it failed; `errors` tells the kinds apart.
        """
        policy = await self._policies.for_caller(caller)
        check_raw_size(size_bytes, policy.plan)
        body = self._checked_body(request, policy)
        self._warn_if_unholdable(policy)
        deadline = self._clock.now() + timedelta(milliseconds=self._model.wait_ms_max)
        for round_number in range(_ROUNDS_MAX):
            job = self._new_job(caller, policy, request, body, round_number)
            outcome = await self._hold(job, policy, may_repeat=request.idempotency_key is not None)
            if isinstance(outcome, Admitted):
                return await self._run(outcome, policy, body, keep_result=request.idempotency_key is not None)
            earlier = await self._joining.end_of(outcome.job, payload_digest(body), deadline=deadline)
            if earlier.state is not JobState.RELEASED:
                return await self._answer_again(earlier, policy)
        raise ProviderUnavailableError(
            f"{_ROUNDS_MAX} tries with one idempotency key were released",
            public_message="The model could not be reached for this request. Use a new key to try again.",
        )

    async def quota(self, caller: Caller) -> tuple[Remaining, ...]:
        """Return what is left of each limit of a verified caller, without counting as a use.

        Raises:
            GateError: the caller is refused, or the ledger cannot be read.
        """
        return await self._quota_of(caller.uid, await self._policies.for_caller(caller))

    def _checked_body(self, request: InferRequest, policy: Policy) -> bytes:
        """Check all that can be checked before anything is spent, and return what the worker is sent."""
        name = (request.model or self._model.name).lower()
        allowed = {model.lower() for model in policy.plan.models}
        if name != self._model.name or not {name, "*"} & allowed:
            raise ForbiddenError(
                f"model {name!r} is not served, or not in plan {policy.plan_name}",
                public_message=f"Your plan has no model {name!r}. Leave `model` out for the default.",
            )
        body = request.body(name)
        check_size(request, body, policy.plan)
        return body

    def _warn_if_unholdable(self, policy: Policy) -> None:
        """Tell the operator, once, of a limit that is below a single hold: it refuses everybody for ever."""
        shards = policy.config.budget_shards
        limits = {
            f"plans/{policy.plan_name}.microdollars_per_day": policy.plan.microdollars_per_day,
            f"plans/{policy.plan_name}.microdollars_per_month": policy.plan.microdollars_per_month,
            "gate/config.budget_microdollars_per_day (a shard)": policy.config.budget_microdollars_per_day // shards,
        }
        for limit, value in limits.items():
            if 0 < value < self._model.worst_case_microdollars and (limit, value) not in self._told_unholdable:
                self._told_unholdable.add((limit, value))
                held = self._model.worst_case_microdollars
                self._log.error("limit.below_one_hold", limit=limit, value=value, held_microdollars=held)

    def _new_job(self, caller: Caller, policy: Policy, request: InferRequest, body: bytes, round_number: int) -> Job:
        now = self._clock.now()
        key = request.idempotency_key or secrets.token_hex(16)
        longest = timedelta(milliseconds=self._model.wait_ms_max + self._model.execution_ms_max)
        return Job(
            job_id=job_id_for(caller.uid, f"{round_number}:{key}"),
            caller=caller.uid,
            cohort=caller.cohort.value,
            model=self._model.name,
            payload_digest=payload_digest(body),
            attempt=secrets.token_hex(8),
            held_microdollars=self._model.worst_case_microdollars,
            held_gpu_ms=self._model.worst_case_gpu_ms,
            emission_us=policy.plan.emission_us,
            shard=0,
            token_id=caller.token_id,
            held_at=now,
            expires_at=now + longest + _SWEEP_MARGIN,
        )

    async def _hold(self, job: Job, policy: Policy, *, may_repeat: bool) -> Admitted | Repeated:
        """Hold a job. If the caller goes away meanwhile, the hold is released once it is known to stand."""
        holding = asyncio.ensure_future(self._admission.hold(job, policy, may_repeat=may_repeat))
        try:
            return await asyncio.shield(holding)
        except asyncio.CancelledError:
            self._detach(self._release_unused(holding))
            raise

    async def _release_unused(self, holding: asyncio.Future[Admitted | Repeated]) -> None:
        with suppress(GateError):
            outcome = await holding
            if isinstance(outcome, Admitted):
                await self._settle_surely(outcome.job, Settlement.release("The caller went away."), "cancelled")

    def _detach(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something end by itself. The loop forgets tasks that nobody holds on to."""
        task = asyncio.ensure_future(work)
        self._detached.add(task)
        task.add_done_callback(self._detached.discard)

    async def _run(self, admitted: Admitted, policy: Policy, body: bytes, *, keep_result: bool) -> Answer:
        job = admitted.job
        self._log.info("job.held", job_id=job.job_id, caller=job.caller, held_microdollars=job.held_microdollars)
        try:
            ended = await self._dispatcher.run(self._order(job, body))
            settlement = settlement_for(ended, job, self._model.tariff, wait_ms=self._waited_ms(job))
            if keep_result and not settlement.failure:
                settlement = replace(settlement, result=kept_result(ended))
        except ProviderError as exc:
            await self._settle(job, settlement_after(exc, job), reason=str(exc))
            raise
        except Exception as exc:
            # A bug of ours, after the job may have been sent: in doubt the hold is settled in full.
            await self._settle(job, settlement_after(JobFailedError(), job), reason=type(exc).__name__)
            raise
        done = await self._settle(job, settlement)
        failure = failure_of(ended)
        if failure:
            raise failure
        return Answer(job=done, outputs=ended.outputs, quota=self._quota_after(admitted, settlement, policy))

    def _order(self, job: Job, body: bytes) -> Order:
        return Order(
            job_id=job.job_id,
            body=body,
            execution_ms_max=self._model.execution_ms_max,
            expires_at=job.held_at + timedelta(milliseconds=self._model.wait_ms_max),
        )

    async def _settle(self, job: Job, settlement: Settlement, *, reason: str = "") -> Job:
        """Settle, even if the caller goes away meanwhile."""
        return await asyncio.shield(self._settle_surely(job, settlement, reason))

    async def _settle_surely(self, job: Job, settlement: Settlement, reason: str) -> Job:
        """Try a few times. If the ledger stays away, the answer is given and the hold is left to the sweeper."""
        for tries_left in reversed(range(_SETTLE_TRIES)):
            try:
                done = await self._ledger.settle(job, settlement, at=self._clock.now())
            except LedgerError as exc:
                if not tries_left:
                    self._log.error("job.not_settled", job_id=job.job_id, reason=str(exc))
            else:
                self._admission.settled(done)
                self._log_settled(done, reason)
                return done
        return job

    def _log_settled(self, job: Job, reason: str) -> None:
        fields = {"failure_code": job.failure_code, "reason": reason} if job.failure_code else {}
        self._log.info(
            f"job.{job.state.value}",
            job_id=job.job_id,
            caller=job.caller,
            held_microdollars=job.held_microdollars,
            settled_microdollars=job.settled_microdollars,
            **fields,
        )
        if (job.settled_microdollars or 0) > job.held_microdollars:
            self._log.error("job.over_hold", job_id=job.job_id, hint="is the provider's execution timeout set?")

    async def _answer_again(self, job: Job, policy: Policy) -> Answer:
        if job.result is None:
            raise failure_again(job)
        quota = await self._quota_of(job.caller, policy)
        return Answer(job=job, outputs=msgspec.json.decode(job.result), quota=quota, repeated=True)

    async def _quota_of(self, uid: str, policy: Policy) -> tuple[Remaining, ...]:
        """Read what is left, from the counters that a hold would move."""
        account = meter.usage_account(uid)
        counters = await self._ledger.counters(account)
        sums = {(account, counter): value for counter, value in counters.items()}
        return self._remaining(uid, policy, sums)

    def _quota_after(self, admitted: Admitted, settlement: Settlement, policy: Policy) -> tuple[Remaining, ...]:
        """Tell what is left from the sums that the hold returned, with no further read."""
        sums = dict(admitted.sums)
        for move in meter.moves_to_settle(admitted.job, settlement):
            sums[move.key] = sums.get(move.key, 0) + move.amount
        return self._remaining(admitted.job.caller, policy, sums)

    def _remaining(self, uid: str, policy: Policy, sums: Mapping[Key, int]) -> tuple[Remaining, ...]:
        now = self._clock.now()
        limits = meter.limits_of(uid, policy.plan, now=now)
        return meter.remaining(limits, sums, now=now)

    def _waited_ms(self, job: Job) -> int:
        return max(0, (self._clock.now() - job.held_at) // timedelta(milliseconds=1))
