"""The modes of `twohop cost`, from what was asked to what is shown. Each returns the amount that may be too high."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gate import prices
from gate.domain.job import Job
from gate.domain.plan import STARTER_CONFIG, STARTER_PLANS, GateConfig, Plan, parse
from twohop.configured import read_env_file
from twohop.cost import actual as past
from twohop.cost import tables
from twohop.cost.bill import Line
from twohop.cost.book import Book, book_of
from twohop.cost.compare import break_even, compared, designs, frontier, settings
from twohop.cost.deployed import functions
from twohop.cost.forecast import Forecast
from twohop.cost.forecast import forecast as forecast_of
from twohop.cost.scenario import Scenario
from twohop.cost.what_if import LEAVING, SHOCKS, exposure, shocked, tornado
from twohop.cost.worst import Configured, remedies, worst_case
from twohop.errors import BadInputError
from twohop.session import Session
from twohop.show import hint, show, show_json, warn

if TYPE_CHECKING:
    from gate.bootstrap import Store

_SHOWN_MAX = 20
_JOBS_MAX = 10_000
_REQUESTS_PER_SECOND = 300
"""What one instance refuses a second: `make bench` measures more on a fast machine; yours may differ."""
_ACCOUNTS_PER_HOUR = 1_000
"""Accounts with which an attacker signs in. Firebase lets one address make 100 anonymous ones an hour."""


def forecast(session: Session, scenario: Scenario, **asked: Any) -> int:
    """Show the month's bill, and what was asked besides."""
    today = session.now().date()
    book = book_of(scenario.hardware, on=today)
    _compiled_hint(scenario)
    found = forecast_of(scenario, book)
    if asked["explain"]:
        _explain(found, asked["explain"])
    elif asked["html"]:
        _write_report(found, asked["html"], on=today, wait_seconds=asked["wait_seconds"])
    elif asked["as_csv"]:
        _csv(found.bill.lines)
    elif asked["compare"]:
        _compare(found, on=today, wait_seconds=asked["wait_seconds"], as_json=asked["as_json"])
    elif asked["what_if"]:
        _what_if(found, as_json=asked["as_json"])
    elif asked["as_json"]:
        show_json(forecast_json(found))
    else:
        _show(found)
    return found.microdollars


def forecast_json(found: Forecast) -> dict[str, Any]:
    """Return a forecast for a program to read."""
    lived = found.lived
    return {
        "scenario": msgspec.to_builtins(found.scenario),
        "microdollars": found.microdollars,
        "microdollars_per_1000_calls": round(found.dollars_per_thousand * 1e6),
        "gpu_share": round(found.gpu_share, 6),
        "operations_per_call": asdict(found.operations),
        "calls": lived.calls,
        "refused": lived.refused,
        "starts": lived.starts,
        "cold_share": round(lived.cold_share, 6),
        "wait_seconds": {"mean": round(lived.wait_mean, 3), "p95": round(lived.wait_at(95), 3)},
        "lines": [_line_json(line) for line in found.bill.lines],
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "line": line.key,
        "title": line.title,
        "provider": line.provider,
        "quantity": float(line.quantity),
        "unit": line.unit,
        "dollars_per_unit": float(line.nanodollars) / 1e9,
        "free": float(line.free),
        "microdollars": line.microdollars,
        "as_of": line.as_of,
        "source": line.source,
    }


def _show(found: Forecast) -> None:
    show(f"{found.scenario.calls_per_month:,} calls on {found.book.gpu.hardware}, {found.scenario.design.value}", "")
    show(tables.bill_table(found), "", *tables.summary(found))
    for unpriced in prices.load(found.book.provider).unpriced:
        warn(f"not in this bill: {unpriced.title}; {unpriced.note} ({unpriced.source}, {unpriced.as_of})")
    hint("--explain LINE shows the arithmetic; LINE is one of " + ", ".join(found.bill.names))


def _explain(found: Forecast, name: str) -> None:
    if name not in found.bill.names:
        raise BadInputError(f"there is no line {name!r}; lines: {', '.join(found.bill.names)}")
    show(found.bill.line(name).explained())


