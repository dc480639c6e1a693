"""How results look on a terminal of 80 columns, without colour where there is no terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click
import msgspec
from rich.box import SIMPLE
from rich.console import Console, RenderableType
from rich.table import Table

from gate.domain.job import Job, JobState
from gate.money import MICRODOLLARS_PER_DOLLAR

NOTHING = "-"
_NEVER = datetime.min.replace(tzinfo=UTC)
_STYLES = {JobState.HELD: "cyan", JobState.RUNNING: "cyan", JobState.RELEASED: "dim", JobState.EXPIRED: "yellow"}
_UNITS = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "m"))


def show(*parts: RenderableType) -> None:
    """Write to stdout. Texts are shown as they are: what a caller chose as a name is no markup."""
    Console(highlight=False, markup=False, emoji=False).print(*parts, sep="\n")


def show_json(value: object) -> None:
    """Write a value to stdout for a program to read. What JSON has no word for is written as text."""
    click.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode())


def warn(text: str) -> None:
    """Write a line to stderr that the owner should see."""
    click.secho(text, err=True, fg="yellow")


def hint(text: str) -> None:
    """Write a line to stderr that helps and may be ignored."""
    click.secho(text, err=True, dim=True)


def dollars(microdollars: int) -> str:
    """Return the amount exactly, with all six decimals, so that a column of them lines up."""
    return f"${Decimal(microdollars) / MICRODOLLARS_PER_DOLLAR:,.6f}"


def short_dollars(microdollars: int) -> str:
    """Return the amount exactly, with no more decimals than it needs and at least two."""
    whole, _, decimals = dollars(microdollars).partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


def rounded_dollars(microdollars: int) -> str:
    """Return the amount with four decimals, rounded up, for a column that is headed by a $ and has little room."""
    return f"{Decimal(-(-microdollars // 100)) / 10_000:,.4f}"


def seconds(milliseconds: int) -> str:
    """Return milliseconds as seconds with one decimal, rounded up: a little is not nothing."""
    return f"{Decimal(-(-milliseconds // 100)) / 10:,.1f}"


def distance(span: timedelta) -> str:
    """Return a span of time in its largest unit, as in "3m"."""
    unit, name = next(((unit, name) for unit, name in _UNITS if span >= unit), (timedelta(seconds=1), "s"))
    return f"{max(span // unit, 0)}{name}"


def moment(at: datetime, now: datetime) -> str:
    """Return a time in UTC: of the day alone if that is today."""
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%m-%d %H:%M}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    name: str
    number: bool = False
    """Aligned to the right."""
    may_shrink: bool = False
    """Cut short, with an ellipsis, where the terminal is too narrow; other columns go first."""
    total: str = ""


def table(*columns: Column, caption: str = "") -> Table:
    """Return an empty table. Its last line holds the columns' totals, if there are any; the caption stands below."""
    made = Table(
        box=SIMPLE,
        show_edge=False,
        padding=(0, 1, 0, 0),
        show_footer=any(column.total for column in columns),
        caption=caption or None,
        caption_justify="left",
        caption_style="dim",
        footer_style="bold",
    )
    for column in columns:
        made.add_column(
            column.name,
            column.total,
            justify="right" if column.number else "left",
            no_wrap=not column.may_shrink,  # Rich shrinks only what it may wrap; one word is cut, not wrapped.
            overflow="ellipsis",
        )
    return made


def jobs_table(jobs: Sequence[Job], *, now: datetime | None = None, of_one_caller: bool = False) -> Table:
    """Return the ledger: a line a job and a line of totals.

    Args:
        jobs: in the order in which they are shown.
        now: tells how long ago each was; not told if None.
        of_one_caller: all are one caller's, so that how a job failed stands in the caller's place.
    """
    models = sorted({job.model for job in jobs})
    columns = [
        *_columns_of_when(jobs, now),
        _FAILURE if of_one_caller else _CALLER,
        (Column(name="state"), lambda job: job.state.value),
        *([_MODEL] if len(models) > 1 else []),
        *_columns_of_cost(jobs),
    ]
    # A gate mostly serves one model: said once, it leaves the line to a caller's id, which has 28 characters.
    model = f"model {models[0]}; " if len(models) == 1 else ""
    made = table(*(column for column, _ in columns), caption=f"{model}held and settled in µ$")
    for job in jobs:
        made.add_row(*(cell(job) for _, cell in columns), style=_STYLES.get(job.state))
    return made


def gpu_ms_of(job: Job) -> int:
    """Return the GPU time a job is counted with: what it took, or what was held when nobody said."""
    if job.state is JobState.RELEASED:
        return 0
    return job.held_gpu_ms if job.spent is None else job.spent.execution_ms + job.spent.start_ms


_JobColumn = tuple[Column, Callable[[Job], str]]

_CALLER: _JobColumn = (Column(name="caller", may_shrink=True), lambda job: job.caller)
_FAILURE: _JobColumn = (Column(name="failure", may_shrink=True), lambda job: job.failure_code or "")
_MODEL: _JobColumn = (Column(name="model", may_shrink=True), lambda job: job.model)


def _columns_of_when(jobs: Sequence[Job], now: datetime | None) -> list[_JobColumn]:
    reference = now or max((job.held_at for job in jobs), default=_NEVER)
    count = f"{len(jobs)} job" + ("" if len(jobs) == 1 else "s")
    when: _JobColumn = (Column(name="time UTC", total=count), lambda job: moment(job.held_at, reference))
    ago: _JobColumn = (Column(name="ago", number=True), lambda job: distance(reference - job.held_at))
    return [when, ago] if now else [when]


def _columns_of_cost(jobs: Sequence[Job]) -> list[_JobColumn]:
    held = sum(job.held_microdollars for job in jobs)
    settled = sum(job.settled_microdollars or 0 for job in jobs)
    gpu_ms = sum(gpu_ms_of(job) for job in jobs)
    return [
        (Column(name="held", number=True, total=f"{held:,}"), lambda job: f"{job.held_microdollars:,}"),
        (Column(name="settled", number=True, total=f"{settled:,}"), _settled),
        (Column(name="GPU s", number=True, total=seconds(gpu_ms)), lambda job: seconds(gpu_ms_of(job))),
    ]


def _settled(job: Job) -> str:
    return NOTHING if job.settled_microdollars is None else f"{job.settled_microdollars:,}"
