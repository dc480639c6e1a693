"""`twohop prove`: the ceiling, tried against everything that can go wrong with the ledger and with the GPU cloud."""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import count
from pathlib import Path

import click

from twohop.cloud.virtual import run_virtual
from twohop.prove.cases import NOTHING, SINGLE, pairs
from twohop.prove.drive import Case, Outcome, drive
from twohop.show import Column, dollars, show, table, warn


@click.command()
@click.option("--callers", default=40, show_default=True, help="How many ask at once.")
@click.option("--seed", default=1, show_default=True, help="Of everything that is drawn.")
@click.option("--pairs", "with_pairs", is_flag=True, help="All pairs of faults as well.")
@click.option("--minutes", default=0.0, help="Go on with further seeds for so long.")
def prove(callers: int, seed: int, with_pairs: bool, minutes: float) -> None:
    """Use up a day's budget while things go wrong, and hold the ledger to the fake cloud's bill.

    On a clock that jumps, with a SQLite ledger in a temporary folder; nothing outside this machine is touched. Exits
    with 1 if the budget was exceeded by a micro-dollar, a job was billed twice, a hold was left behind, or a caller
    was refused while a hundredth of the budget was free.
    """
    cases = [NOTHING, *SINGLE, *(pairs() if with_pairs else [])]
    until = time.monotonic() + minutes * 60
    outcomes: list[Outcome] = []
    for this_seed in count(seed):
        outcomes += [_run(case, this_seed, callers) for case in cases]
        if time.monotonic() >= until:
            break
    _show(outcomes)
    sys.exit(any(outcome.complaints for outcome in outcomes))


def _run(case: Case, seed: int, callers: int) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return run_virtual(drive(case, seed=seed, callers=callers, path=str(Path(folder) / "ledger.sqlite3")))


def _show(outcomes: list[Outcome]) -> None:
    made = table(
        Column(name="what goes wrong"),
        Column(name="budget", number=True),
        Column(name="billed", number=True),
        Column(name="ledger", number=True),
        Column(name="above", number=True),
        Column(name="jobs", number=True),
        Column(name="left", number=True),
        Column(name="ok"),
        caption="in dollars; above: the ledger less the bill; left: holds that are left",
    )
    for outcome in outcomes:
        amounts = (outcome.budget, outcome.billed, outcome.ledger, outcome.ledger - outcome.billed)
        counts = (f"{outcome.jobs:,}", f"{outcome.holds_left:,}")
        is_kept = "no" if outcome.complaints else "yes"
        made.add_row(outcome.case, *(dollars(amount).replace("$", "") for amount in amounts), *counts, is_kept)
    made.columns[0].no_wrap = False  # A name may take two lines; a number that is cut short proves nothing.
    show(made)
    for outcome in outcomes:
        for complaint in outcome.complaints:
            warn(f"{outcome.case}: {complaint}")
