"""Errors in the words of OpenAI and of Hugging Face, and the headers that tell a client when to come back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from gate.domain.meter import LimitName, Remaining
from gate.errors import ConflictError, GateError, LedgerError, ProviderError, ProviderUnavailableError

JOB_HEADER = "x-job-id"
RETRY_HEADER = "x-should-retry"
RATE_HEADERS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
_PARAMETER = re.compile(r"at `\$\.?([^`]+)`")
_WORTH_WAITING_SECONDS = 60
"""OpenAI's clients wait no longer than this, and then ask again at once, which is in vain."""

_TYPES = {
    "invalid-argument": ("invalid_request_error", None),
    "unauthenticated": ("invalid_request_error", "invalid_api_key"),
    "permission-denied": ("invalid_request_error", "permission_denied"),
    "not-found": ("invalid_request_error", "not_found"),
    "already-exists": ("invalid_request_error", "idempotency_key_in_use"),
    "resource-exhausted": ("rate_limit_error", "rate_limit_exceeded"),
    "failed-precondition": ("invalid_request_error", "not_set_up"),
    "deadline-exceeded": ("server_error", "timeout"),
    "unavailable": ("server_error", "unavailable"),
}


class RouteNotFoundError(GateError):
    """Nothing is served at this path."""

    code = "not-found"
    http_status = 404
    default_message = "There is nothing at this address."


class ModelNotFoundError(GateError):
    """No such model, or none that this caller may use."""

    code = "not-found"
    http_status = 404
    default_message = "There is no such model here."


class JobGoesOnError(GateError):
    """The job outlives the request: it runs on, and is neither lost nor to be begun again. ``details`` name it."""

    code = "deadline-exceeded"
    http_status = 504
    default_message = "It did not end in time. A job that goes on is named by the header x-job-id."


class OpenAIError(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """An error as OpenAI's clients read it."""

    error: OpenAIError


class HuggingFaceErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """An error as Hugging Face's clients read it."""

    error: str
    error_type: str


class OpenAIErrors:
    """`{"error": {message, type, param, code}}`."""

    struct = OpenAIErrorBody

    def body(self, error: GateError) -> OpenAIErrorBody:
        """See `ErrorShape.body`."""
        kind, code = _TYPES.get(error.code, ("server_error", None))
        if isinstance(error, ModelNotFoundError):
            code = "model_not_found"
        found = _PARAMETER.search(error.public_message)
        parameter = found[1] if found and error.code == "invalid-argument" else None
        return OpenAIErrorBody(error=OpenAIError(message=error.public_message, type=kind, param=parameter, code=code))


class HuggingFaceErrors:
    """`{"error": "…", "error_type": "…"}`."""

    struct = HuggingFaceErrorBody

    def body(self, error: GateError) -> HuggingFaceErrorBody:
        """See `ErrorShape.body`."""
        return HuggingFaceErrorBody(error=error.public_message, error_type=error.code)


def error_headers(error: GateError) -> dict[str, str]:
    """Return when to come back, for which job, and whether a client that tries again by itself should."""
    headers = {}
    if "job_id" in error.details:
        headers[JOB_HEADER] = error.details["job_id"]
    wait_seconds = error.details.get("retry_after_seconds")
    if wait_seconds is not None:
        headers["retry-after"] = str(max(1, math.ceil(wait_seconds)))
    if error.details.get("limit") == LimitName.REQUESTS_PER_MINUTE.value:
        values = (str(error.details["limit_value"]), "0", _duration(wait_seconds or 0))
        headers |= dict(zip(RATE_HEADERS, values, strict=True))
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    if not _is_worth_a_retry(error, wait_seconds):
        headers[RETRY_HEADER] = "false"  # Without it, they do so for each status from 500 on.
    return headers


def rate_headers(quota: Iterable[Remaining], *, now: datetime) -> dict[str, str]:
    """Return what is left of the rate limit, as OpenAI says it; the other limits are told by `quota`."""
    rows = [row for row in quota if row.name is LimitName.REQUESTS_PER_MINUTE]
    if not rows:
        return {}
    reset = _duration((rows[0].resets_at - now).total_seconds()) if rows[0].resets_at else "0s"
    return dict(zip(RATE_HEADERS, (str(rows[0].limit), str(rows[0].remaining), reset), strict=True))


def _is_worth_a_retry(error: GateError, wait_seconds: Any) -> bool:
    """Clients try again by themselves. It is not worth it where it was paid for, or where nothing changes soon."""
    if isinstance(error, ConflictError):
        return False
    if isinstance(error, JobGoesOnError):
        return bool(error.details.get("has_key"))  # Without a key it would begin a second job.
    if isinstance(error, ProviderError):
        return isinstance(error, ProviderUnavailableError)
    if error.code == "resource-exhausted":
        return wait_seconds is not None and wait_seconds <= _WORTH_WAITING_SECONDS
    return isinstance(error, LedgerError) or error.http_status < 500


def _duration(seconds: float) -> str:
    """Write a time as OpenAI's headers do: 120ms, 6s, 1m30s, 2h0m0s."""
    if seconds <= 0:
        return "0s"
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
