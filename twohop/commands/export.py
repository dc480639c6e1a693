"""`twohop export`: the ledger for other tools."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.domain.job import Job
from gate.domain.limits import Periods
from gate.domain.overhead import of_a_period
from gate.domain.scopes import BUDGET
from gate.steps.history import jobs_between
from twohop.counted import counters_under
from twohop.errors import BadInputError
from twohop.focus import COLUMNS, Account, rows
from twohop.session import Session
from twohop.show import hint

if TYPE_CHECKING:
    from gate.parts import Store

_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
def export() -> None:
    """Write the ledger for other tools to read."""


@export.command()
@click.option("--since", type=_DAY, help="The first day, UTC; else the first of the month.")
@click.option("--until", type=_DAY, help="The day after the last one; else until now.")
@click.option("--provider", default="RunPod", show_default=True, help="Who runs the GPU and sends the bill.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A file; else standard output.")
@click.pass_obj
def focus(
    session: Session, *, since: datetime | None, until: datetime | None, provider: str, out: Path | None
) -> None:
    """Write what jobs cost as rows of FOCUS 1.0 (focus.finops.org), one an hour, a model and a cohort.

    The cost is what the ledger settled, so the rows add up to it. Useful, start and idle time stand in the tags. What
    was billed and no job accounts for is a row a day; the ledger keeps it for a month.
    """
    begins, ends = _span(since, until, session.now())
    jobs, overhead = session.run(lambda store: _read(store, begins, ends))
    account = Account(billing_account=session.ledger_name(), provider=provider)
    text = _csv(rows(jobs, account, overhead=overhead))
    if out:
        out.write_text(text, "utf-8")
        hint(f"{len(jobs)} jobs from {begins:%Y-%m-%d} to {ends:%Y-%m-%d %H:%M} UTC in {out}")
    else:
        click.echo(text, nl=False)


def _span(since: datetime | None, until: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    begins = since.replace(tzinfo=UTC) if since else now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    ends = until.replace(tzinfo=UTC) if until else now + timedelta(seconds=1)
    if begins >= ends:
        raise BadInputError(f"--since {begins:%Y-%m-%d} is not before --until {ends:%Y-%m-%d}")
    return begins, ends


async def _read(store: Store, since: datetime, until: datetime) -> tuple[list[Job], dict[datetime, int]]:
    """Return the jobs, and the overhead of each day that has some."""
    shards = await counters_under(store, BUDGET)
    midnight = since.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight + timedelta(days=number) for number in range((until - midnight) // timedelta(days=1) + 1)]
    overhead = {day: of_a_period(Periods.of(day).day, shards) for day in days if since <= day < until}
    jobs = [job async for job in jobs_between(store, since=since, until=until)]
    return jobs, {day: microdollars for day, microdollars in overhead.items() if microdollars}


def _csv(found: Iterable[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()
