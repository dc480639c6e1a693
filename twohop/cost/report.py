"""The report: one HTML file with its charts in it, that needs no network and no script, in light and in dark.

matplotlib draws each chart as SVG; ink, grid and bars are written as CSS variables, so that the page's theme colours
them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from twohop.cost.book import GPU
from twohop.cost.compare import Compared, How, Option, smaller
from twohop.cost.forecast import Forecast, changed, forecast
from twohop.cost.shocks import SHOCKS
from twohop.cost.tables import money, short, summary
from twohop.cost.what_if import FACTORS, Swing, exposure, leaving, shocked, tornado

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _GRID, _BAR, _ACCENT = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {_INK: "var(--ink)", _GRID: "var(--grid)", _BAR: "var(--bar)", _ACCENT: "var(--accent)"}
"""Colours that nobody would choose stand for the theme's, until the SVG is written."""
_HYPHEN = "\u2011"
"""One at which no line breaks."""
_OPTIONS_SHOWN = 15
_SWINGS_SHOWN = 8
_CURVE = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def report(found: Forecast, made: Compared, *, on: date) -> str:
    """Return the report as HTML."""
    base, swings = tornado(found.scenario, found.book)
    edge = made.frontier
    sections = [
        ("The bill by line", _chart(_bars, found), _bill(found)),
        ("Cost against waiting", _chart(_frontier, edge), _options(edge, numbered=True)),
        ("The best of each design", "", _options(made.designs)),
        ("What moves the bill", _chart(_tornado, base.microdollars, swings), _swings(swings[:_SWINGS_SHOWN])),
        ("What happened to others, on this bill", "", _shocks(base)),
        ("What each provider could change overnight", "", _exposure(base)),
        ("Calls against cost", _chart(_curve, found), ""),
        (
            "Every provider, best settings first",
            "",
            _options(made.hardware[:_OPTIONS_SHOWN]),
        ),
    ]
    body = "\n".join(f"<section><h2>{escape(title)}</h2>{chart}{rest}</section>" for title, chart, rest in sections)
    page = files("twohop.cost").joinpath("report.html").read_text("utf-8")
    heading = f"{money(found.microdollars)} a month"
    facts = "".join(f"<li>{escape(line)}</li>" for line in summary(found))
    scenario = f"{found.scenario.calls_per_month:,} calls on {found.book.gpu.hardware}, {found.scenario.design.value}"
    values = {"HEADING": heading, "SCENARIO": scenario, "FACTS": facts, "BODY": body, "DATE": f"{on}"}
    for name, value in values.items():
        page = page.replace(f"{{{{{name}}}}}", value if name in ("FACTS", "BODY") else escape(value))
    return page


