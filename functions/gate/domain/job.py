"""A job: one request that costs GPU time, from its hold to its settlement.

    held ─┬─► running ─┬─► settled     it ended, and its caller pays what it took
          │            └─► expired     nobody knows how it ended, so its caller pays the hold
          ├─► settled, expired         as well: most jobs end within the call that started them
          └─► released                 it never ran, and its caller pays nothing

A job is running, to the ledger, when it is at its provider and no call is held open for it.
Nothing leaves a final state, which is what makes settling and releasing idempotent.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from gate.money import Spent

RESULT_BYTES_MAX = 900_000
"""A Firestore document holds 1 MiB with everything in it, so a longer result is not kept."""


class JobState(StrEnum):
    """Where a job stands."""

    HELD = "held"
    RUNNING = "running"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """True if nothing changes this job any more."""
        return self not in (JobState.HELD, JobState.RUNNING)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job, as the ledger keeps it. All that `meter` needs to undo its hold is in it."""

    job_id: str
    caller: str
    cohort: str
    model: str
    payload_digest: str
    """SHA-256 of what was asked; the same idempotency key with another one is a conflict."""
    attempt: str
    """Random; tells this very hold from another with the same job id when an answer got lost on the way."""
    held_microdollars: int
    held_gpu_ms: int
    emission_us: int
    """What the hold moved the caller's rate limit by, in microseconds."""
    shard: int
    """Which shard of the global budget carries it."""
    token_id: str | None = None
    """The API token that its caller showed."""
    low_priority: bool = False
    """The kill level allowed no new worker when it was held, so it cannot have caused a start."""
    held_at: datetime
    expires_at: datetime
    """From then on the sweeper looks after it: a held job is settled in full, a running one is asked for."""
    state: JobState = JobState.HELD
    settled_microdollars: int | None = None
    spent: Spent | None = None
    result: str | None = None
    """The answer's outputs as JSON, kept only for a job that can be asked for again."""
    result_url: str | None = None
    """Where the outputs are, as JSON, if they are too large for a document."""
    result_url_expires_at: datetime | None = None
    failure_code: str | None = None
    failure: str | None = None
    """The public message of what went wrong, and the code that went with it."""
    finished_at: datetime | None = None
    provider_job_id: str | None = None
    """What its provider calls it, known to the ledger once no call is held open for it."""
    due_at: datetime | None = None
    """When its provider drops it, if it has not ended by then."""
    awaited_ms: int = 0
    """How long hop 1 held a call open for it before it became a running job."""
    cancel_asked_at: datetime | None = None
    """When its caller asked the call that waits for it to stop it."""
    version: str = ""
    """The ledger's own mark of this state of the job; opaque, and empty before the hold."""

    def settled(self, settlement: Settlement, *, at: datetime) -> Job:
        """Return this job as it is after a settlement."""
        return msgspec.structs.replace(
            self,
            state=settlement.state,
            settled_microdollars=settlement.microdollars,
            spent=settlement.spent,
            result=settlement.result,
            result_url=settlement.result_url,
            result_url_expires_at=settlement.result_url_expires_at,
            failure_code=settlement.failure_code,
            failure=settlement.failure,
            finished_at=at,
        )

    def elapsed_ms(self, now: datetime) -> int:
        """Return how long ago it was held."""
        return max(0, (now - self.held_at) // timedelta(milliseconds=1))

    def handed_over(self, handover: HandOver) -> Job:
        """Return this job as it is once it runs at its provider and no call is held open for it."""
        return msgspec.structs.replace(
            self,
            state=JobState.RUNNING,
            provider_job_id=handover.provider_job_id,
            due_at=handover.due_at,
            expires_at=handover.look_at,
            awaited_ms=handover.awaited_ms,
        )


class HandOver(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job runs that no call is held open for, and when to look after it."""

    provider_job_id: str
    due_at: datetime
    look_at: datetime
    """When the sweeper asks for it, should nobody have told of its end by then."""
    awaited_ms: int


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ends: the final state, and what its caller pays."""

    state: JobState
    microdollars: int
    gpu_ms: int
    spent: Spent | None = None
    result: str | None = None
    result_url: str | None = None
    result_url_expires_at: datetime | None = None
    failure_code: str | None = None
    failure: str | None = None

    @classmethod
    def release(cls, failure: str, *, code: str = "unavailable") -> Settlement:
        """The job never ran: everything that was held goes back."""
        return cls(state=JobState.RELEASED, microdollars=0, gpu_ms=0, failure_code=code, failure=failure)

    @classmethod
    def in_full(cls, job: Job, state: JobState, failure: str, *, code: str = "deadline-exceeded") -> Settlement:
        """Nobody knows what it took, so it pays the worst case that was held for it."""
        return cls(
            state=state,
            microdollars=job.held_microdollars,
            gpu_ms=job.held_gpu_ms,
            failure_code=code,
            failure=failure,
        )


def job_id_for(caller: str, idempotency_key: str) -> str:
    """Return the job id that a caller's idempotency key always gives; another caller's same key gives another."""
    name = f"{len(caller)}:{caller}:{idempotency_key}"
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
