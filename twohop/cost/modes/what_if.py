"""`twohop cost --what-if`: what moves the bill, what happened to others, and what leaving a provider takes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from twohop.cost import tables
from twohop.cost.forecast import Forecast
from twohop.cost.progress import progress
from twohop.cost.what_if import LEAVING, SHOCKS, exposure, shocked, tornado
from twohop.show import hint, show, show_json


def show_what_if(found: Forecast, *, as_json: bool) -> None:
    """Show every price and assumption halved, doubled and ten times."""
    with progress("every price and assumption"):
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