def _chart(draw: Any, *args: Any) -> str:
    """Return a figure that `draw` fills, as SVG whose colours are the page's."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {  # matplotlib types every key, and a table of them is just a dict here
        "svg.fonttype": "none",
        "svg.hashsalt": "twohop",
        "font.family": "sans-serif",
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _GRID,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        draw(axes, *args)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    svg = written.getvalue()
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return "<figure>" + svg[svg.index("<svg") :] + "</figure>"


def _bars(axes: Axes, found: Forecast) -> None:
    lines = sorted((line for line in found.bill.lines if line.microdollars), key=lambda line: line.microdollars)
    costs = [line.microdollars / 1e6 for line in lines]
    bars = axes.barh([line.title for line in lines], costs, color=_BAR)
    axes.bar_label(bars, labels=[money(line.microdollars) for line in lines], padding=4)
    axes.set_xlim(right=max(costs) * 1.15)
    axes.set_xlabel("dollars a month")


def _frontier(axes: Axes, edge: Sequence[Option]) -> None:
    costs = [one.microdollars / 1e6 for one in edge]
    waits = [one.wait_mean_seconds for one in edge]
    axes.plot(costs, waits, color=_GRID, zorder=1)
    axes.scatter(costs, waits, color=_ACCENT, zorder=2)
    for number, (cost, wait) in enumerate(zip(costs, waits, strict=True), start=1):
        axes.annotate(str(number), (cost, wait), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=9)
    axes.set_ylim(bottom=0, top=max(waits) * 1.25 or 1)
    axes.set_xlabel("dollars a month")
    axes.set_ylabel("mean wait for a worker, s")


def _tornado(axes: Axes, base: int, swings: Sequence[Swing]) -> None:
    shown = [swing for swing in swings if swing.widest(base)][:_SWINGS_SHOWN][::-1]
    names = [_name(swing) for swing in shown]
    centre = base / 1e6
    for factor, colour in ((Fraction(2), _ACCENT), (Fraction(1, 2), _BAR)):
        widths = [swing.microdollars[factor] / 1e6 - centre for swing in shown]
        axes.barh(names, widths, left=centre, color=colour, label=f"x {float(factor):g}")
    axes.axvline(centre, color=_INK, linewidth=1)
    axes.legend(frameon=False, loc="lower right")
    axes.set_xlabel("dollars a month")


def _curve(axes: Axes, found: Forecast) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    sized = smaller(found.scenario)
    counts, costs = [], []
    for factor in _CURVE:
        count = max(1, round(sized.calls_per_month * factor))
        one = forecast(changed(sized, calls_per_month=count, trace=None), found.book)
        counts.append(found.scenario.calls_per_month * factor)
        costs.append(one.microdollars / 1e6 * 30 / sized.days)
    axes.plot(counts, costs, color=_ACCENT, marker="o")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, words in ((axes.xaxis, "{:,.0f}"), (axes.yaxis, "${:,.2g}" if max(costs) < 10 else "${:,.0f}")):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _, words=words: words.format(value)))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("calls a month, the same settings")
    axes.set_ylabel("dollars a month")
    axes.grid(visible=True, color=_GRID, linewidth=0.5)


def _bill(found: Forecast) -> str:
    head = ("line", "quantity", "unit", "dollars a unit", "free", "cost", "price read", "source")
    rows = [
        (
            line.title,
            short(line.quantity),
            line.unit,
            f"{float(line.nanodollars) / 1e9:.9f}".rstrip("0").rstrip("."),
            short(line.free) if line.free else "",
            money(line.microdollars),
            f"{line.as_of}".replace("-", _HYPHEN),
            line.source,
        )
        for line in found.bill.lines
    ]
    return _table(head, rows)


def _options(options: Sequence[Option], *, numbered: bool = False) -> str:
    head = ("hardware", "how", "design", "a month", "mean wait", "95 of 100", "idle timeout", "max workers")
    rows = [
        (
            f"{number}. {one.hardware}" if numbered else one.hardware,
            one.how.value,
            one.design.value,
            money(one.microdollars),
            f"{one.wait_mean_seconds:.1f} s",
            f"{one.wait_p95_seconds:.1f} s",
            f"{one.idle_seconds:g} s" if one.how is How.SERVERLESS else "",
            f"{one.workers_max}",
        )
        for number, one in enumerate(options, start=1)
    ]
    return _table(head, rows)


def _swings(swings: Sequence[Swing]) -> str:
    rows = [(_name(swing), *(money(swing.microdollars[factor]) for factor in FACTORS)) for swing in swings]
    return _table(("the bill with", *(f"x {float(factor):g}" for factor in FACTORS)), rows)


def _name(swing: Swing) -> str:
    return GPU.upper() if swing.name == GPU else swing.name


def _shocks(base: Forecast) -> str:
    rows = []
    for shock in SHOCKS:
        after = shocked(base, shock)
        moves = after is not None and after != base.microdollars
        on = f"{shock.on}".replace("-", _HYPHEN)
        rows.append((on, shock.name, money(after) if after and moves else "not moved", f"{shock.source}"))
    return _table(("on", "what happened", "the bill", "who says so"), rows)


def _exposure(base: Forecast) -> str:
    rows = [
        (name, money(amount), f"{amount / max(1, base.microdollars):.0%}", leaving(name))
        for name, amount in exposure(base).items()
    ]
    return _table(("who", "of the bill", "share", "what leaving takes"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{titles}</tr></thead><tbody>{cells}</tbody></table></div>"
