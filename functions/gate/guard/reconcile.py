"""Holds the ledger against the provider's own bill, every hour, and says by how much the two differ.

The day before the last full hour is compared as a whole: a job that crosses an hour is in one hour's ledger and in
two hours' bill, which over a day is nothing. Only the worker's part of a job is compared; hop 1's part is on
Google's bill. What the ledger says is added up by hours (`gate.guard.ledger_hours`), so that each job is read once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from gate.control import BillingRecord, ProviderControl
from gate.errors import ProviderError
from gate.guard.alarm import Alarm
from gate.guard.alerts import Observation, Severity, dollars
from gate.guard.documents import to_document
from gate.guard.ledger_hours import LedgerHour, LedgerHours
from gate.guard.overhead import OverheadCount
from gate.log import EventLog
from gate.money import Tariff
from gate.ports import Clock, Documents, Ledger

_SPAN = timedelta(hours=24)
_BILL_IS_LATE = timedelta(minutes=10)
"""RunPod's bill runs every five minutes."""
_WARN_PERCENT = 5
_CRITICAL_PERCENT = 20
_WORTH_TELLING_MICRODOLLARS = 50_000
"""Below five cents a day, a percentage says nothing."""
_METERING_SPAN = timedelta(hours=2)


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """The document `reconciliations/{hour}`: a day's ledger beside the same day's bill, in micro-dollars."""

    since: datetime
    until: datetime
    jobs: int
    jobs_paid_in_full: int
    """Of those, jobs of which nobody knows what they took; the ledger says the most that it can have been."""
    ledger_microdollars: int
    """The workers' part of what the jobs were settled at."""
    billed_microdollars: int
    """Without the provider's fees."""
    fee_microdollars: int

    @property
    def drift_microdollars(self) -> int:
        """By how much the bill is above the ledger."""
        return self.billed_microdollars - self.ledger_microdollars

    @property
    def drift_percent(self) -> float:
        """The drift as a share of the bill; of the ledger where nothing was billed."""
        whole = self.billed_microdollars or self.ledger_microdollars
        return 100 * self.drift_microdollars / whole if whole else 0.0


class Reconciler:
    """Compares, writes down, and raises the alarm."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        documents: Documents,
        control: ProviderControl,
        tariff: Tariff,
        overhead: OverheadCount,
        alarm: Alarm,
        clock: Clock,
        log: EventLog,
    ) -> None:
        self._overhead = overhead
        self._hours = LedgerHours(ledger=ledger, documents=documents, tariff=tariff, log=log)
        self._documents = documents
        self._control = control
        self._alarm = alarm
        self._clock = clock
        self._log = log

    async def reconcile(self) -> Reconciliation | None:
        """Compare the last day, and return what came out; None if the provider's bill cannot be read now.

        Doing it twice in an hour writes the same document twice.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        until = (self._clock.now() - _BILL_IS_LATE).replace(minute=0, second=0, microsecond=0)
        since = until - _SPAN
        try:
            bill = await self._control.billing(since=since, until=until)
        except ProviderError as exc:
            self._log.warning("reconcile.no_bill", reason=str(exc))
            await self._alarm.observe([_bill(is_read=False)])
            return None
        bill = [record for record in bill if record.begins >= since and record.ends <= until]
        hours = await self._hours.between(since, until)
        found = _compared(hours, bill, since=since, until=until)
        counted = await self._overhead.count(hours, bill, until=until)
        document = {
            **to_document(found),
            "drift_percent": round(found.drift_percent, 2),
            "overhead_microdollars": counted,
        }
        await self._documents.write(f"reconciliations/{until:%Y-%m-%dT%H}", document)
        self._log.info("reconcile.done", **document)
        await self._alarm.observe([_drift(found), _metering(hours, bill, until), _bill(is_read=True)])
        return found


def _compared(
    hours: Sequence[LedgerHour], bill: Sequence[BillingRecord], *, since: datetime, until: datetime
) -> Reconciliation:
    fees = sum(record.fee_microdollars for record in bill)
    return Reconciliation(
        since=since,
        until=until,
        jobs=sum(hour.jobs for hour in hours),
        jobs_paid_in_full=sum(hour.jobs_paid_in_full for hour in hours),
        ledger_microdollars=sum(hour.ledger_microdollars for hour in hours),
        billed_microdollars=sum(record.microdollars for record in bill) - fees,
        fee_microdollars=fees,
    )


def _bill(*, is_read: bool) -> Observation:
    """Without a bill nobody knows what no job accounts for, so the budget does not bound it."""
    return Observation(
        alert="bill",
        severity=Severity.FINE if is_read else Severity.WARNING,
        text="The provider's bill is read."
        if is_read
        else "The provider's bill cannot be read, so nothing is counted as overhead; the log says why in "
        "`reconcile.no_bill`. Is RUNPOD_CONTROL_KEY right?",
    )


def _drift(found: Reconciliation) -> Observation:
    share = abs(found.drift_percent) if abs(found.drift_microdollars) >= _WORTH_TELLING_MICRODOLLARS else 0.0
    severity = Severity.FINE if share < _WARN_PERCENT else Severity.WARNING
    severity = Severity.CRITICAL if share >= _CRITICAL_PERCENT else severity
    side = "above" if found.drift_microdollars > 0 else "below"
    return Observation(
        alert="drift",
        severity=severity,
        text=f"The provider's bill of the last day, {dollars(found.billed_microdollars)}, is "
        f"{abs(found.drift_percent):.1f} % {side} the ledger, {dollars(found.ledger_microdollars)}. "
        + " ".join(_reasons(found)),
        facts={
            "billed_microdollars": found.billed_microdollars,
            "ledger_microdollars": found.ledger_microdollars,
            "fee_microdollars": found.fee_microdollars,
        },
    )


def _reasons(found: Reconciliation) -> Iterator[str]:
    """Name what usually is behind a difference."""
    if found.drift_microdollars > 0:
        yield "Is the price in HARDWARE the endpoint's own, is the idle timeout the one in IDLE_SECONDS, and does"
        yield "nobody else use the endpoint? What no job accounts for is on the budget as overhead."
    elif found.jobs_paid_in_full:
        yield f"{found.jobs_paid_in_full} jobs were paid in full, because nobody knows what they took."


def _metering(hours: Sequence[LedgerHour], bill: Sequence[BillingRecord], until: datetime) -> Observation:
    since = until - _METERING_SPAN
    billed = sum(record.microdollars - record.fee_microdollars for record in bill if record.begins >= since)
    counted = sum(hour.jobs for hour in hours if hour.begins >= since - _METERING_SPAN)
    stopped = billed >= _WORTH_TELLING_MICRODOLLARS and not counted
    return Observation(
        alert="metering_stopped",
        severity=Severity.CRITICAL if stopped else Severity.FINE,
        text=f"The provider billed {dollars(billed)} in two hours in which the ledger counted no job. "
        "Stop it with `twohop kill 5`, then look who uses the endpoint."
        if stopped
        else "What is billed is counted.",
        facts={"billed_microdollars": billed, "jobs": counted},
    )
