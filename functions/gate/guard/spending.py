"""What all callers together have spent, summed over the shards of the global budget."""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec

from gate.domain import meter
from gate.domain.limits import Periods
from gate.ports import Ledger


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """Micro-dollars of the running day and month, with what is held for jobs in flight."""

    day_microdollars: int
    month_microdollars: int
    in_flight: int
    """Jobs that are held right now."""


async def spending(ledger: Ledger, *, now: datetime) -> Spending:
    """Read what has been spent: one read a shard.

    Raises:
        LedgerError: it cannot be read.
    """
    accounts = await ledger.accounts("budget/")
    counters = await asyncio.gather(*(ledger.counters(account) for account in accounts))
    periods = Periods.of(now)
    day, month = (*periods.day, "microdollars"), (*periods.month, "microdollars")
    return Spending(
        day_microdollars=sum(one.get(day, 0) for one in counters),
        month_microdollars=sum(one.get(month, 0) for one in counters),
        in_flight=sum(one.get(meter.IN_FLIGHT, 0) for one in counters),
    )
