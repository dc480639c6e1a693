"""Finishes what nobody finished: holds past their expiry, and copies of the owner's good documents.

A hold is left behind when hop 1 dies between holding and settling. Whether the job ran is not known then, so it is
settled in full: the ledger may say too much, never too little.
"""

from __future__ import annotations

from gate.errors import GateError
from gate.job import JobState, Settlement
from gate.log import EventLog
from gate.policy import Policies
from gate.ports import Clock, Ledger

_LOST = "This request was lost on our side. Its outcome is not known."


class Sweeper:
    """Runs every few minutes, on any number of instances at once."""

    def __init__(self, *, ledger: Ledger, policies: Policies, clock: Clock, log: EventLog) -> None:
        self._ledger = ledger
        self._policies = policies
        self._clock = clock
        self._log = log

    async def sweep(self) -> int:
        """Settle all holds whose expiry has passed, and return how many there were. Sweeping twice does it once.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        swept = 0
        while jobs := await self._ledger.expired(now=self._clock.now()):
            for job in jobs:
                lost = Settlement.in_full(job, JobState.EXPIRED, _LOST)
                done = await self._ledger.settle(job, lost, at=self._clock.now())
                self._log.warning(
                    "job.swept",
                    job_id=done.job_id,
                    caller=done.caller,
                    settled_microdollars=done.settled_microdollars,
                )
            swept += len(jobs)
        await self._keep_good_documents()
        return swept

    async def _keep_good_documents(self) -> None:
        try:
            await self._policies.keep_good()
        except GateError as exc:
            self._log.warning("policy.not_kept", reason=str(exc))
