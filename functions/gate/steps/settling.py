"""Law 4: a job ends once, whoever ends it, and whatever happens meanwhile to the one who asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gate.domain.job import Job, Settlement
from gate.errors import JobFailedError, KilledError, LedgerError, ProviderError
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
        return await self.surely(self._settle(job, settlement, reason))

    async def surely(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Await something that goes on to its end even if the one who awaits it is cancelled."""
        return await asyncio.shield(self.detach(work))

    @asynccontextmanager
    async def on_error(self, job: Job) -> AsyncIterator[None]:
        """Settle or release a held job if what is done for it raises an error, and let the error pass."""
        try:
            yield
        except ProviderError as exc:
            await self.settle(job, settlement_after(exc, job), reason=str(exc))
            raise
        except KilledError:
            raise  # Whoever stops the job settles it, at what it used.
        except Exception as exc:
            # A bug of ours, after the job may have been sent: in doubt the hold is settled in full.
            await self.settle(job, settlement_after(JobFailedError(), job), reason=type(exc).__name__)
            raise

    def detach(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Future[_Result]:
        """Let something end by itself. The loop forgets tasks that nobody holds on to."""
        task = asyncio.ensure_future(work)
        self._detached.add(task)
        task.add_done_callback(self._detached.discard)
        return task

    async def _settle(self, job: Job, settlement: Settlement, reason: str) -> Job:
        for tries_left in reversed(range(_TRIES)):
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
