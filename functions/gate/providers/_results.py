"""The worker's result as the job that the gate settles."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gate import wire
from gate.errors import ProviderUnavailableError, SettingsError
from gate.ports import Clock
from gate.provider import LifeUsage, Order, ProviderJob, ProviderState, ProviderUsage

_MESSAGE_CHARS_MAX = 300


def read_result(fields: Any) -> wire.WorkResult:
    """Return the worker's result. A host that is not Twohop's worker answers with the outputs themselves."""
    try:
        return wire.WorkResult.from_json(fields)
    except wire.WireError:
        return wire.WorkResult(outputs=fields)


def told(usage: wire.WorkUsage, *, execution_ms: int, delay_ms: int = 0) -> ProviderUsage:
    """Return the usage of a job whose worker told it, beside what its host measured."""
    own_ms = usage.start_ms + usage.gap_ms + usage.share_ms
    life = None
    if usage.life_ms >= own_ms > 0:
        life = LifeUsage(share_ms=usage.share_ms, gap_ms=usage.gap_ms, before_ms=usage.life_ms - own_ms)
    return ProviderUsage(
        execution_ms=execution_ms, start_ms=usage.start_ms, delay_ms=delay_ms, life=life, tokens=usage.tokens
    )


def ended(provider_job_id: str, result: wire.WorkResult, usage: ProviderUsage | None) -> ProviderJob:
    """Return the job that a result ends."""
    if result.failure:
        return failed(provider_job_id, usage, code=result.failure.code, message=result.failure.message)
    return ProviderJob(
        provider_job_id=provider_job_id, state=ProviderState.COMPLETED, outputs=result.outputs, usage=usage
    )


def failed(
    provider_job_id: str, usage: ProviderUsage | None, *, code: str = "internal", message: str | None = None
) -> ProviderJob:
    """Return a failed job. Of the message, a caller sees one short line: the rest may be a traceback."""
    line = message.strip().splitlines()[0][:_MESSAGE_CHARS_MAX] if message and message.strip() else None
    return ProviderJob(
        provider_job_id=provider_job_id,
        state=ProviderState.FAILED,
        usage=usage,
        failure_code=code,
        failure_message=line,
    )


def too_large(provider_job_id: str, usage: ProviderUsage | None) -> ProviderJob:
    """Return the job whose answer was longer than any answer may be. It ran, so it is not free."""
    return failed(provider_job_id, usage, message="The model's answer is too large to be delivered.")


def signed(order: Order, *, secret: bytes, now: datetime) -> wire.SignedRequest:
    """Sign an order as of now. Each try needs a new signature: a worker takes one only once."""
    return wire.sign(
        secret=secret, job_id=order.job_id, body=order.body, issued_ms=_ms(now), expires_ms=_ms(order.expires_at)
    )


def checked_secret(secret: bytes) -> bytes:
    """Return the secret that signs requests.

    Raises:
        SettingsError: it is too short to be one.
    """
    try:
        return wire.check_secret(secret)
    except ValueError as exc:
        raise SettingsError(str(exc)) from exc


def left_ms(order: Order, clock: Clock, name: str) -> int:
    """Return how long the answer is still waited for.

    Raises:
        ProviderUnavailableError: not at all, so it is not sent.
    """
    left = (order.expires_at - clock.now()) // timedelta(milliseconds=1)
    if left <= 0:
        raise ProviderUnavailableError(f"{name}: the order expired before it was sent")
    return left


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
