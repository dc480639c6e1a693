"""`twohop cost`: the month's bill, and all that is computed from it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from gate import prices
from twohop.cost import tables
from twohop.cost.book import book_of
from twohop.cost.compare import compared
from twohop.cost.forecast import Forecast
from twohop.cost.forecast import forecast as forecast_of
from twohop.cost.modes.compare import show_compare
from twohop.cost.modes.lines import explain, line_json, write_bill
from twohop.cost.modes.what_if import show_what_if
from twohop.cost.progress import progress
from twohop.cost.scenario import Scenario
from twohop.errors import BadInputError
from twohop.session import Session
from twohop.show import hint, show, show_json, warn


def forecast(session: Session, scenario: Scenario, **asked: Any) -> int:
    """Show the month's bill, and what was asked besides."""
    today = session.now().date()
    with progress(f"{scenario.calls_per_month:,} calls"):
        found = forecast_of(scenario, book_of(scenario.hardware, on=today))
    as_json, wait_seconds = asked["as_json"], asked["wait_seconds"]
    if asked["explain"]:
        explain(found.bill, asked["explain"])
    elif asked["html"]:
        _write_report(found, asked["html"], on=today, wait_seconds=wait_seconds)
    elif asked["compare"]:
        forms = {"as_json": as_json, "as_csv": asked["as_csv"], "everything": asked["everything"]}
        show_compare(found, on=today, wait_seconds=wait_seconds, **forms)
    elif asked["what_if"]:
        show_what_if(found, as_json=as_json, as_csv=asked["as_csv"])
    elif asked["as_csv"]:
        write_bill(found.bill)
    elif as_json:
        show_json(_forecast_json(found))
    else:
        _show(found)
    return found.microdollars


def _forecast_json(found: Forecast) -> dict[str, Any]:
    """Return a forecast for a program to read."""
    ran = found.ran
    return {
        "scenario": msgspec.to_builtins(found.scenario),
        "microdollars": found.microdollars,
        "microdollars_per_1000_calls": round(found.dollars_per_thousand * 1e6),
        "gpu_share": round(found.gpu_share, 6),
        "operations_per_call": asdict(found.operations),
        "calls": ran.calls,
        "refused": ran.refused,
        "starts": ran.starts,
        "cold_share": round(ran.cold_share, 6),
        "wait_seconds": {"mean": round(ran.month.wait_mean_seconds, 3), "p95": round(ran.wait_p95_seconds, 3)},
        "lines": [line_json(line) for line in found.bill.lines],
    }


def _show(found: Forecast) -> None:
    show(f"{found.ran.calls:,} calls on {found.book.gpu.hardware}, {found.scenario.design.value}", "")
    show(tables.bill_table(found.bill), "", tables.sources_table(found.bill), "", *tables.summary(found))
    for unpriced in prices.load(found.book.provider).unpriced:
        warn(f"not in this bill: {unpriced.title}; {unpriced.note} ({unpriced.source}, {unpriced.as_of})")
    hint("--explain LINE shows the arithmetic; LINE is one of " + ", ".join(found.bill.names))


def _write_report(found: Forecast, path: Path, *, on: date, wait_seconds: float) -> None:
    from twohop.cost.report import report

    with progress("every provider and GPU") as shown:
        made = compared(found.scenario, on=on, wait_seconds=wait_seconds, progress=shown)
        page = report(found, made, on=on)
    try:
        path.write_text(page, "utf-8")
    except OSError as exc:
        raise BadInputError(f"the report cannot be written to {path}: {exc.strerror}") from exc
    hint(f"wrote {path}")
