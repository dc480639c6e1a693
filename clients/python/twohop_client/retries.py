"""Trying again, with the same idempotency key: however often it is sent, it runs and is counted once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from twohop_client.errors import TwohopError

_Result = TypeVar("_Result")

_PAUSE_SECONDS_FIRST = 0.5
_PAUSE_SECONDS_MAX = 8.0
_TOLD_SECONDS_MAX = 30.0
"""A pause that is told and is longer is the script's to wait for: a day's limit, for example."""
_SHORT_LIMITS = ("requests_per_minute", "concurrency", "reads_per_minute")


def with_retries(call: Callable[[], _Result], *, tries_max: int) -> _Result:
    """Call until it goes well, for as long as trying again may help.

    Raises:
        TwohopError: of the last try.
    """
    for tried in range(1, tries_max):
        try:
            return call()
        except TwohopError as exc:
            seconds = _pause_seconds(exc, tried)
            if seconds is None:
                raise
        time.sleep(seconds)
    return call()


def _pause_seconds(error: TwohopError, tried: int) -> float | None:
    """Return how long to wait before another try; None if none would help."""
    told = error.retry_after_seconds or 0.0
    if told > _TOLD_SECONDS_MAX or not (error.retryable or error.limit in _SHORT_LIMITS):
        return None
    grown: float = min(_PAUSE_SECONDS_FIRST * 2 ** (tried - 1), _PAUSE_SECONDS_MAX)
    return max(told, grown * random.uniform(0.5, 1))  # noqa: S311 - no secret hangs on it
