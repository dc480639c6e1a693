"""All jobs that run without a call, for those who have something to do with each of them at once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from gate.domain.job import Job, JobState
from gate.errors import GateError
from gate.guard.sweeper import Visit
from gate.log import EventLog
from gate.ports import Ledger

_JOBS_FIRST = 500
_AT_ONCE = 20
_LONGEST = timedelta(days=30)
"""No job is looked after for longer."""


async def visit_all(ledger: Ledger, visit: Visit, *, now: datetime, log: EventLog, failed: str) -> None:
    """Visit each running job. One that cannot be visited is a line in the log, named `failed`.

    Raises:
        LedgerError: nobody knows which there are.
    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def visited(job: Job) -> None:
        async with turns:
            try:
                await visit(job)
            except GateError as exc:
                log.warning(failed, job_id=job.job_id, reason=str(exc))

    await asyncio.gather(*(visited(job) for job in await _running(ledger, now)))


async def _running(ledger: Ledger, now: datetime) -> list[Job]:
    limit = _JOBS_FIRST
    while len(found := await ledger.expired(now=now + _LONGEST, limit=limit)) == limit:
        limit *= 2
    return [job for job in found if job.state is JobState.RUNNING]