def _csv(lines: Sequence[Line]) -> None:
    rows = [_line_json(line) for line in lines]
    writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)


def _compare(found: Forecast, *, on: date, wait_seconds: float, as_json: bool) -> None:
    options = compared(found.scenario, on=on, wait_seconds=wait_seconds, progress=_progress)
    edge = frontier(settings(found.scenario, found.book))
    ways = designs(found.scenario, found.book)
    if as_json:
        show_json({"options": options, "frontier": edge, "designs": ways})
        return
    show(f"best settings for a wait of {wait_seconds:g} s (95 of 100 calls), hop 1 included", "")
    show(tables.options_table(options[:_SHOWN_MAX]))
    hint("compute time is taken as the same on every GPU; measure yours and give it with --seconds")
    show("", f"{found.book.gpu.hardware}: cost against waiting", "", tables.options_table(edge))
    show("", f"{found.book.gpu.hardware}: how a client gets its answer", "", tables.designs_table(ways))
    for name, machine in _always_on(found.book, on):
        from_calls = break_even(found.scenario, found.book, machine)
        words = f"from {from_calls:,} calls a month" if from_calls else "never, up to what one worker can compute"
        show("", f"one {name} always on is cheaper {words}")


def _always_on(book: Book, on: date) -> Iterator[tuple[str, Book]]:
    yield book.gpu.hardware, book
    if book.gpu.hardware != "gce/L4":
        yield "gce/L4", book_of("gce/L4", on=on)


def _what_if(found: Forecast, *, as_json: bool) -> None:
    base, swings = tornado(found.scenario, found.book)
    moved = [(shock, shocked(base, shock)) for shock in SHOCKS]
    if as_json:
        named = [{**asdict(swing), "microdollars": _by_factor(swing.microdollars)} for swing in swings]
        show_json({"base_microdollars": base.microdollars, "swings": named, "exposure": exposure(base)})
        return
    show(f"the bill is {tables.money(base.microdollars)} for {base.scenario.days} days", "")
    show(tables.tornado_table([swing for swing in swings if swing.widest(base.microdollars)]))
    show("", "what happened to others, on this bill:")
    for shock, after in moved:
        amount = "nothing of it is on this bill" if after is None else _change(base.microdollars, after)
        show(f"  {shock.on}  {shock.name}: {amount}")
        hint(f"              {shock.source}")
    show("", "what each provider could change overnight:")
    for provider, microdollars in exposure(base).items():
        show(
            f"  {provider}: {tables.money(microdollars)}, {microdollars / max(1, base.microdollars):.0%} of the bill"
        )
        show(f"    leaving: {LEAVING['google' if provider == 'google' else 'gpu']}")


def _by_factor(amounts: dict[Any, int]) -> dict[str, int]:
    return {f"{float(factor):g}": amount for factor, amount in amounts.items()}


def _change(before: int, after: int) -> str:
    return f"{tables.money(after)} ({(after - before) / max(1, before):+.0%})"


def worst(session: Session, *, hardware: str | None, workers: int | None, as_json: bool, **_: Any) -> int:
    """Show the most that can be lost with what is configured; return it for a day."""
    env = {**read_env_file(Path("functions/.env")), **os.environ}
    config, plan = _policy(session)
    book = book_of(hardware or env.get("HARDWARE") or "runpod/AMPERE_16", on=session.now().date())
    account = prices.load(book.provider).account
    workers = workers if workers is not None else (account.workers_max if account else None)
    limit = account.nanodollars_per_hour_max if account else None
    configured = Configured(
        book=book,
        functions=tuple(functions()),
        budget_microdollars_per_day=config.budget_microdollars_per_day,
        budget_microdollars_per_month=config.budget_microdollars_per_month,
        budget_microdollars_per_hour=config.budget_microdollars_per_hour,
        plan_microdollars_per_day=plan,
        workers_max=workers,
        account_microdollars_per_hour=limit // 1000 if limit else None,
        gate_vcpus=1.0,
        requests_per_second=_REQUESTS_PER_SECOND,
        accounts_per_hour=_ACCOUNTS_PER_HOUR,
    )
    _show_worst(configured, as_json=as_json)
    return worst_case(configured).microdollars_per_day


