"""What goes back to a client, as JSON: answers, quotas and errors, each in one shape on every door."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from gate.domain.answer import Answer
from gate.domain.job import Job
from gate.domain.meter import Remaining
from gate.errors import GateError
from gate.jobs import outputs_of
from gate.provider import Part


def answer_json(answer: Answer) -> dict[str, Any]:
    """Return the result of `infer` and `submit`: the job, with what is left of each limit."""
    told = job_json(answer.job, outputs=answer.outputs)
    if answer.cached:
        told["usage"] = dict.fromkeys(told["usage"], 0)  # Whoever asked first has paid.
    return {**told, "quota": quota_json(answer.quota), "repeated": answer.repeated, "cached": answer.cached}


def job_json(job: Job, *, outputs: Any = None) -> dict[str, Any]:
    """Return a job as its caller is told of it.

    `state` says whether it goes on (`held`, `running`). Once it has ended there are `outputs`, or `result_url` where
    they can be fetched as JSON, or `error`.
    """
    told: dict[str, Any] = {"job_id": job.job_id, "state": job.state.value}
    if job.failure_code:
        told["error"] = {"status": _status(job.failure_code), "message": job.failure}
    elif job.result_url and job.result_url_expires_at:
        told |= {"result_url": job.result_url, "result_url_expires_at": job.result_url_expires_at.isoformat()}
    elif job.state.final or outputs is not None:
        # A job that the ledger could not settle at once is answered all the same.
        told["outputs"] = outputs_of(job) if outputs is None else outputs
    return {**told, "usage": _usage_json(job)}


def part_json(part: Part) -> dict[str, Any]:
    """Return what a stream tells of a job before its end: a piece of text, or how far it is."""
    if part.progress is None:
        return {"text": part.text}
    done, total = part.progress
    return {"progress": {"done": done, "total": total}}


def _usage_json(job: Job) -> dict[str, Any]:
    """Return what a job cost, and what for: useful seconds, a cold start, and a worker standing idle, each apart.

    They are null where nobody told them, and left out while the job runs. `gpu_seconds` is what the plan counts:
    useful seconds and the start.
    """
    if not job.state.final:
        return {"held_microdollars": job.held_microdollars}
    spent = job.spent
    gpu_ms = job.held_gpu_ms if spent is None else spent.execution_ms + spent.start_ms
    return {
        "held_microdollars": job.held_microdollars,
        "settled_microdollars": job.settled_microdollars,
        "gpu_seconds": gpu_ms / 1000,
        "useful_seconds": None if spent is None else spent.execution_ms / 1000,
        "start_seconds": None if spent is None else spent.start_ms / 1000,
        "idle_seconds": None if spent is None or spent.idle_ms is None else spent.idle_ms / 1000,
    }


def quota_json(quota: tuple[Remaining, ...]) -> dict[str, Any]:
    """Return what is left of each limit, by the limit's name."""
    return {
        row.name.value: {
            "limit": row.limit,
            "remaining": row.remaining,
            "resets_at": row.resets_at and _in_text(row.resets_at),
        }
        for row in quota
    }


_in_text = lru_cache(maxsize=256)(datetime.isoformat)
"""Most limits of most callers start anew at the same few times."""


def error_json(error: GateError) -> dict[str, Any]:
    """Return an error by the Firebase callable protocol: a canonical status, a message, and details."""
    return {
        "error": {"status": _status(error.code), "message": error.public_message, "details": error.details or None}
    }


def _status(code: str) -> str:
    """Return a code as the callable protocol spells it."""
    return code.upper().replace("-", "_")
