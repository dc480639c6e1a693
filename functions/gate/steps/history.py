"""All jobs of a span of time, read from the ledger a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from gate.domain.job import Job
from gate.ports import Ledger

_PAGE = 1_000
_NEXT_MOMENT = timedelta(microseconds=1)


async def jobs_between(ledger: Ledger, *, since: datetime, until: datetime) -> AsyncIterator[Job]:
    """Yield each job once that was held from `since` on and before `until`, the newest first.

    Raises:
        LedgerError: it cannot be read.
    """
    last, seen_there = until, set[str]()
    while page := await ledger.jobs(since=since, until=last, limit=_PAGE):
        for job in page:
            if job.job_id not in seen_there:
                yield job
        oldest = page[-1].held_at
        if len(page) < _PAGE or oldest + _NEXT_MOMENT >= last:
            return
        # The next page begins in the moment in which this one ended, or jobs that share it would be lost.
        last = oldest + _NEXT_MOMENT
        seen_there = {job.job_id for job in page if job.held_at == oldest}
