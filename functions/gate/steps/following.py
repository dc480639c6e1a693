"""Jobs that outlive their call: noted where they run, looked after, and settled by what their provider says of them.

    held ─► handed over ─┬─► its webhook comes ──────┐
                         ├─► its caller cancels it ──┼─► ask the provider ─► settle
                         └─► the sweeper looks ──────┘

However many come at once, the ledger settles once.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from gate.domain.job import HandOver, Job, JobState, Settlement
from gate.domain.model import ServedModel
from gate.errors import LedgerError, ProviderError, ProviderUnavailableError, ResultStoreError
from gate.log import EventLog
from gate.ports import Clock, Ledger
from gate.provider import Provider, ProviderJob, ProviderState
from gate.steps.outcome import is_beyond_hold, settlement_beyond_hold, settlement_for, settlement_when_stopped
from gate.steps.results import Results
from gate.steps.settling import Settling

_LOOK_EVERY_MOST = timedelta(minutes=10)
"""RunPod keeps a submitted job's result for half an hour: a webhook that got lost is made up for in time."""
_LOOK_AGAIN = timedelta(minutes=1)
"""When a provider could not be asked, or was not seen to have stopped a job."""
_OVERDUE_MAX = timedelta(minutes=30)
"""How long a provider that cannot be asked is asked again, once its job is due."""
_WEBHOOK_MS = 1_000
"""What hop 1's second invocation is counted as: ten times the shortest that Google bills."""
_NOTE_TRIES = 3
_STOPPED_PAUSES_SECONDS = (0.2, 0.5, 1.0)
_NOT_KEPT = "The model answered, and its answer is too large to be kept."
_LOST = "This request was lost on our side. Its outcome is not known."


