"""The way in: from a verified caller's request to a job that is held, or to the one that it repeats.

In this order, and whoever is stopped on the way has cost nothing:

    plan and limits ─► size ─► hold ─┬─► held
                                     └─► repeated ─► join ─┬─► the job that there is
                                                           └─► it was released: hold the next round's job
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import msgspec

from gate.domain import kill
from gate.domain.caching import JobName, may_repeat, names_of
from gate.domain.job import Job, JobState, Settlement, job_id_for
from gate.domain.kill import Access, KillLevel
from gate.domain.model import ServedModel
from gate.domain.plan import Cohort
from gate.domain.request import InferRequest, check_raw_size, check_size, payload_digest
from gate.errors import ForbiddenError, GateError, KilledError, ProviderUnavailableError, QuotaExceededError
from gate.log import EventLog
from gate.ports import Admitted, Caller, Clock, Repeated
from gate.random_text import RandomHex
from gate.steps.admission import Admission
from gate.steps.holding import Outcome, UnderWay
from gate.steps.newcomers import NewcomerError, Newcomers
from gate.steps.pacing import Pace, paced_as
from gate.steps.policy import Policies, Policy
from gate.steps.settling import Settling
from gate.steps.unholdable import Unholdable

_SWEEP_MARGIN = timedelta(seconds=60)
_READS_TO_REPEAT = 2
"""The job that there is, and what is left to its caller."""

Join = Callable[[Job, str], Awaitable[Job]]
"""Returns the job that a request repeats, as the one who asks wants it: now, or at its end."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose job is held: it may run now."""

    admitted: Admitted
    policy: Policy
    request: InferRequest
    body: bytes
    """What the worker is sent."""
    keeps_result: bool = False
    """An equal request may come for the same answer."""

    @property
    def job(self) -> Job:
        """The job, as its hold left it."""
        return self.admitted.job


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose job another one started. Nothing was counted."""

    job: Job
    policy: Policy
    cached: bool = False
    """The two did not say that they are one; what they ask is equal."""


class Entry:
    """Lets requests in. What is refused here has cost nothing."""

    def __init__(
        self,
        *,
        policies: Policies,
        pace: Pace,
        newcomers: Newcomers,
        admission: Admission,
        settling: Settling,
        model: ServedModel,
        clock: Clock,
        log: EventLog,
        random_hex: RandomHex,
    ) -> None:
        self._policies = policies
        self._pace = pace
        self._random_hex = random_hex
        self._newcomers = newcomers
        self._admission = admission
        self._settling = settling
        self._model = model
        self._clock = clock
        self._hold_microdollars = model.worst_case_microdollars
        self._unholdable = Unholdable(log)

    async def enter(self, caller: Caller, request: InferRequest, *, size_bytes: int, join: Join) -> Held | Joined:
        """Check all that can be checked, then hold a job, or join the one that has the same idempotency key.

        Args:
            caller: who is asking.
            request: what is asked.
            size_bytes: of the request as it came; 0 if that is not known.
            join: is given the job that is there already, and the digest of what is asked now.

        Raises:
            GateError: it was refused.
        """
        self._policies.expect(caller)
        caller = await self._newcomers.as_known(caller)
        try:
            return await self._enter(caller, request, size_bytes=size_bytes, join=join)
        except NewcomerError as exc:
            newcomer = await self._newcomers.remember(caller, exc.denial)
        return await self._enter(newcomer, request, size_bytes=size_bytes, join=join)

    async def _enter(self, caller: Caller, request: InferRequest, *, size_bytes: int, join: Join) -> Held | Joined:
        policy = await self._policies.for_caller(caller)
        allowed = kill.access(policy.config, cohorts=caller.cohorts, plan_name=policy.plan_name)
        if allowed is Access.NOTHING:
            raise kill.refusal(policy.config.kill_level)
        check_raw_size(size_bytes, policy.plan)
        model = self._checked_model(caller, request, policy)
        cache_seconds = policy.config.cache_seconds.get(model)
        if allowed is Access.ALL and not may_repeat(request, cache_seconds=cache_seconds):
            self._admission.check(caller, policy)
        body = request.body(model)
        check_size(request, body, policy.plan)
        digest = payload_digest(body)
        for name in self._names(request, digest, cache_seconds):
            job = self._new_job(caller, policy, digest, name)
            if name.repeats:
                self._pace.check(paced_as(caller))
            try:
                if allowed is Access.ANSWERS and not (name.repeats and await self._admission.is_there(job)):
                    raise kill.refusal(policy.config.kill_level)
                outcome = await self._hold(job, policy, may_repeat=name.repeats)
            except (KilledError, QuotaExceededError):
                # Whoever may repeat a job has it looked for at each refusal, so what is read for them is bounded.
                if name.repeats:
                    self._pace.count(paced_as(caller))
                self._unholdable.tell(job, policy)
                raise
            if isinstance(outcome, Admitted):
                return Held(admitted=outcome, policy=policy, request=request, body=body, keeps_result=name.repeats)
            self._pace.count(paced_as(caller), _READS_TO_REPEAT)
            earlier = await join(outcome.job, digest)
            if _can_be_told_again(earlier, name):
                return Joined(job=earlier, policy=policy, cached=name.cached)
        raise ProviderUnavailableError(
            "all tries with one idempotency key were released",
            public_message="The model could not be reached for this request. Use a new key to try again.",
        )

    def _checked_model(self, caller: Caller, request: InferRequest, policy: Policy) -> str:
        """Return the model that is asked for, if it is served and this caller may use it."""
        if not caller.models:
            raise ForbiddenError("a usage token", public_message="This API token may only read usage.")
        name = (request.model or self._model.name).lower()
        allowed = {model.lower() for model in policy.plan.models}
        if name != self._model.name or not {name, "*"} & allowed:
            whose = "This API token" if caller.token_id else "Your plan"
            raise ForbiddenError(
                f"model {name!r} is not served, or not in plan {policy.plan_name}",
                public_message=f"{whose} has no model {name!r}. Leave `model` out for the default.",
            )
        return name

    def _names(self, request: InferRequest, digest: str, cache_seconds: int | None) -> Iterator[JobName]:
        return names_of(
            request,
            digest,
            cache_seconds=cache_seconds,
            now=self._clock.now(),
            random=lambda: self._random_hex(16),
        )

    def _new_job(self, caller: Caller, policy: Policy, digest: str, name: JobName) -> Job:
        now = self._clock.now()
        longest = timedelta(milliseconds=self._model.wait_ms_max + self._model.execution_ms_max)
        return Job(
            job_id=job_id_for(caller.uid, name.text),
            caller=caller.uid,
            # The plan is that of the token's owner; the money is counted with what other tokens spend.
            cohort=(Cohort.TOKEN if caller.token_id else caller.cohort).value,
            model=self._model.name,
            payload_digest=digest,
            attempt=self._random_hex(8),
            held_microdollars=self._hold_microdollars,
            held_gpu_ms=self._model.worst_case_gpu_ms,
            emission_us=policy.plan.emission_us,
            shard=0,
            token_id=caller.token_id,
            low_priority=policy.config.kill_level >= KillLevel.NO_NEW_WORKERS,
            held_at=now,
            expires_at=now + longest + _SWEEP_MARGIN,
        )

    async def _hold(self, job: Job, policy: Policy, *, may_repeat: bool) -> Admitted | Repeated:
        """Hold a job. If the caller goes away meanwhile, the hold is released once it is known to stand."""
        under_way = UnderWay()
        try:
            return await self._admission.hold(job, policy, may_repeat=may_repeat, under_way=under_way)
        except asyncio.CancelledError:
            if under_way.hold:
                self._settling.detach(self._release_unused(under_way.hold))
            raise

    async def _release_unused(self, hold: asyncio.Future[Outcome]) -> None:
        with suppress(GateError):
            outcome = await hold
            if isinstance(outcome, Admitted):
                left = Settlement.release("The caller went away.")
                await self._settling.settle(outcome.job, left, reason="cancelled")


def _can_be_told_again(earlier: Job, name: JobName) -> bool:
    """Return whether a job is an answer to another request of its name. An error is, only if the caller says so."""
    if earlier.state is JobState.RELEASED:
        return False
    answered = earlier.result is not None or earlier.result_url is not None
    return answered or not name.cached or not earlier.state.final
