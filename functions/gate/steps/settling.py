"""Law 4: a job ends once, whoever ends it, and whatever happens meanwhile to the one who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

from gate.domain.job import Job, Settlement
from gate.errors import JobCancelledError, JobFailedError, KilledError, LedgerError, ProviderError
from gate.log import EventLog
from gate.ports import Clock, Ledger
from gate.steps.admission import Admission
from gate.steps.outcome import settlement_after

_TRIES = 3

_Result = TypeVar("_Result")


class Settling:
    """Settles and releases, tells the log, and lets go of what was remembered about the caller's limits."""

    def __init__(self, *, ledger: Ledger, admission: Admission, clock: Clock, log: EventLog) -> None:
        self._ledger = ledger
        self._admission = admission
        self._clock = clock
        self._log = log
        self._detached: set[asyncio.Future[Any]] = set()

    async def settle(self, job: Job, settlement: Settlement, *, reason: str = "") -> Job:
        """Settle, even if the caller goes away meanwhile, and return the job as it ended.

        It is tried a few times. If the ledger stays away, the answer is given and the hold is left to the sweeper.
        """
        at = self._clock.now()
        ending = asyncio.ensure_future(self._ledger.settle(job, settlement, at=at))
        try:
            done = await asyncio.shield(ending)
        except LedgerError:
            return await self.surely(self._see_through(ending, at, job, settlement, reason))
        except asyncio.CancelledError:
            self.detach(self._see_through(ending, at, job, settlement, reason))
            raise
        return self._noted(done, [at], reason)

    async def surely(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Await something that goes on to its end even if the one who awaits it is cancelled."""
        return await asyncio.shield(self.detach(work))

    def on_error(self, job: Job) -> OnError:
        """Settle or release a held job if what is done for it raises an error, and let the error pass."""
        return OnError(self, job)

    def detach(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Future[_Result]:
        """Let something end by itself. The loop forgets tasks that nobody holds on to."""
        task = asyncio.ensure_future(work)
        self._detached.add(task)
        task.add_done_callback(self._detached.discard)
        return task

    async def _see_through(
        self, ending: Awaitable[Job], at: datetime, job: Job, settlement: Settlement, reason: str
    ) -> Job:
        """Await a settlement that was begun at `at`, and try again where it fails."""
        tried_at = [at]
        while True:
            try:
                return self._noted(await ending, tried_at, reason)
            except LedgerError as exc:
                self._admission.freed(job)  # It may have been written, though nobody was told.
                if len(tried_at) == _TRIES:
                    self._log.error("job.not_settled", job_id=job.job_id, reason=str(exc))
                    return job
            tried_at.append(self._clock.now())
            ending = self._ledger.settle(job, settlement, at=tried_at[-1])

    def _noted(self, done: Job, tried_at: Sequence[datetime], reason: str) -> Job:
        self._admission.settled(done)
        if done.finished_at in tried_at:  # Else another has settled it, and told of it.
            self._log_settled(done, reason)
        return done

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


class OnError:
    """What `Settling.on_error` returns: a context, and no generator, because each request goes through two."""

    def __init__(self, settling: Settling, job: Job) -> None:
        self._settling = settling
        self._job = job

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, _: object, exc: BaseException | None, __: object) -> None:
        if isinstance(exc, ProviderError):
            await self._settling.settle(self._job, settlement_after(exc, self._job), reason=str(exc))
        elif isinstance(exc, KilledError | JobCancelledError):
            pass  # Whoever stops the job settles it, at what it used.
        elif isinstance(exc, Exception):
            # A bug of ours, after the job may have been sent: in doubt the hold is settled in full.
            lost = settlement_after(JobFailedError(), self._job)
            await self._settling.settle(self._job, lost, reason=type(exc).__name__)
