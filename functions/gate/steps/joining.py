"""Joining: a request whose job another one started waits for that job's end instead of starting it again.

Joining counts nothing, so it is bounded otherwise: by the time of one wait, and by how many of one caller's requests
may wait in this process.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime

from gate.domain.job import Job, JobState
from gate.errors import ConflictError, ProviderUnavailableError
from gate.ports import Clock, Ledger
from gate.steps.outcome import failure_again

_JOINERS_MAX = 64
_PAUSE_SECONDS_FIRST = 0.25
_PAUSE_SECONDS_MAX = 2.0


class Joining:
    """Waits for the ends of jobs that run elsewhere."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._waiting: Counter[str] = Counter()
        self._looks: dict[str, asyncio.Task[Job | None]] = {}

    async def end_of(self, job: Job, payload_digest: str, *, deadline: datetime) -> Job:
        """Return a job as it ended, waiting for that until the deadline; one that goes on, as it stands then.

        Raises:
            ConflictError: it was made of another payload.
            ProviderUnavailableError: it is there no more, or was released too late, or too many wait already.
        """
        check_same(job, payload_digest)
        if self._waiting[job.caller] >= _JOINERS_MAX:
            raise _still_running("too many requests of one caller join a job")
        self._waiting[job.caller] += 1
        try:
            return await self._ended(job, deadline)
        finally:
            self._waiting[job.caller] -= 1
            self._waiting += Counter()  # Forgets who is down to zero.

    async def _ended(self, job: Job, deadline: datetime) -> Job:
        pause = _PAUSE_SECONDS_FIRST
        while not job.state.final:
            there = await asyncio.shield(self._look(job.job_id, pause))
            pause = min(2 * pause, _PAUSE_SECONDS_MAX)
            if there is None:
                raise _still_running("joined a job whose hold was denied")
            job = there
            if self._clock.now() >= deadline and not job.state.final:
                return job
        if job.state is JobState.RELEASED and self._clock.now() >= deadline:
            raise failure_again(job)  # There is no time left for another try.
        return job

    def _look(self, job_id: str, pause_seconds: float) -> asyncio.Task[Job | None]:
        """Return the next look at a job, which all who wait for it share: fifty retries read no more than one."""
        if job_id not in self._looks:
            self._looks[job_id] = asyncio.create_task(self._looked_at(job_id, pause_seconds))
        return self._looks[job_id]

    async def _looked_at(self, job_id: str, pause_seconds: float) -> Job | None:
        try:
            await asyncio.sleep(pause_seconds)
            return await self._ledger.job(job_id)
        finally:
            del self._looks[job_id]


def check_same(job: Job, payload_digest: str) -> None:
    """Refuse a request whose idempotency key names a job that was made of another payload.

    Raises:
        ConflictError: it does.
    """
    if job.payload_digest != payload_digest:
        raise ConflictError(f"job {job.job_id} was made of another payload")


def _still_running(reason: str) -> ProviderUnavailableError:
    return ProviderUnavailableError(
        reason,
        public_message="This request is still running. Ask again with the same idempotency key.",
        retry_after_seconds=5,
    )
