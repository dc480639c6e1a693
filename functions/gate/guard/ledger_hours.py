"""What the ledger says of each of the last hours, so that the hourly reconciliation reads each job once.

An hour whose jobs have all ended never changes again: nothing leaves a final state. Its sums are kept, and only hours
in which a job was still held or running, or that nobody has read, are read. So the sums are those of reading all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import asdict

from gate.domain.job import Job, JobState
from gate.guard.documents import to_document
from gate.log import EventLog
from gate.money import Spent, Tariff
from gate.ports import Documents, Ledger
from gate.steps.history import jobs_between

RECONCILED_PATH = "gate/reconciled"
_HOUR = timedelta(hours=1)

_Count = Annotated[int, Meta(ge=0)]


class LedgerHour(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs that were held in one hour."""

    begins: datetime
    jobs: _Count
    jobs_paid_in_full: _Count
    """Of those, jobs of which nobody knows what they took; the ledger says the most that it can have been."""
    ledger_microdollars: _Count
    """The workers' part of what the jobs were settled at."""
    unfinished: _Count
    """Jobs that were not at their end when this was added up."""


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """The document `gate/reconciled`: the hours of the last reconciliation."""

    priced_by: str
    """The price that the workers' part was reckoned by; with another one, all is read again."""
    hours: tuple[LedgerHour, ...]


class LedgerHours:
    """Adds up the ledger by hours, and remembers those that are final."""

    def __init__(self, *, ledger: Ledger, documents: Documents, tariff: Tariff, log: EventLog) -> None:
        self._ledger = ledger
        self._documents = documents
        self._tariff = tariff
        self._log = log

    async def between(self, since: datetime, until: datetime) -> list[LedgerHour]:
        """Return each hour from `since` on and before `until`, which are whole hours that nobody holds jobs in now.

        Two who ask at once both get what is true, and either one's sums are kept.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        final = {hour.begins: hour for hour in await self._kept() if not hour.unfinished}
        hours = [final.get(begins) or await self._read(begins) for begins in _hours(since, until)]
        kept = Reconciled(priced_by=priced_by(self._tariff), hours=tuple(hours))
        await self._documents.write(RECONCILED_PATH, to_document(kept))
        return hours

    async def _kept(self) -> Sequence[LedgerHour]:
        document = await self._documents.read(RECONCILED_PATH)
        if document is None:
            return ()
        try:
            kept = msgspec.convert(document, Reconciled)
        except msgspec.ValidationError as exc:
            self._log.warning("reconcile.forgot", document=RECONCILED_PATH, reason=str(exc))
            return ()
        return kept.hours if kept.priced_by == priced_by(self._tariff) else ()

    async def _read(self, begins: datetime) -> LedgerHour:
        jobs = [job async for job in jobs_between(self._ledger, since=begins, until=begins + _HOUR)]
        return added_up(begins, jobs, self._tariff)


def added_up(begins: datetime, jobs: Sequence[Job], tariff: Tariff) -> LedgerHour:
    """Return the sums of an hour's jobs."""
    return LedgerHour(
        begins=begins,
        jobs=len(jobs),
        jobs_paid_in_full=sum(job.spent is None and bool(job.settled_microdollars) for job in jobs),
        ledger_microdollars=sum(gpu_microdollars(job, tariff) for job in jobs),
        unfinished=sum(not job.state.final for job in jobs),
    )


def gpu_microdollars(job: Job, tariff: Tariff) -> int:
    """Return the worker's part of what a job paid. Of one that was paid in full, it is that of the worst case."""
    if job.state is JobState.RELEASED or not job.state.final:
        return 0
    return tariff.gpu_microdollars(job.spent or Spent(execution_ms=job.held_gpu_ms))


def priced_by(tariff: Tariff) -> str:
    """Return all that a worker's part is reckoned by. When and where its price was read changes no sum."""
    numbers = {name: value for name, value in asdict(tariff.gpu).items() if name not in ("as_of", "source")}
    return msgspec.json.encode({**numbers, "idle_ms": tariff.idle_ms}, order="sorted").decode()


def _hours(since: datetime, until: datetime) -> Iterator[datetime]:
    while since < until:
        yield since
        since += _HOUR
