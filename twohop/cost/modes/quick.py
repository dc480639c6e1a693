"""`twohop cost --quick`: the bill by formula, at once."""

from __future__ import annotations

from typing import Any

from twohop.cost import tables
from twohop.cost.book import book_of
from twohop.cost.closed_form import quick_forecast
from twohop.cost.forecast import rules_of
from twohop.cost.modes.lines import explain, line_json, write_bill
from twohop.cost.scenario import Scenario
from twohop.session import Session
from twohop.show import hint, show, show_json

_LOAD_EXACT = 0.5


def quick(session: Session, scenario: Scenario, *, as_json: bool, as_csv: bool, **asked: Any) -> int:
    """Show the month's bill by formula, and for whom the formula is exact."""
    book = book_of(scenario.hardware, on=session.now().date())
    found = quick_forecast(scenario, book, rules_of(scenario, book))
    if asked["explain"]:
        explain(found.bill, asked["explain"])
    elif as_csv:
        write_bill(found.bill)
    elif as_json:
        lines = [line_json(line) for line in found.bill.lines]
        show_json({"microdollars": found.bill.microdollars, "cold_share": found.cold_share, "lines": lines})
    else:
        show(f"{scenario.calls_per_month:,} calls on {book.gpu.hardware}, {scenario.design.value}, by formula", "")
        show(tables.bill_table(found.bill), "", tables.sources_table(found.bill), "")
        show(f"waiting: mean {found.wait_mean_seconds:.1f} s; {found.cold_share:.1%} of the calls start a worker")
        hint(_limits(scenario, found.load))
    return found.bill.microdollars


def _limits(scenario: Scenario, load: float) -> str:
    wrong = []
    if scenario.cv != 1:
        wrong.append(f"yours come in clusters (variation {scenario.cv:g})")
    if load > _LOAD_EXACT and scenario.workers_max > 1:
        wrong.append(f"yours keep {load:.1f} workers busy")
    if not wrong:
        return "exact for calls by chance that one worker serves; leave --quick out to simulate them"
    return "exact for calls by chance that one worker serves, but " + " and ".join(wrong) + ": leave --quick out"
