"""`twohop cost --actual`: what the ledger says that a day or a month really cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gate.domain.job import Job
from gate.steps.history import jobs_between
from twohop.cost import actual as past
from twohop.cost import tables
from twohop.cost.book import book_of
from twohop.cost.forecast import forecast as forecast_of
from twohop.cost.modes.lines import write_csv
from twohop.cost.progress import progress
from twohop.cost.scenario import Scenario
from twohop.session import Session
from twohop.show import hint, show, show_json

if TYPE_CHECKING:
    from gate.parts import Store


def actual(
    session: Session, base: Scenario, *, actual: str, wait_seconds: float, as_json: bool, as_csv: bool, **_: Any
) -> int:
    """Show what the last day or month really cost, beside the forecast; return what a month costs at this pace."""
    until = session.now()
    since = until - timedelta(days=1 if actual == "day" else 30)

    async def read(store: Store) -> list[Job]:
        return [job async for job in jobs_between(store, since=since, until=until)]

    with progress("reading the ledger"):
        jobs = session.run(read)
    really = past.actual(jobs, days=(until - since).total_seconds() / 86_400)
    if as_csv:
        write_csv([asdict(really)])
    elif jobs:
        _show_actual(jobs, base, since, until, wait_seconds=wait_seconds, as_json=as_json)
    elif as_json:
        show_json({**asdict(really), "forecast_microdollars": 0, "recommended": None})
    else:
        hint(f"no jobs in the last {actual}")
    return really.microdollars_per_month


def _show_actual(
    jobs: Sequence[Job],
    base: Scenario,
    since: datetime,
    until: datetime,
    *,
    wait_seconds: float,
    as_json: bool,
) -> None:
    days = (until - since).total_seconds() / 86_400
    book = book_of(base.hardware, on=until.date())
    really = past.actual(jobs, days=days)
    with progress("the same month by simulation"):
        predicted = forecast_of(past.scenario_from(jobs, base, days=days), book)
        advice = past.recommended(jobs, base, book, since=since, wait_seconds=wait_seconds)
    if as_json:
        show_json({**asdict(really), "forecast_microdollars": predicted.microdollars, "recommended": advice})
        return
    share = days / 30
    show(
        f"{really.jobs:,} jobs in {days:.1f} days settled {tables.money(really.settled_microdollars)}; "
        f"the forecast for them says {tables.money(predicted.microdollars * share)}",
        f"useful {really.useful_seconds:,.1f} s, starts {really.start_seconds:,.1f} s, "
        f"idle {really.idle_seconds:,.1f} s",
    )
    if really.unknown:
        show(f"{really.unknown} jobs paid their whole hold, because nobody knows what they took")
    if advice is None:
        hint("too few jobs to recommend settings from")
    else:
        show(
            "",
            f"best for these arrivals and a wait of {wait_seconds:g} s:",
            "",
            tables.options_table([advice], wait_seconds=wait_seconds),
        )
