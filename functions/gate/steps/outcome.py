"""How a job's end at its provider becomes money in the ledger, and an error for its caller if it failed. Pure.

When in doubt the caller pays the hold, because the owner may have to: only what is known not to have run is free.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from gate.domain.job import RESULT_BYTES_MAX, Job, JobState, Settlement
from gate.errors import (
    ConflictError,
    GateError,
    InvalidRequestError,
    JobCancelledError,
    JobFailedError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from gate.money import MS_PER_LOOK, OF_A_HANDOVER, OF_A_TOKEN, Operations, Spent, Tariff, of_a_wait
from gate.provider import ProviderJob, ProviderState, ProviderUsage

_USAGE_PER_HOLD_MAX = 10
_PLAIN = Operations()
_LATE_MS = 15_000
"""How late a provider may stop a job, and how long handing it over may take."""
_TRIED_TOO_LONG = "The model did not get to an end with this input: its worker died, or did not stop in time."


def settlement_for(ended: ProviderJob, job: Job, tariff: Tariff, *, wait_ms: int) -> Settlement:
    """Return what a job pays that reached a final state at its provider. One that tells no usage pays its hold."""
    microdollars, gpu_ms, spent = job.held_microdollars, job.held_gpu_ms, None
    if ended.usage is not None and _believable(ended.usage, job):
        spent = _spent(ended.usage, tariff, wait_ms=wait_ms, does=_operations(job, wait_ms))
        microdollars, gpu_ms = tariff.microdollars(spent), spent.execution_ms + spent.start_ms
    failure = failure_of(ended)
    return Settlement(
        state=JobState.SETTLED,
        microdollars=microdollars,
        gpu_ms=gpu_ms,
        spent=spent,
        failure_code=failure.code if failure else None,
        failure=failure.public_message if failure else None,
    )


def _spent(usage: ProviderUsage, tariff: Tariff, *, wait_ms: int, does: Operations) -> Spent:
    """Return what a job pays for: its part of its worker's life; where that is untold, all that it may have cost."""
    life, pull_ms = usage.life, tariff.billed_pull_ms
    told_ms = usage.start_ms and usage.start_ms + pull_ms
    if life is None:
        # Whether the job waited for a start or in a queue is not known; it pays as if for a start.
        start_ms = told_ms or min(usage.delay_ms, tariff.start_ms_max + pull_ms)
        return Spent(
            execution_ms=usage.execution_ms,
            start_ms=start_ms,
            wait_ms=wait_ms,
            operations=does,
            tokens=usage.tokens,
        )
    # A gap above the idle timeout is a worker that the owner keeps running, which no caller causes.
    gap_ms = min(life.gap_ms, tariff.idle_ms)
    tail_ms = tariff.idle_ms if tariff.gpu.bills_idle else 0
    return Spent(
        execution_ms=life.share_ms,
        start_ms=told_ms,
        idle_ms=gap_ms + (tail_ms if usage.start_ms else 0),
        before_ms=life.before_ms + (0 if usage.start_ms else pull_ms + tail_ms),
        wait_ms=wait_ms,
        operations=does,
        tokens=usage.tokens,
    )


def _operations(job: Job, wait_ms: int) -> Operations:
    """Return what hop 1 does for a job from its hold to its settlement."""
    does = _PLAIN if wait_ms < MS_PER_LOOK else _PLAIN + of_a_wait(wait_ms)
    if job.token_id:
        does += OF_A_TOKEN
    return does + OF_A_HANDOVER if job.provider_job_id else does


def _believable(usage: ProviderUsage, job: Job) -> bool:
    """Refuse a time that no job of these limits can have taken; such a job pays its hold."""
    share_ms = usage.life.share_ms if usage.life else 0
    return max(usage.execution_ms, share_ms) + usage.start_ms <= _USAGE_PER_HOLD_MAX * max(job.held_gpu_ms, 1)


def settlement_after(error: ProviderError, job: Job) -> Settlement:
    """Return what a job pays whose provider gave an error instead of an end."""
    if error.billed:
        return Settlement.in_full(job, JobState.SETTLED, error.public_message, code=error.code)
    return Settlement.release(error.public_message, code=error.code)


