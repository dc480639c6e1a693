"""What a caller may still do, told from counters."""

from __future__ import annotations

from gate.domain import meter
from gate.domain.job import Settlement
from gate.domain.meter import Remaining
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
        counters = await self._ledger.counters(meter.usage_account(uid))
        return meter.remaining(policy.plan, counters, now=self._clock.now())

    def after(self, admitted: Admitted, settlement: Settlement | None, policy: Policy) -> tuple[Remaining, ...]:
        """Tell what is left from the sums that the hold returned, with no further read."""
        mine = meter.usage_account(admitted.job.caller)
        counters = {counter: value for (account, counter), value in admitted.sums.items() if account == mine}
        for move in meter.callers_moves_to_settle(admitted.job, settlement) if settlement else ():
            counters[move.counter] = counters.get(move.counter, 0) + move.amount
        return meter.remaining(policy.plan, counters, now=self._clock.now())
