"""The gate, from a verified caller's request to a settled job.

    plan and limits ─► hold ─► dispatch ─┬─► settle    it ran: its caller pays what it took
                                         └─► release   it never ran: its caller pays nothing

Every way out after a hold goes through one settlement. A process that dies in between leaves a hold behind, which
expires and is swept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import datetime, timedelta

import msgspec

from gate.domain.answer import Answer
from gate.domain.job import Job, Settlement
from gate.domain.meter import Remaining
from gate.domain.model import ServedModel
from gate.domain.request import InferRequest
from gate.errors import (
    GateError,
    JobCancelledError,
    KilledError,
    ProviderError,
    ProviderTimeoutError,
    ResultStoreError,
)
from gate.jobs import Jobs, outputs_of
from gate.log import EventLog
from gate.ports import Caller, Clock, Ledger
from gate.provider import Order, Part, Provider, ProviderJob, ProviderState
from gate.random_text import RandomHex, random_hex
from gate.steps.admission import Admission
from gate.steps.dispatch import Dispatcher, Sight
from gate.steps.entry import Entry, Held, Join, Joined
from gate.steps.following import Follower
from gate.steps.joining import Joining
from gate.steps.newcomers import Newcomers
from gate.steps.orders import Orders
from gate.steps.outcome import (
    failure_again,
    failure_of,
    kept_result,
    settlement_after,
    settlement_for,
    settlement_when_stopped,
)
from gate.steps.pacing import Pace
from gate.steps.policy import Policies
from gate.steps.quotas import Quotas
from gate.steps.results import Results, ResultStore
from gate.steps.settling import Settling
from gate.steps.stop_watch import StopWatch
from gate.steps.streaming import Streamer
from gate.steps.webhooks import Webhooks

_LEFT = "the caller went away"


class Gate:
    """Hop 1 behind its doors."""

    def __init__(
        self,
        *,
        policies: Policies,
        ledger: Ledger,
        provider: Provider,
        model: ServedModel,
        webhooks: Webhooks,
        clock: Clock,
        log: EventLog,
        results: ResultStore | None = None,
        pace: Pace | None = None,
        random_hex: RandomHex = random_hex,
    ) -> None:
        self._policies, self._model, self._provider, self._clock = policies, model, provider, clock
        self._orders = Orders(model=model, webhooks=webhooks)
        admission = Admission(ledger=ledger, clock=clock)
        self._settling = Settling(ledger=ledger, admission=admission, clock=clock, log=log)
        self._newcomers = Newcomers(policies=policies, ledger=ledger, clock=clock)
        self._entry = Entry(
            policies=policies,
            pace=pace or Pace(clock=clock),
            newcomers=self._newcomers,
            admission=admission,
            settling=self._settling,
            model=model,
            clock=clock,
            log=log,
            random_hex=random_hex,
        )
        self._quotas = Quotas(ledger=ledger, clock=clock)
        self._dispatcher = Dispatcher(provider=provider, clock=clock, log=log)
        self._streamer = Streamer(provider=provider, dispatcher=self._dispatcher, clock=clock)
        self._watch = StopWatch(policies=policies, ledger=ledger, fresh_seconds=policies.fresh_seconds)
        self._joining = Joining(ledger=ledger, clock=clock)
        kept = Results(store=results, clock=clock)
        self.follower = Follower(
            ledger=ledger, provider=provider, settling=self._settling, results=kept, model=model, clock=clock, log=log
        )
        self.jobs = Jobs(
            entry=self._entry,
            orders=self._orders,
            provider=provider,
            ledger=ledger,
            settling=self._settling,
            follower=self.follower,
            quotas=self._quotas,
            results=kept,
            clock=clock,
        )

    async def infer(self, caller: Caller, request: InferRequest, *, size_bytes: int = 0) -> Answer:
        """Run a verified caller's request on the model, and count it.

        A job that takes longer than the wait goes on, if its provider keeps jobs, and is answered with as it stands;
        otherwise it is given up.

        Args:
            caller: who is asking.
            request: what is asked.
            size_bytes: of the request as it came, if that is known.

        Raises:
            GateError: it was refused or it failed; `errors` tells the kinds apart.
        """
        entered = await self._entry.enter(caller, request, size_bytes=size_bytes, join=self._join_to_the_end())
        if isinstance(entered, Joined):
            return await self._answer_again(entered)
        order = self._order(entered, entered.body)
        return await self._answer_or_hand_over(entered, order, await self._run(entered, order))

    async def stream(
        self, caller: Caller, request: InferRequest, *, size_bytes: int = 0
    ) -> AsyncGenerator[Part | Answer, None]:
        """Do as `infer`, and yield what the job makes as it makes it, and at last the answer.

        A job that makes no parts, or was started by another request, yields its answer alone. One that takes longer
        than the wait goes on, as for `infer`. To leave the iteration early, by `aclose` or by cancelling it, stops
        the job at the provider, and its caller pays what it used.

        Raises:
            GateError: as `infer`, at any point of the iteration.
        """
        entered = await self._entry.enter(caller, request, size_bytes=size_bytes, join=self._join_to_the_end())
        if isinstance(entered, Joined):
            yield await self._answer_again(entered)
            return
        order = self._order(entered, request.body(self._model.name, stream=True))
        seen: ProviderJob | None = None
        began = False
        try:
            async with (
                self._settling.on_error(entered.job),
                aclosing(self._streamer.run(order, until=self._waited_until(entered.job))) as made,
                aclosing(self._watch.unless_stopped_between(made, entered.job)) as steps,
            ):
                async for step in steps:
                    if isinstance(step, Part):
                        began = True
                        yield step
                    else:
                        seen, began = step, began or step.state is not ProviderState.QUEUED
        except (GeneratorExit, asyncio.CancelledError, KilledError, JobCancelledError) as exc:
            reason = str(exc) if isinstance(exc, GateError) else _LEFT
            await self._settling.surely(self._abandon(entered.job, seen, began=began, reason=reason))
            raise
        assert seen is not None, "a stream that raises nothing ends with how its job stands"
        yield await self._answer_or_hand_over(entered, order, seen)

    @property
    def model_name(self) -> str:
        """The model that is served, as callers name it."""
        return self._model.name

    async def models(self, caller: Caller) -> tuple[str, ...]:
        """Return the models that a verified caller may name, without counting as a use.

        Raises:
            GateError: the caller is refused, or their plan cannot be read.
        """
        policy = await self._policies.for_caller(await self._newcomers.as_known(caller))
        allowed = {model.lower() for model in policy.plan.models}
        return (self._model.name,) if {self._model.name, "*"} & allowed else ()

    async def quota(self, caller: Caller) -> tuple[Remaining, ...]:
        """Return what is left of each limit of a verified caller, without counting as a use.

        Raises:
            GateError: the caller is refused, or the ledger cannot be read.
        """
        policy = await self._policies.for_caller(await self._newcomers.as_seen(caller))
        return await self._quotas.of(caller.uid, policy)

    def _join_to_the_end(self) -> Join:
        """Return what waits for the end of a job that another request started, for the time of one wait."""
        deadline = self._clock.now() + timedelta(milliseconds=self._model.wait_ms_max)

        async def join(job: Job, payload_digest: str) -> Job:
            return await self._joining.end_of(job, payload_digest, deadline=deadline)

        return join

    def _order(self, held: Held, body: bytes) -> Order:
        """Return what the provider is asked for: if it keeps jobs, one that may outlive its call."""
        make = self._orders.outliving if self._provider.capabilities.queues else self._orders.awaited
        return make(held.job, body)

    def _waited_until(self, job: Job) -> datetime:
        return job.held_at + timedelta(milliseconds=self._model.wait_ms_max)

    async def _run(self, held: Held, order: Order) -> ProviderJob:
        sight = Sight()
        work = self._dispatcher.run(order, until=self._waited_until(held.job), sight=sight)
        try:
            async with self._settling.on_error(held.job):
                # A job that ends with its connection is stopped without a name.
                known = sight.known if self._provider.capabilities.queues else None
                return await self._watch.unless_stopped(work, held.job, known=known)
        except (KilledError, JobCancelledError) as exc:
            began = sight.job is None or sight.job.state is not ProviderState.QUEUED
            await self._settling.surely(self._abandon(held.job, sight.job, began=began, reason=str(exc)))
            raise

    async def _answer_or_hand_over(self, held: Held, order: Order, seen: ProviderJob) -> Answer:
        if seen.state.final:
            return await self._answer(held, seen)
        awaited_ms = held.job.elapsed_ms(self._clock.now())
        job = await self._settling.surely(
            self.follower.note(held.job, seen, due_at=order.expires_at, awaited_ms=awaited_ms)
        )
        with suppress(ProviderError, ResultStoreError):
            # Its webhook may have come while nobody knew where it ran.
            job = await self.follower.look(job)
        if job.failure_code:
            raise failure_again(job)
        return Answer(job=job, outputs=outputs_of(job), quota=self._quotas.after(held.admitted, None, held.policy))

    def _settlement(self, held: Held, ended: ProviderJob) -> Settlement:
        wait_ms = held.job.elapsed_ms(self._clock.now())
        settlement = settlement_for(ended, held.job, self._model.tariff, wait_ms=wait_ms)
        if held.keeps_result and not settlement.failure:
            return msgspec.structs.replace(settlement, result=kept_result(ended))
        return settlement

    async def _answer(self, held: Held, ended: ProviderJob) -> Answer:
        async with self._settling.on_error(held.job):
            settlement = self._settlement(held, ended)
        done = await self._settling.settle(held.job, settlement)
        failure = failure_of(ended)
        if failure:
            raise failure
        quota = self._quotas.after(held.admitted, settlement, held.policy)
        return Answer(job=done, outputs=ended.outputs, quota=quota)

    async def _answer_again(self, joined: Joined) -> Answer:
        job = joined.job
        if job.state.final and job.result is None and job.result_url is None:
            raise failure_again(job)
        quota = await self._quotas.of(job.caller, joined.policy)
        return Answer(job=job, outputs=outputs_of(job), quota=quota, repeated=True, cached=joined.cached)

    async def _abandon(self, job: Job, seen: ProviderJob | None, *, began: bool, reason: str) -> Job:
        """Stop a job that nobody waits for any more, and settle it at what it used."""
        if seen is None and not self._ends_when_left:
            return await self._settling.settle(job, settlement_after(ProviderTimeoutError(), job), reason=reason)
        elapsed_ms = job.elapsed_ms(self._clock.now())
        last = seen or ProviderJob(provider_job_id=job.job_id, state=ProviderState.CANCELLED)
        if not last.state.final:
            last = await self._dispatcher.stop(job.job_id, last)
        settlement = settlement_when_stopped(
            last,
            job,
            self._model.tariff,
            began=began or seen is None,
            elapsed_ms=elapsed_ms,
            execution_ms_max=self._model.execution_ms_max,
            wait_ms=elapsed_ms,
        )
        return await self._settling.settle(job, settlement, reason=reason)

    @property
    def _ends_when_left(self) -> bool:
        return self._provider.capabilities.drops_when_left
