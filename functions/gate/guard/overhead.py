"""Counts what the provider billed and no job accounts for against everybody's budget, hour by hour.

So ledger and bill agree though workers are started for nothing, and a budget holds though a price rises without a
word: what was billed beyond the jobs is on the budget once the hour's bill is there, and until then no more than the
provider's own bound on workers lets through.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from gate.control import BillingRecord
from gate.domain import overhead
from gate.domain.limits import Periods
from gate.domain.plan import GateConfig, parse
from gate.domain.scopes import BUDGET
from gate.errors import PolicyError
from gate.guard.ledger_hours import LedgerHour
from gate.log import EventLog
from gate.ports import Documents, Ledger
from gate.steps.policy import CONFIG_PATH


class OverheadCount:
    """Runs with each reconciliation, on any number of instances at once."""

    def __init__(self, *, ledger: Ledger, documents: Documents, job_microdollars_max: int, log: EventLog) -> None:
        """Make one.

        Args:
            ledger: whose budget it is.
            documents: where the owner's configuration is.
            job_microdollars_max: the worker's part of the longest job; so much is a job that has not ended.
            log: is told of what is counted.
        """
        self._ledger = ledger
        self._documents = documents
        self._job_microdollars_max = job_microdollars_max
        self._log = log

    async def count(self, hours: Sequence[LedgerHour], bill: Sequence[BillingRecord], *, until: datetime) -> int:
        """Count the overhead of the day that ends or goes on at `until`, and return what is counted for it.

        Counting twice is counting once. What was counted stays: a bill that is lowered later gives nothing back.

        Raises:
            LedgerError: it is not known to be counted; count again.
        """
        if not await self._is_wanted():
            return 0
        at = until - timedelta(microseconds=1)
        found = of_the_day(hours, bill, day=at, job_microdollars_max=self._job_microdollars_max)
        shards = await self._ledger.rebalance(BUDGET, lambda seen: overhead.moves_to_count(found, seen, at=at))
        before = overhead.of_a_period(Periods.of(at).day, shards)
        if found > before:
            self._log.warning("overhead.counted", day=f"{at:%Y-%m-%d}", microdollars=found, before=before)
        return max(found, before)

    async def _is_wanted(self) -> bool:
        """A configuration that cannot be read does not lift the ceiling."""
        try:
            document = await self._documents.read(CONFIG_PATH)
            return document is None or parse(GateConfig, document, CONFIG_PATH).count_overhead
        except PolicyError:
            return True


def of_the_day(
    hours: Sequence[LedgerHour], bill: Sequence[BillingRecord], *, day: datetime, job_microdollars_max: int
) -> int:
    """Return by how much the bill of a day's hours, fees included, is above what its jobs account for."""
    midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
    billed = sum(record.microdollars for record in bill if record.begins >= midnight)
    its = [hour for hour in hours if hour.begins >= midnight]
    unfinished = sum(hour.unfinished for hour in its) * job_microdollars_max
    return max(0, billed - sum(hour.ledger_microdollars for hour in its) - unfinished)
