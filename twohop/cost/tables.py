"""How forecasts look on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction

from rich.table import Table
from rich.text import Text

from twohop.cost.assumed import REASONS, Assumed
from twohop.cost.bill import Bill, number
from twohop.cost.book import GPU
from twohop.cost.bound import Bound
from twohop.cost.compare import How, Option
from twohop.cost.forecast import Forecast
from twohop.cost.shocks import Shock
from twohop.cost.what_if import FACTORS, Swing
from twohop.show import Column, table

_NANODOLLARS_PER_DOLLAR = 10**9


def money(microdollars: float) -> str:
    """Return dollars with two decimals, or more where two would say nothing."""
    value = microdollars / 1e6
    if value >= 0.01 or value == 0:
        return f"${value:,.2f}"
    return f"${value:.4f}" if value >= 0.0001 else f"${value:.6f}"


def bill_table(bill: Bill) -> Table:
    """Return the bill, a line a thing that costs; the last column counts the sources of its price."""
    made = table(
        Column(name="line", total="month"),
        Column(name="quantity", number=True),
        Column(name="unit", may_shrink=True),
        Column(name="$ a unit", number=True),
        Column(name="free", number=True),
        Column(name="cost", number=True, total=money(bill.microdollars)),
        Column(name="", number=True),
    )
    sources = _sources(bill)
    for line in bill.lines:
        rate = f"{float(line.nanodollars) / _NANODOLLARS_PER_DOLLAR:.8f}".rstrip("0").rstrip(".")
        free = short(line.free) if line.free else ""
        unit = line.unit.replace("-month", "-mo")
        cells = (line.title, short(line.quantity), unit, rate, free, money(line.microdollars))
        number_ = sources.index((line.as_of, line.source)) + 1
        made.add_row(*cells, f"[{number_}]", style=None if line.microdollars else "dim")
    return made


def sources_table(bill: Bill) -> Table:
    """Return who said each price, and on which day it was read."""
    made = table(Column(name=""), Column(name="read on"), Column(name="source of the price", may_shrink=True))
    for number_, (as_of, source) in enumerate(_sources(bill), start=1):
        made.add_row(f"[{number_}]", f"{as_of}", source)
    return made


def _sources(bill: Bill) -> list[tuple[date, str]]:
    return list(dict.fromkeys((line.as_of, line.source) for line in bill.lines))


def short(value: Fraction) -> str:
    """Return a quantity in few characters."""
    number_ = float(value)
    if number_ >= 1e6:
        return f"{number_ / 1e6:,.2f}M"
    return f"{number_:,.0f}" if number_ >= 100 else number(Fraction(round(number_, 3)).limit_denominator(1000))


def summary(found: Forecast) -> list[str]:
    """Return what else the owner wants to know of the month."""
    ran, does = found.ran, found.operations
    lines = [
        f"{money(found.dollars_per_thousand * 1e6)} per 1000 calls; {found.gpu_share:.0%} of the bill is the GPU's",
        f"a call: {does.invocations:g} invocation{'s' * (does.invocations != 1)}; in Firestore {does.writes} writes, "
        f"{does.reads:.1f} reads, 1 deletion by TTL",
        f"waiting for a worker: mean {ran.month.wait_mean_seconds:.1f} s, 95 of 100 at most "
        f"{ran.wait_p95_seconds:.1f} s; {ran.cold_share:.1%} of the calls meet a cold start",
    ]
    if ran.useful_seconds:
        factor = ran.billed_seconds / ran.useful_seconds
        lines.append(f"billed {factor:.2f} times the useful seconds, with {ran.starts:,} worker starts")
    if ran.refused:
        lines.append(f"{ran.refused:,} calls are given up: more workers, or a longer wait, would serve them")
    return lines


def options_table(options: Sequence[Option], *, wait_seconds: float) -> Table:
    """Return ways to serve the traffic. A wait that is longer than what was asked for has a star."""
    late = [one for one in options if not one.within(wait_seconds)]
    made = table(
        Column(name="hardware", may_shrink=True),
        Column(name="how"),
        Column(name="design"),
        Column(name="a month", number=True),
        Column(name="wait", number=True),
        Column(name="p95", number=True),
        Column(name="idle", number=True),
        Column(name="max", number=True),
        caption="* longer than asked, or calls are given up" if late else "",
    )
    for one in options:
        idle = f"{one.idle_seconds:g} s" if one.how is How.SERVERLESS else "-"
        waits = (f"{one.wait_mean_seconds:.1f} s", f"{'*' * (one in late)}{one.wait_p95_seconds:.1f} s")
        cells = (one.how.value, one.design.value, money(one.microdollars), *waits, idle, str(one.workers_max))
        made.add_row(one.hardware, *cells, style="dim" if one in late else None)
    return made


DESIGNS = (
    "hold: the function holds the call until its answer is there",
    "poll: the client asks a function again and again",
    "webhook: the provider calls a function back, the client listens to Firestore",
    "direct: FastAPI on the GPU itself; no hop 1, so no sign-in and no limits",
)


def break_even_table(found: Sequence[tuple[str, int | None]]) -> Table:
    """Return from how many calls a month each always-on worker has the lower bill."""
    made = table(Column(name="always on", may_shrink=True), Column(name="from calls a month", number=True))
    for name, count in found:
        made.add_row(name, f"{count:,}" if count else "never, up to what one computes")
    return made


def tornado_table(swings: Sequence[Swing]) -> Table:
    """Return what each price and assumption does to the bill."""
    made = table(
        Column(name="what", may_shrink=True),
        Column(name="is"),
        *(Column(name=f"x {float(factor):g}", number=True) for factor in FACTORS),
    )
    for swing in swings:
        kind = "a price" if swing.is_price else "an assumption"
        name = GPU.upper() if swing.name == GPU else swing.name
        made.add_row(name, kind, *(money(swing.microdollars[factor]) for factor in FACTORS))
    return made


def shocks_table(moved: Sequence[tuple[Shock, int | None]], *, base: int) -> Table:
    """Return what happened to others with its source, and this bill after it; None where it is not on this bill."""
    made = table(
        Column(name="on"),
        Column(name="what happened, who says so", may_shrink=True),
        Column(name="the bill", number=True),
        Column(name="change", number=True),
    )
    for shock, after in moved:
        told = Text.assemble(shock.name, "\n", (f"{shock.source}", "dim"))
        if after is None or after == base:
            made.add_row(f"{shock.on}", told, "", "none")
        else:
            made.add_row(f"{shock.on}", told, money(after), f"{(after - base) / max(1, base):+.1%}")
    return made


def exposure_table(parts: Mapping[str, int], *, leaving: Mapping[str, str]) -> Table:
    """Return how much of the bill each provider could change overnight, and what leaving it takes."""
    made = table(
        Column(name="provider"),
        Column(name="of the bill", number=True),
        Column(name="share", number=True),
        Column(name="what leaving takes", may_shrink=True),
    )
    whole = max(1, sum(parts.values()))
    for provider, microdollars in parts.items():
        made.add_row(provider, money(microdollars), f"{microdollars / whole:.0%}", leaving[provider])
    return made


def bounds_table(bounds: Sequence[Bound], *, binding: Bound | None = None) -> Table:
    """Return limits with what each allows."""
    made = table(
        Column(name="limit", may_shrink=True),
        Column(name="an hour", number=True),
        Column(name="a day", number=True),
        Column(name="because", may_shrink=True),
    )
    for one in bounds:
        cells = (one.name, money(one.microdollars_per_hour), money(one.microdollars_per_day), one.because)
        made.add_row(*cells, style="bold" if one is binding else None)
    return made


def assumed_table(assumed: Assumed) -> Table:
    """Return what the worst case takes for granted."""
    made = table(Column(name="assumption"), Column(name="is", number=True), Column(name="why", may_shrink=True))
    for name, why in REASONS.items():
        made.add_row(name, f"{getattr(assumed, name):,}", why)
    return made