class Follower:
    """Looks after jobs that no call is held open for."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        provider: Provider,
        settling: Settling,
        results: Results,
        model: ServedModel,
        clock: Clock,
        log: EventLog,
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self._settling = settling
        self._results = results
        self._model = model
        self._clock = clock
        self._log = log

    async def note(self, job: Job, seen: ProviderJob, *, due_at: datetime, awaited_ms: int) -> Job:
        """Note where a held job runs, and return it. One that its provider has ended meanwhile is settled.

        Raises:
            LedgerError: it cannot be noted. It is cancelled then, and settled in full by the sweeper.
        """
        now = self._clock.now()
        handover = HandOver(
            provider_job_id=seen.provider_job_id,
            due_at=due_at,
            look_at=min(now + self._longest_run, due_at),
            awaited_ms=awaited_ms,
        )
        for tries_left in reversed(range(_NOTE_TRIES)):
            try:
                noted = await self._ledger.hand_over(job, handover)
            except LedgerError:
                if not tries_left:
                    with suppress(ProviderError):
                        await self._provider.cancel(seen.provider_job_id)
                    raise
            else:
                self._log.info("job.running", job_id=job.job_id, caller=job.caller)
                return await self._stopped_if_asked(noted)
        raise AssertionError("a loop of tries ends in one of them")

    async def _stopped_if_asked(self, job: Job) -> Job:
        if job.cancel_asked_at and not job.state.final:
            with suppress(ProviderError):
                return await self.stop(job)
        return job

    async def look(self, job: Job) -> Job:
        """Ask how a running job stands, and settle it if it has ended. One that takes more than is held is stopped.

        Raises:
            ProviderError: its provider cannot be asked right now.
            ResultStoreError: it has ended, and its answer cannot be kept right now.
        """
        seen = await self._provider.status(_id_of(job))
        if seen.state.final:
            return await self.end(job, seen)
        longest_ms = self._model.execution_ms_max
        if is_beyond_hold(seen, job, elapsed_ms=job.elapsed_ms(self._clock.now()), execution_ms_max=longest_ms):
            return await self._stop_beyond_hold(job)
        return job

    async def stop(self, job: Job) -> Job:
        """Stop a running job, and settle it at what it used.

        Raises:
            ProviderError: its provider cannot be reached, or has not confirmed yet that it stopped.
        """
        before = await self._provider.status(_id_of(job))
        if before.state.final:
            return await self.end(job, before)
        await self._provider.cancel(_id_of(job))
        last = await self._stopped(job)
        return await self.end(job, last, began=before.state is not ProviderState.QUEUED)

    async def _stop_beyond_hold(self, job: Job) -> Job:
        self._log.error("job.beyond_hold", job_id=job.job_id, caller=job.caller, provider_job_id=job.provider_job_id)
        await self._provider.cancel(_id_of(job))
        last = await self._stopped(job)
        if last.state is ProviderState.COMPLETED:
            return await self.end(job, last)
        return await self._settling.settle(job, settlement_beyond_hold(job))

    async def visit(self, job: Job) -> Job:
        """Do for a running job what is due: settle it if it has ended, stop it if its time is over, else look again.

        Raises:
            LedgerError: what was found cannot be noted.
        """
        now = self._clock.now()
        overdue, look_at = now - (job.due_at or now), self._next_look(job, now)
        try:
            unwanted = overdue >= timedelta(0) or job.cancel_asked_at
            done = await (self.stop(job) if unwanted else self.look(job))
            if done.state.final:
                return done
        except (ProviderError, ResultStoreError) as exc:
            self._log.warning("job.not_asked_for", job_id=job.job_id, reason=str(exc))
            look_at = now + _LOOK_AGAIN
            if overdue > _OVERDUE_MAX:
                lost = Settlement.in_full(job, JobState.EXPIRED, _LOST)
                return await self._ledger.settle(job, lost, at=now)
        return await self._ledger.hand_over(job, replace(_handover(job), look_at=look_at))

    def _next_look(self, job: Job, now: datetime) -> datetime:
        """Look at a job that takes long less and less often, and in time at one whose time is over."""
        pause = max(self._longest_run, min(now - job.held_at, _LOOK_EVERY_MOST))
        return max(now + _LOOK_AGAIN, min(now + pause, job.due_at or now + pause))

    @property
    def _longest_run(self) -> timedelta:
        """A start and an execution: a job that has to wait for neither queue nor retry has ended by then."""
        return timedelta(milliseconds=self._model.worst_case_gpu_ms)

    async def _stopped(self, job: Job) -> ProviderJob:
        for pause in _STOPPED_PAUSES_SECONDS:
            last = await self._provider.status(_id_of(job))
            if last.state.final:
                return last
            await asyncio.sleep(pause)
        raise still_stopping(job)

    async def end(self, job: Job, seen: ProviderJob, *, began: bool = True) -> Job:
        """Settle a job that has ended at its provider, and keep its answer.

        Raises:
            ResultStoreError: its answer cannot be kept right now. Once the job is due, it is settled without.
        """
        settlement = self._settlement(job, seen, began=began)
        if seen.state is ProviderState.COMPLETED:
            settlement = await self._with_result(settlement, job, seen.outputs)
        return await self._settling.settle(job, settlement)

    async def _with_result(self, settlement: Settlement, job: Job, outputs: Any) -> Settlement:
        try:
            kept = await self._results.keep(job.job_id, outputs)
        except ResultStoreError as exc:
            if job.due_at and self._clock.now() < job.due_at and self._results.has_store:
                raise
            self._log.error("job.result_not_kept", job_id=job.job_id, reason=str(exc))
            return msgspec.structs.replace(settlement, failure_code="internal", failure=_NOT_KEPT)
        return msgspec.structs.replace(
            settlement, result=kept.result, result_url=kept.url, result_url_expires_at=kept.expires_at
        )

    def _settlement(self, job: Job, seen: ProviderJob, *, began: bool) -> Settlement:
        tariff, wait_ms = self._model.tariff, job.awaited_ms + _WEBHOOK_MS
        if seen.state is not ProviderState.CANCELLED:
            return settlement_for(seen, job, tariff, wait_ms=wait_ms)
        return settlement_when_stopped(
            seen,
            job,
            tariff,
            began=began,
            elapsed_ms=job.elapsed_ms(self._clock.now()),
            execution_ms_max=self._model.execution_ms_max,
            wait_ms=wait_ms,
        )


def still_stopping(job: Job) -> ProviderUnavailableError:
    """Return what whoever cancels a job is told that does not end at once."""
    return ProviderUnavailableError(
        f"job {job.job_id} is not seen to have stopped",
        public_message="The job is being stopped. Ask again in a moment.",
        retry_after_seconds=5,
    )


def _id_of(job: Job) -> str:
    assert job.provider_job_id is not None, "a running job is known by its provider's name for it"
    return job.provider_job_id


def _handover(job: Job) -> HandOver:
    return HandOver(
        provider_job_id=_id_of(job),
        due_at=job.due_at or job.expires_at,
        look_at=job.expires_at,
        awaited_ms=job.awaited_ms,
    )