def settlement_when_stopped(
    last: ProviderJob, job: Job, tariff: Tariff, *, began: bool, elapsed_ms: int, execution_ms_max: int, wait_ms: int
) -> Settlement:
    """Return what a job pays that its caller stopped.

    Where the provider does not say what it took, that is at most the time since it was handed over. One that was
    still in the queue did not execute; it may have caused the start of a worker, unless it is of low priority. One
    that could not be stopped pays its hold.
    """
    if last.state is ProviderState.COMPLETED:
        return settlement_for(last, job, tariff, wait_ms=wait_ms)
    if job.low_priority and not began and last.state is ProviderState.CANCELLED and last.usage is None:
        settlement = _settlement_untaken(job, tariff, wait_ms=wait_ms)
    else:
        if last.state.final and last.usage is None:
            execution_ms = min(elapsed_ms, execution_ms_max) if began else 0
            start_ms = min(elapsed_ms - execution_ms, tariff.start_ms_max)
            last = replace(last, usage=ProviderUsage(execution_ms=execution_ms, start_ms=start_ms))
        settlement = settlement_for(last, job, tariff, wait_ms=wait_ms)
    return msgspec.structs.replace(
        settlement, failure_code=JobCancelledError.code, failure=JobCancelledError.default_message
    )


def _settlement_untaken(job: Job, tariff: Tariff, *, wait_ms: int) -> Settlement:
    """Return what a job pays for which no worker was started and that none took: hop 1's part."""
    spent = Spent(execution_ms=0, idle_ms=0, wait_ms=wait_ms, operations=_operations(job, wait_ms))
    return Settlement(state=JobState.SETTLED, microdollars=tariff.microdollars(spent), gpu_ms=0, spent=spent)


def is_beyond_hold(seen: ProviderJob, job: Job, *, elapsed_ms: int, execution_ms_max: int) -> bool:
    """Return whether a job that has not ended takes more at its provider than its hold covers.

    Several tries together do, once more time has passed than is held for one; and so does one try that its provider
    lets run beyond the execution timeout.

    Args:
        seen: as its provider tells it.
        job: as the ledger has it.
        elapsed_ms: since it was held.
        execution_ms_max: the timeout that hop 1 set.
    """
    if seen.state.final:
        return False
    if seen.tried_again:
        return elapsed_ms > job.held_gpu_ms
    return seen.delay_ms is not None and elapsed_ms - seen.delay_ms > execution_ms_max + _LATE_MS


def settlement_beyond_hold(job: Job) -> Settlement:
    """Return what a job pays that was stopped for that: its hold.

    What it took beyond it nobody tells but the bill, from which it is counted as overhead (ADR 0013).
    """
    return Settlement.in_full(job, JobState.SETTLED, _TRIED_TOO_LONG, code=JobFailedError.code)


def failure_of(ended: ProviderJob) -> GateError | None:
    """Return the error that tells a caller how their job failed; None if it did not."""
    match ended.state:
        case ProviderState.COMPLETED:
            return None
        case ProviderState.EXPIRED | ProviderState.CANCELLED:
            return ProviderTimeoutError(f"the provider says {ended.state.value}")
        case _ if ended.failure_code == InvalidRequestError.code:
            return InvalidRequestError(ended.failure_message or InvalidRequestError.default_message)
        case _ if ended.failure_code == ProviderUnavailableError.code:
            return ProviderUnavailableError("the worker could not take the job")
        case _ if ended.failure_code == JobFailedError.code:
            return JobFailedError("the worker failed", public_message=ended.failure_message)
        case _:
            return JobFailedError(f"the worker says {ended.failure_code}")


def failure_again(job: Job) -> GateError:
    """Return the error that a repeated request gets for a job that ended without an answer."""
    if job.failure_code == InvalidRequestError.code and job.failure:
        return InvalidRequestError(job.failure)
    reason = f"job {job.job_id} ended as {job.state.value}"
    if job.failure_code == JobCancelledError.code:
        return JobCancelledError(reason, public_message=job.failure)
    if job.failure_code == ProviderTimeoutError.code:
        return ProviderTimeoutError(reason, public_message=job.failure)
    if job.failure_code == ProviderUnavailableError.code:
        return ProviderUnavailableError(
            reason, public_message="The model could not be reached for this request. Use a new key to try again."
        )
    if job.state is JobState.SETTLED and job.failure is None:
        return ConflictError(
            f"the result of {job.job_id} was not kept",
            public_message="This request was answered before, and its answer was too large to keep. Use a new key.",
        )
    return JobFailedError(reason, public_message=job.failure)


def kept_result(ended: ProviderJob) -> str | None:
    """Return the outputs as the JSON to keep with the job; None if they are too large for a document."""
    result = msgspec.json.encode(ended.outputs)
    return result.decode() if len(result) <= RESULT_BYTES_MAX else None
