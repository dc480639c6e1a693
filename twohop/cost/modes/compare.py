"""`twohop cost --compare`: every provider, GPU and design for the same traffic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import date

from twohop.cost import tables
from twohop.cost.book import book_of
from twohop.cost.break_even import break_even
from twohop.cost.compare import Compared, How, Option, compared
from twohop.cost.forecast import Forecast
from twohop.cost.modes.lines import write_csv
from twohop.cost.progress import progress
from twohop.cost.scenario import Design
from twohop.show import hint, show, show_json

_SHOWN_MAX = 12


def show_compare(
    found: Forecast, *, on: date, wait_seconds: float, everything: bool, as_json: bool, as_csv: bool
) -> None:
    """Show the best ways, the frontier, the designs, and from how many calls on a worker is better kept."""
    with progress("every provider and GPU") as shown:
        made = compared(found.scenario, on=on, wait_seconds=wait_seconds, progress=shown)
        kept = list(_always_on(found, made, on))
    if as_json:
        always = [{"always_on": name, "from_calls_a_month": count} for name, count in kept]
        show_json({"options": made.ways, "frontier": made.frontier, "break_even": always})
        return
    if as_csv:
        write_csv([{**asdict(way), "how": way.how.value} for way in made.ways])
        return
    hardware = made.ways if everything else made.hardware[:_SHOWN_MAX]
    show(f"best settings for a wait of {wait_seconds:g} s (95 of 100 calls), hop 1 included", "")
    show(tables.options_table(hardware, wait_seconds=wait_seconds))
    show("", "the best of each design", "")
    show(tables.options_table(made.designs, wait_seconds=wait_seconds), "", *tables.DESIGNS)
    show("", "cost against waiting: no other way beats these in both", "")
    show(tables.options_table(made.frontier, wait_seconds=wait_seconds), "")
    show(f"from how many calls a month one GPU that is always on beats {found.book.gpu.hardware}:", "")
    show(tables.break_even_table(kept))
    if not everything:
        hint(f"--all shows all {len(made.ways)} ways")
    hint("compute time is taken as the same on every GPU; measure yours and give it with --seconds")


def _always_on(found: Forecast, made: Compared, on: date) -> Iterator[tuple[str, int | None]]:
    """Yield each kind of always-on worker with the number of calls from which it has the lower bill."""
    own, design = found.book.gpu.hardware, found.scenario.design
    yield f"{own}, kept on; {design.value}", break_even(found.scenario, found.book, found.book)
    for how in (How.ALWAYS_ON, How.MACHINE):
        for its in (design, Design.DIRECT):
            best = _cheapest(made, how, its)
            kept = book_of(best.hardware, on=on)
            yield f"{best.hardware}, {how}; {its.value}", break_even(found.scenario, found.book, kept, design=its)


def _cheapest(made: Compared, how: How, design: Design) -> Option:
    return min(
        (way for way in made.ways if way.how is how and way.design is design),
        key=lambda way: way.microdollars / way.workers_max,
    )
