"""The gate, from a verified caller's request to a settled job.

    plan and limits ─► hold ─► dispatch ─┬─► settle    it ran: its caller pays what it took
                                         └─► release   it never ran: its caller pays nothing

Every way out after a hold goes through one settlement. A process that dies in between leaves a hold behind, which
expires and is swept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec

from gate.admission import Admission
from gate.dispatch import Dispatcher
from gate.entry import Entry, Held, Join, Joined
from gate.errors import JobFailedError, ProviderError, ProviderTimeoutError
from gate.job import Job, Settlement
from gate.joining import Joining
from gate.log import EventLog
from gate.meter import Remaining
from gate.model import ServedModel
from gate.outcome import (
    failure_again,
    failure_of,
    kept_result,
    settlement_after,
    settlement_for,
    settlement_when_stopped,
)
from gate.policy import Policies
from gate.ports import Caller, Clock, Ledger, Order, Part, Provider, ProviderJob, ProviderState
from gate.quotas import Quotas
from gate.request import InferRequest
from gate.settling import Settling
from gate.streaming import Streamer


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
        self._model = model
        self._clock = clock
        self._provider = provider
        admission = Admission(ledger=ledger, clock=clock)
        self._settling = Settling(ledger=ledger, admission=admission, clock=clock, log=log)
        self._entry = Entry(
            policies=policies, admission=admission, settling=self._settling, model=model, clock=clock, log=log
        )
        self._quotas = Quotas(ledger=ledger, clock=clock)
        self._dispatcher = Dispatcher(provider=provider, clock=clock, log=log)
        self._streamer = Streamer(provider=provider, dispatcher=self._dispatcher, clock=clock)
        self._joining = Joining(ledger=ledger, clock=clock)

    async def infer(self, caller: Caller, request: InferRequest, *, size_bytes: int = 0) -> Answer:
        """Run a verified caller's request on the model, and count it.

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
        async with self._settled_on_error(entered.job):
            ended = await self._dispatcher.run(self._order(entered.job, entered.body))
            settlement = self._settlement(entered, ended)
        return await self._answer(entered, ended, settlement)

    async def stream(
        self, caller: Caller, request: InferRequest, *, size_bytes: int = 0
    ) -> AsyncGenerator[Part | Answer, None]:
        """Do as `infer`, and yield what the job makes as it makes it, and at last the answer.

        A job that makes no parts, or was started by another request, yields its answer alone. To leave the iteration
        early, by `aclose` or by cancelling it, stops the job at the provider, and its caller pays what it used.

        Raises:
            GateError: as `infer`, at any point of the iteration.
        """
        entered = await self._entry.enter(caller, request, size_bytes=size_bytes, join=self._join_to_the_end())
        if isinstance(entered, Joined):
            yield await self._answer_again(entered)
            return
        order = self._order(entered.job, request.body(self._model.name, stream=True))
        seen: ProviderJob | None = None
        began = False
        try:
            async with self._settled_on_error(entered.job), aclosing(self._streamer.run(order)) as steps:
                async for step in steps:
                    if isinstance(step, Part):
                        began = True
                        yield step
                    else:
                        seen, began = step, began or step.state is not ProviderState.QUEUED
                assert seen is not None
                settlement = self._settlement(entered, seen)
        except (GeneratorExit, asyncio.CancelledError):
            await self._settling.surely(self._abandon(entered.job, seen, began=began))
            raise
        yield await self._answer(entered, seen, settlement)

    async def quota(self, caller: Caller) -> tuple[Remaining, ...]:
        """Return what is left of each limit of a verified caller, without counting as a use.

        Raises:
            GateError: the caller is refused, or the ledger cannot be read.
        """
        return await self._quotas.of(caller.uid, await self._policies.for_caller(caller))

    def _join_to_the_end(self) -> Join:
        """Return what waits for the end of a job that another request started."""
        deadline = self._clock.now() + timedelta(milliseconds=self._model.wait_ms_max)

        async def join(job: Job, payload_digest: str) -> Job:
            return await self._joining.end_of(job, payload_digest, deadline=deadline)

        return join

    def _order(self, job: Job, body: bytes) -> Order:
        return Order(
            job_id=job.job_id,
            body=body,
            execution_ms_max=self._model.execution_ms_max,
            expires_at=job.held_at + timedelta(milliseconds=self._model.wait_ms_max),
        )

    @asynccontextmanager
    async def _settled_on_error(self, job: Job) -> AsyncIterator[None]:
        try:
            yield
        except ProviderError as exc:
            await self._settling.settle(job, settlement_after(exc, job), reason=str(exc))
            raise
        except Exception as exc:
            # A bug of ours, after the job may have been sent: in doubt the hold is settled in full.
            in_full = settlement_after(JobFailedError(), job)
            await self._settling.settle(job, in_full, reason=type(exc).__name__)
            raise

    def _settlement(self, held: Held, ended: ProviderJob) -> Settlement:
        settlement = settlement_for(ended, held.job, self._model.tariff, wait_ms=self._elapsed_ms(held.job))
        if held.request.idempotency_key is not None and not settlement.failure:
            return replace(settlement, result=kept_result(ended))
        return settlement

    async def _answer(self, held: Held, ended: ProviderJob, settlement: Settlement) -> Answer:
        done = await self._settling.settle(held.job, settlement)
        failure = failure_of(ended)
        if failure:
            raise failure
        quota = self._quotas.after(held.admitted, settlement, held.policy)
        return Answer(job=done, outputs=ended.outputs, quota=quota)

    async def _answer_again(self, joined: Joined) -> Answer:
        job = joined.job
        if job.result is None:
            raise failure_again(job)
        quota = await self._quotas.of(job.caller, joined.policy)
        return Answer(job=job, outputs=msgspec.json.decode(job.result), quota=quota, repeated=True)

    async def _abandon(self, job: Job, seen: ProviderJob | None, *, began: bool) -> Job:
        """Stop a job whose caller went away, and settle it at what it used."""
        reason = "the caller went away"
        if seen is None and not self._provider.capabilities.drops_when_left:
            return await self._settling.settle(job, settlement_after(ProviderTimeoutError(), job), reason=reason)
        elapsed_ms = self._elapsed_ms(job)
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

    def _elapsed_ms(self, job: Job) -> int:
        return max(0, (self._clock.now() - job.held_at) // timedelta(milliseconds=1))
