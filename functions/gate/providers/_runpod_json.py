"""What RunPod's job API says, in the gate's words."""

from __future__ import annotations

import math
from typing import Any

from gate.errors import ProviderTimeoutError
from gate.provider import ProviderHealth, ProviderJob, ProviderState, ProviderUsage
from gate.providers._results import ended, failed, read_result, told

_STATES = {
    "IN_QUEUE": ProviderState.QUEUED,
    "IN_PROGRESS": ProviderState.RUNNING,
    "RUNNING": ProviderState.RUNNING,
    "COMPLETED": ProviderState.COMPLETED,
    "FAILED": ProviderState.FAILED,
    "TIMED_OUT": ProviderState.FAILED,
    "CANCELLED": ProviderState.CANCELLED,
}


def job_of(fields: Any) -> ProviderJob:
    """Read a job.

    Raises:
        ProviderTimeoutError: it is none; what became of the job is not known.
    """
    if not isinstance(fields, dict) or not isinstance(fields.get("id"), str) or not fields["id"]:
        raise ProviderTimeoutError("runpod: the answer is no job")
    state = _state_of(fields)
    if not state.final:
        return ProviderJob(
            provider_job_id=fields["id"],
            state=state,
            tried_again=_count(fields, "retries") > 0,
            delay_ms=_milliseconds(fields.get("delayTime")) if state is ProviderState.RUNNING else None,
        )
    return _final_job(fields["id"], state, fields)


def stream_of(fields: Any) -> tuple[str, ProviderState]:
    """Read what a job has written since it was last asked for, and how it stands.

    The last part of a handler of RunPod's own package is the result, which is asked for by itself.
    """
    if isinstance(fields, list):
        fields = {"stream": fields}
    if not isinstance(fields, dict):
        return "", ProviderState.RUNNING
    parts = fields.get("stream")
    outputs = [part.get("output") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return "".join(output for output in outputs if isinstance(output, str)), _state_of(fields)


def _state_of(fields: dict[str, Any]) -> ProviderState:
    """Read a state. One of tomorrow is taken for running: it is asked for again, and cancelled when time is up."""
    status = fields.get("status")
    return _STATES.get(status, ProviderState.RUNNING) if isinstance(status, str) else ProviderState.RUNNING


def _final_job(job_id: str, state: ProviderState, fields: dict[str, Any]) -> ProviderJob:
    usage = _usage(fields)
    if state is ProviderState.COMPLETED:
        return _completed_job(job_id, fields.get("output"), usage)
    if fields.get("status") == "TIMED_OUT":
        return failed(job_id, usage, code="deadline-exceeded", message="The model took longer than it may.")
    # What RunPod puts into `error` is often a traceback; it stays in RunPod's own log.
    return ProviderJob(provider_job_id=job_id, state=state, usage=usage)


def _usage(fields: dict[str, Any]) -> ProviderUsage | None:
    """Read what a job took. What one took that was tried more than once, RunPod does not say: it pays its hold.

    Source of `retries`: RunPod's own Go SDK, pkg/sdk/endpoint/types.go; the documentation does not show it.
    """
    execution_ms = _milliseconds(fields.get("executionTime"))
    if execution_ms is None or fields.get("retries"):
        return None
    return ProviderUsage(execution_ms=execution_ms, delay_ms=_milliseconds(fields.get("delayTime")) or 0)


def _completed_job(job_id: str, output: Any, usage: ProviderUsage | None) -> ProviderJob:
    """Read the output: Twohop's worker wraps its result, another's handler may answer anything."""
    if isinstance(output, list) and output and isinstance(output[-1], dict) and set(output[-1]) == {"result"}:
        output = output[-1]  # A stream's parts come first; the result has all of them.
    twohop = isinstance(output, dict) and set(output) == {"result"}
    result = read_result(output["result"] if twohop else {"outputs": output})
    if usage and result.usage:
        usage = told(result.usage, execution_ms=usage.execution_ms, delay_ms=usage.delay_ms)
    return ended(job_id, result, usage)


def health_of(fields: Any) -> ProviderHealth:
    """Read an endpoint's health. Counts that are missing are none."""
    fields = fields if isinstance(fields, dict) else {}
    workers, jobs = fields.get("workers"), fields.get("jobs")
    running = _count(workers, "running") + _count(workers, "idle")
    # An endpoint that answers takes jobs, with no worker too: that is what scaling to zero means.
    return ProviderHealth(
        ready=True,
        workers_running=running,
        jobs_queued=_count(jobs, "inQueue"),
        jobs_retried=_count(jobs, "retried"),
    )


def _count(fields: Any, name: str) -> int:
    value = fields.get(name) if isinstance(fields, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


def _milliseconds(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return math.ceil(value)
