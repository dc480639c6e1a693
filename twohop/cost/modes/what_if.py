"""`twohop cost --what-if`: what moves the bill, what happened to others, and what leaving a provider takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from twohop.cost import tables
from twohop.cost.forecast import Forecast
from twohop.cost.modes.lines import write_csv
from twohop.cost.progress import progress
from twohop.cost.shocks import SHOCKS, Shock
from twohop.cost.what_if import Swing, exposure, leaving, shocked, tornado
from twohop.show import show, show_json


def show_what_if(found: Forecast, *, as_json: bool, as_csv: bool) -> None:
    """Show every price and assumption halved, doubled and ten times."""
    with progress("every price and assumption"):
        base, swings = tornado(found.scenario, found.book)
    moved = [(shock, shocked(base, shock)) for shock in SHOCKS]
    if as_json:
        show_json(_json(base, swings, moved))
        return
    if as_csv:
        rows = [{"name": swing.name, "is_price": swing.is_price, **_columns(swing)} for swing in swings]
        write_csv(rows)
        return
    moving = [swing for swing in swings if swing.widest(base.microdollars)]
    still = [swing.name for swing in swings if not swing.widest(base.microdollars)]
    show(f"the bill is {tables.money(base.microdollars)} for {base.scenario.days} days", "")
    show(tables.tornado_table(moving), *([f"nothing changes with: {', '.join(still)}"] if still else []))
    show("", "what happened to others, on this bill", "", tables.shocks_table(moved, base=base.microdollars))
    parts = exposure(base)
    takes = {provider: leaving(provider) for provider in parts}
    show("", "what each provider could change overnight", "", tables.exposure_table(parts, leaving=takes))


def _json(base: Forecast, swings: Sequence[Swing], moved: Sequence[tuple[Shock, int | None]]) -> dict[str, Any]:
    named = [{**asdict(swing), "microdollars": _by_factor(swing.microdollars)} for swing in swings]
    shocks = [
        {"name": shock.name, "on": shock.on, "source": asdict(shock.source), "microdollars": after}
        for shock, after in moved
    ]
    parts = exposure(base)
    return {
        "base_microdollars": base.microdollars,
        "swings": named,
        "shocks": shocks,
        "exposure": parts,
        "leaving": {provider: leaving(provider) for provider in parts},
    }


def _columns(swing: Swing) -> dict[str, int]:
    return {f"microdollars_x_{name}": amount for name, amount in _by_factor(swing.microdollars).items()}


def _by_factor(amounts: dict[Any, int]) -> dict[str, int]:
    return {f"{float(factor):g}": amount for factor, amount in amounts.items()}
