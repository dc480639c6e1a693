"""The table of a proof: a line as soon as its case has ended, within 80 columns, no number cut short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twohop.prove.outcome import Outcome
from twohop.show import dollars

_NAME_WIDTH = 26
_WIDTHS = (8, 8, 8, 7, 4, 9)
_HEADS = ("budget", "billed", "above", "once", "left", "ops")
_LEGEND = """\
budget, billed   what may be spent in a day, and what the cloud billed, in dollars
above            the ledger less the bill
once, left       jobs that were settled once, of all that were admitted; holds left
ops              commits of a hold, of a settlement, reads on the way, looks"""


def legend() -> str:
    """Return what the columns mean."""
    return _LEGEND


def head() -> str:
    """Return the line above the table."""
    return _line("what goes wrong", _HEADS, "ok")


def rows(outcome: Outcome) -> Iterator[str]:
    """Yield an outcome's line, and further lines if its name takes more than one."""
    first, *rest = _broken(outcome.case)
    money = (outcome.budget, outcome.billed, outcome.ledger - outcome.billed)
    cells = [dollars(amount).replace("$", "") for amount in money]
    cells += [f"{outcome.jobs - outcome.holds_left}/{outcome.jobs}", str(outcome.holds_left), _operations(outcome)]
    yield _line(first, cells, "no" if outcome.complaints else "yes")
    yield from (f"  {line}" for line in rest)


def _broken(name: str) -> list[str]:
    """A pair that is too long for a line is one fault a line."""
    return [name] if len(name) <= _NAME_WIDTH else name.replace(" + ", " +\n").split("\n")


def _line(name: str, cells: Sequence[str], held: str) -> str:
    columns = [f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)]
    return " ".join([f"{name:<{_NAME_WIDTH}}", *columns, held])


def _operations(outcome: Outcome) -> str:
    if not outcome.hold_commits:
        return ""  # They were not counted.
    return f"{outcome.hold_commits}+{outcome.settle_commits}+{outcome.hot_reads}+{outcome.looks}"
