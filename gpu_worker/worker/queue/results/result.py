"""A job's result as the queue takes it: always something that can be sent, for a handler's mistakes too.

What cannot be sent would leave the job without an answer until its time is over, and nobody would know why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from worker.encoding import plain

_FAILED = "the worker failed on this job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What is posted, byte for byte, however often."""

    body: bytes
    failed: bool
    """Whether the queue will call the job FAILED."""


def encode(output: Any, *, bytes_max: int) -> Result:
    """Return what is posted for a handler's answer; `error` and `refresh_worker` mean what they mean to the SDK.

    An answer that JSON cannot carry, or that is larger than the queue takes, becomes an error that says so.
    """
    fields = _fields(output)
    try:
        body = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=plain).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        return failure(f"the result cannot be sent as JSON: {_short(exc)}")
    if len(body) > bytes_max:
        return failure(f"the result has {len(body)} bytes, and the queue takes {bytes_max}; ask for less at once")
    return Result(body=body, failed="error" in fields)


def failure(message: str = _FAILED) -> Result:
    """Return what is posted for a job that has no answer."""
    return Result(body=json.dumps({"error": message}).encode(), failed=True)


def _fields(output: Any) -> dict[str, Any]:
    if not isinstance(output, dict):
        return {"output": output}
    rest = {name: value for name, value in output.items() if name not in {"error", "refresh_worker"}}
    fields: dict[str, Any] = {"output": rest} if rest else {}
    if output.get("error"):
        # The platform swallows an error that is no text, and the job ends without any answer.
        fields["error"] = output["error"] if isinstance(output["error"], str) else _text(output["error"])
    if output.get("refresh_worker"):
        fields["stopPod"] = True
    return fields


def _text(error: Any) -> str:
    try:
        return json.dumps(error)
    except (TypeError, ValueError, RecursionError):
        return _FAILED


def _short(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"[:200].encode("ascii", "backslashreplace").decode()
