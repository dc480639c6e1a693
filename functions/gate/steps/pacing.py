"""Bounds what callers may read without holding a job: asking how a job stands, what is left, or the same again.

Nothing of that is counted in the ledger, so a caller could have Firestore read for ever. What they may have read is
counted in this instance's memory instead, which costs nothing: as much at once as in a minute, and then at that pace.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

from gate.errors import QuotaExceededError
from gate.ports import Caller, Clock

READS_PER_MINUTE = 600
_REMEMBERED_MAX = 10_000
_MINUTE = timedelta(minutes=1)


class Pace:
    """How far each caller, by `paced_as`, is ahead of the pace (GCRA, as the ledger's rate limit).

    Args:
        clock: the time.
        reads_per_minute: documents of each caller, in this instance.
    """

    def __init__(self, *, clock: Clock, reads_per_minute: int = READS_PER_MINUTE) -> None:
        self._reads_per_minute = reads_per_minute
        self._emission = _MINUTE / reads_per_minute
        self._clock = clock
        self._paid_until: OrderedDict[str, datetime] = OrderedDict()

    def check(self, who: str) -> None:
        """Refuse a caller who is too far ahead. Being refused counts nothing, so whoever waits as told comes in.

        Raises:
            QuotaExceededError: they are; it says for how long.
        """
        wait = self._paid_until.get(who, self._clock.now()) + self._emission - _MINUTE - self._clock.now()
        if wait > timedelta(0):
            raise _too_often(self._reads_per_minute, wait.total_seconds())

    def count(self, who: str, reads: int = 1) -> None:
        """Count what was read for a caller, also if it is more than was left: they wait for longer then."""
        now = self._clock.now()
        self._paid_until[who] = max(now, self._paid_until.get(who, now)) + reads * self._emission
        self._paid_until.move_to_end(who)
        if len(self._paid_until) > _REMEMBERED_MAX:
            self._paid_until.popitem(last=False)


def paced_as(caller: Caller) -> str:
    """Return whose reads these are. A token's are its own, so that a leaked one keeps nobody from revoking it."""
    return caller.token_id or caller.uid


def _too_often(reads_per_minute: int, wait_seconds: float) -> QuotaExceededError:
    return QuotaExceededError(
        "asked too often without holding a job",
        public_message=f"Asked too often: {reads_per_minute} reads a minute. Try again in {wait_seconds:.3g} s.",
        details={
            "limit": "reads_per_minute",
            "limit_value": reads_per_minute,
            "retry_after_seconds": round(wait_seconds + 0.0005, 3),
            "resets_at": None,
        },
    )