def _show_worst(configured: Configured, *, as_json: bool) -> None:
    found, first = worst_case(configured), remedies(configured)
    if as_json:
        show_json({**asdict(found), "remedies": first, "microdollars_per_day": found.microdollars_per_day})
        return
    binding = found.binding()
    hour, day = tables.money(found.microdollars_per_hour), tables.money(found.microdollars_per_day)
    show(f"with these settings the most that you can lose is {hour} an hour, {day} a day, because")
    show(f"  {binding.name} binds the GPU's bill: {binding.because}", "")
    show(tables.bounds_table(found.gpu_bounds, binding=binding), "", "traffic that is refused costs at most:", "")
    show(tables.bounds_table(found.refused), "")
    show(
        f"what lowers it most: {first[0].setting}, {first[0].change}, "
        f"saves {tables.money(first[0].saved_microdollars_per_day)} a day"
    )
    hint("a worker that starts and gets no job is in no budget; the provider's max workers bounds that")


def _policy(session: Session) -> tuple[GateConfig, int]:
    """Return the configuration in force, and the most that a plan gives one caller a day.

    The starter's stand in where there is no ledger yet, or nothing in it.
    """

    async def read(store: Store) -> tuple[GateConfig, int]:
        document = await store.read("gate/config")
        config = parse(GateConfig, document, "gate/config") if document else STARTER_CONFIG
        names = sorted({f"plans/{name}" for name in config.plans.values()})
        plans = [(path, found) for path in names if (found := await store.read(path))]
        parsed = [parse(Plan, document, path) for path, document in plans] or list(STARTER_PLANS.values())
        return config, max(plan.microdollars_per_day for plan in parsed)

    try:
        return session.run(read)
    except BadInputError as exc:
        hint(f"{exc.message}; the starter budget and plans are taken")
        return STARTER_CONFIG, max(plan.microdollars_per_day for plan in STARTER_PLANS.values())


def actual(session: Session, base: Scenario, *, actual: str, wait_seconds: float, as_json: bool, **_: Any) -> int:
    """Show what the last day or month really cost, beside the forecast; return what a month costs at this pace."""
    until = session.now()
    since = until - timedelta(days=1 if actual == "day" else 30)
    jobs = session.run(lambda store: store.jobs(since=since, until=until, limit=_JOBS_MAX))
    if not jobs:
        hint(f"no jobs in the last {actual}")
        return 0
    if len(jobs) == _JOBS_MAX:
        warn(f"there were more than {_JOBS_MAX:,} jobs; these are the newest")
    since = max(since, jobs[-1].held_at) if len(jobs) == _JOBS_MAX else since
    _show_actual(jobs, base, since, until, wait_seconds=wait_seconds, as_json=as_json)
    return past.actual(jobs, days=(until - since).total_seconds() / 86_400).microdollars_per_month


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
        show("", f"best for these arrivals and a wait of {wait_seconds:g} s:", "", tables.options_table([advice]))


def _write_report(found: Forecast, path: Path, *, on: date, wait_seconds: float) -> None:
    from twohop.cost.report import report

    options = compared(found.scenario, on=on, wait_seconds=wait_seconds, progress=_progress)
    path.write_text(report(found, options, on=on), "utf-8")
    hint(f"wrote {path}")


def _progress(names: Iterable[str]) -> Iterator[str]:
    """Show a bar on a terminal while something long is computed."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from (
        track(list(names), description="simulating", console=console, transient=True)
        if (console.is_terminal)
        else names
    )


def _compiled_hint(scenario: Scenario) -> None:
    if scenario.calls_per_month > 1_000_000:
        click.secho(f"simulating {scenario.calls_per_month:,} calls", err=True, dim=True)
