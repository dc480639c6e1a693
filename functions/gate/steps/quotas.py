"""What a caller may still do, told from counters."""

from __future__ import annotations

from collections.abc import Mapping

from gate.domain import meter
from gate.domain.job import Settlement
from gate.domain.meter import Key, Remaining
from gate.ports import Admitted, Clock, Ledger
from gate.steps.policy import Policy


class Quotas:
    """Tells what is left of each limit of a caller."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def of(self, uid: str, policy: Policy) -> tuple[Remaining, ...]:
        """Read what is left, from the counters that a hold would move.

        Raises:
            LedgerError: they cannot be read.
        """
        account = meter.usage_account(uid)
        counters = await self._ledger.counters(account)
        sums = {(account, counter): value for counter, value in counters.items()}
        return self._remaining(uid, policy, sums)

    def after(self, admitted: Admitted, settlement: Settlement | None, policy: Policy) -> tuple[Remaining, ...]:
        """Tell what is left from the sums that the hold returned, with no further read."""
        sums = dict(admitted.sums)
        for move in meter.callers_moves_to_settle(admitted.job, settlement) if settlement else ():
            sums[move.key] = sums.get(move.key, 0) + move.amount
        return self._remaining(admitted.job.caller, policy, sums)

    def _remaining(self, uid: str, policy: Policy, sums: Mapping[Key, int]) -> tuple[Remaining, ...]:
        now = self._clock.now()
        limits = meter.limits_of(uid, policy.plan, now=now)
        return meter.remaining(limits, sums, now=now)
