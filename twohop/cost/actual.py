"""What the ledger says that a span of time really cost, and which settings its own arrivals ask for."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from gate.domain.job import Job
from twohop.cost.book import Book
from twohop.cost.compare import Option, best, settings
from twohop.cost.forecast import changed
from twohop.cost.scenario import Scenario

_JOBS_LEAST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Actual:
    """What really happened."""

    jobs: int
    days: float
    settled_microdollars: int
    useful_seconds: float
    start_seconds: float
    idle_seconds: float
    cold_jobs: int
    unknown: int
    """Jobs that paid their hold because nobody knows what they took."""

    @property
    def microdollars_per_month(self) -> int:
        """At this pace."""
        return round(self.settled_microdollars / self.days * 30)


def actual(jobs: Sequence[Job], *, days: float) -> Actual:
    """Add up what a span's jobs cost."""
    spent = [job.spent for job in jobs if job.spent is not None]
    return Actual(
        jobs=len(jobs),
        days=days,
        settled_microdollars=sum(job.settled_microdollars or 0 for job in jobs),
        useful_seconds=sum(one.execution_ms for one in spent) / 1000,
        start_seconds=sum(one.start_ms for one in spent) / 1000,
        idle_seconds=sum(one.idle_ms or 0 for one in spent) / 1000,
        cold_jobs=sum(one.start_ms > 0 for one in spent),
        unknown=sum(job.state.final and job.spent is None and bool(job.settled_microdollars) for job in jobs),
    )


def scenario_from(jobs: Sequence[Job], base: Scenario, *, days: float) -> Scenario:
    """Return the month that these jobs would make: their number and their mean times."""
    found = actual(jobs, days=days)
    return changed(
        base,
        calls_per_month=max(1, round(found.jobs / days * 30)),
        compute_seconds=max(0.001, found.useful_seconds / max(1, found.jobs - found.unknown)),
        cold_start_seconds=found.start_seconds / found.cold_jobs if found.cold_jobs else base.cold_start_seconds,
        trace=None,
    )


def recommended(
    jobs: Sequence[Job], base: Scenario, book: Book, *, since: datetime, wait_seconds: float
) -> Option | None:
    """Return the idle timeout and the workers that would have been best for these very arrivals; None if too few."""
    known = [(job, job.spent) for job in jobs if job.spent is not None]
    if len(known) < _JOBS_LEAST:
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "arrivals.csv"
        with path.open("w", newline="", encoding="utf-8") as lines:
            rows = csv.writer(lines)
            rows.writerow(["arrival", "seconds"])
            for job, spent in known:
                rows.writerow([(job.held_at - since).total_seconds(), max(0.001, spent.execution_ms / 1000)])
        replay = changed(scenario_from([job for job, _ in known], base, days=1), trace=str(path))
        return best(settings(replay, book), wait_seconds)
