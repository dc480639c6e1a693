"""Finishes what nobody finished: holds past their expiry, and copies of the owner's good documents.

A hold is left behind when hop 1 dies between holding and settling. Whether the job ran is not known then, so it is
settled in full: the ledger may say too much, never too little. Of a job that runs without a call, its provider is
asked first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gate.domain.job import Job, JobState, Settlement
from gate.errors import GateError
from gate.log import EventLog
from gate.ports import Clock, Ledger
from gate.steps.policy import Policies

Visit = Callable[[Job], Awaitable[Job]]
"""Does what is due for a running job, and returns it: ended, or to be looked at again later."""

_LOST = "This request was lost on our side. Its outcome is not known."


class Sweeper:
    """Runs every few minutes, on any number of instances at once."""

    def __init__(
        self, *, ledger: Ledger, policies: Policies, clock: Clock, log: EventLog, visit: Visit | None = None
    ) -> None:
        """Make one. Without `visit`, running jobs are left to a sweeper that has it."""
        self._ledger = ledger
        self._visit = visit
        self._policies = policies
        self._clock = clock
        self._log = log

    async def sweep(self) -> int:
        """Do as `look_after`, and keep copies of the owner's good documents. Sweeping twice does it once.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        swept = await self.look_after()
        await self._keep_good_documents()
        return swept

    async def look_after(self) -> int:
        """Settle all holds whose expiry has passed, look at running jobs that are due, and return how many were lost.

        One that cannot be settled is left for the next run, and does not stop the others.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        swept = 0
        while jobs := await self._ledger.expired(now=self._clock.now()):
            ended = [done for job in jobs if (done := await self._settled(job))]
            swept += sum(done.state is JobState.EXPIRED for done in ended)
            if not ended:
                break
        return swept

    async def _settled(self, job: Job) -> Job | None:
        """Return a job as this sweep found or left it; None if nothing could be done about it."""
        try:
            done = await self._looked_after(job)
        except GateError as exc:
            self._log.error("job.not_swept", job_id=job.job_id, reason=str(exc))
            return None
        if done and done.state is JobState.EXPIRED:
            self._log.warning(
                "job.swept", job_id=done.job_id, caller=done.caller, settled_microdollars=done.settled_microdollars
            )
        return done

    async def _looked_after(self, job: Job) -> Job | None:
        if job.state is JobState.RUNNING:
            return await self._visit(job) if self._visit else None
        lost = Settlement.in_full(job, JobState.EXPIRED, _LOST)
        return await self._ledger.settle(job, lost, at=self._clock.now())

    async def _keep_good_documents(self) -> None:
        try:
            await self._policies.keep_good()
        except GateError as exc:
            self._log.warning("policy.not_kept", reason=str(exc))
