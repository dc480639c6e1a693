"""A bill's lines in the forms that are no table: explained, for a program, as CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from twohop.cost.bill import Bill, Line
from twohop.errors import BadInputError
from twohop.show import show


def explain(bill: Bill, name: str) -> None:
    """Show the arithmetic of one line.

    Raises:
        BadInputError: there is no such line; the reason names all that there are.
    """
    if name not in bill.names:
        raise BadInputError(f"there is no line {name!r}; lines: {', '.join(bill.names)}")
    show(bill.line(name).explained())


def line_json(line: Line) -> dict[str, Any]:
    """Return a line for a program to read."""
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


def write_bill(bill: Bill) -> None:
    """Write the bill to stdout as CSV."""
    write_csv([line_json(line) for line in bill.lines])


def write_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the same fields to stdout."""
    writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
