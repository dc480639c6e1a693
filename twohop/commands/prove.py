"""`twohop prove`: the ceiling, tried against everything that can go wrong with the ledger and with the GPU cloud."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import click

from twohop.cloud.virtual import run_virtual
from twohop.prove.cases import NOTHING, SINGLE, pairs
from twohop.prove.crashes import crash_points, kill_at
from twohop.prove.drive import Case, drive
from twohop.prove.outcome import Outcome
from twohop.prove.stores import check_store, open_store
from twohop.show import Column, dollars, show, table, warn


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """How each case is driven."""

    callers: int
    shards: int
    ledger: str


@click.command()
@click.option("--callers", default=40, show_default=True, help="How many ask at once.")
@click.option("--seed", default=1, show_default=True, help="Of everything that is drawn.")
@click.option("--pairs", "with_pairs", is_flag=True, help="All pairs of faults as well.")
@click.option("--minutes", default=0.0, help="Go on with further seeds for so long.")
@click.option("--ledger", type=click.Choice(["sqlite", "firestore"]), default="sqlite", show_default=True)
@click.option("--shards", type=click.IntRange(1, 100), default=1, show_default=True, help="Of the budget.")
@click.option("--kills/--no-kills", default=True, help="Kill hop 1 at each step as well; on SQLite.")
@click.option("--processes", type=click.IntRange(1), default=os.cpu_count(), help="How many cases run at once.")
def prove(
    *,
    callers: int,
    seed: int,
    with_pairs: bool,
    minutes: float,
    ledger: str,
    shards: int,
    kills: bool,
    processes: int,
) -> None:
    """Use up a day's budget while things go wrong, and hold the ledger to the fake cloud's bill.

    On a clock that jumps, with a SQLite ledger in a temporary folder, or with the Firestore emulator that
    FIRESTORE_EMULATOR_HOST names; nothing outside this machine is touched. Before that, a process of hop 1 is killed
    at each step between two writes, over the fake cloud in real time, and started again. Exits with 1 if the budget
    was exceeded by a micro-dollar, a job was billed or run twice, a hold was left behind, a caller was refused while
    a hundredth of the budget was free, or a job took more Firestore operations than it should.
    """
    check_store(ledger)
    cases = [NOTHING, *SINGLE, *(pairs() if with_pairs else [])]
    run = _Run(callers=callers, shards=shards, ledger=ledger)
    until = time.monotonic() + minutes * 60
    outcomes = list(_killed(processes)) if kills and ledger == "sqlite" else []
    for this_seed in count(seed):
        outcomes += _outcomes(run, cases, this_seed, processes)
        if time.monotonic() >= until:
            break
    _show(outcomes)
    sys.exit(any(outcome.complaints for outcome in outcomes))


def _killed(processes: int) -> Iterator[Outcome]:
    """Yield what came of each point at which hop 1 can die."""
    points = asyncio.run(crash_points())
    with ThreadPoolExecutor(processes) as pool:  # The processes are hop 1's own.
        yield from pool.map(lambda point: asyncio.run(kill_at(point)), points)


def _outcomes(run: _Run, cases: Sequence[Case], seed: int, processes: int) -> Iterator[Outcome]:
    """Yield what came of the cases, in their order."""
    if processes == 1:
        yield from (_outcome(run, case, seed) for case in cases)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_outcome, [run] * len(cases), cases, [seed] * len(cases))


def _outcome(run: _Run, case: Case, seed: int) -> Outcome:
    return run_virtual(_driven(run, case, seed))


async def _driven(run: _Run, case: Case, seed: int) -> Outcome:
    async with open_store(run.ledger) as store:
        return await drive(case, seed=seed, callers=run.callers, shards=run.shards, store=store)


def _show(outcomes: Sequence[Outcome]) -> None:
    made = table(
        Column(name="what goes wrong"),
        Column(name="budget", number=True),
        Column(name="billed", number=True),
        Column(name="ledger", number=True),
        Column(name="above", number=True),
        Column(name="jobs", number=True),
        Column(name="left", number=True),
        Column(name="ops", number=True),
        Column(name="ok"),
        caption="in dollars; above: the ledger less the bill; left: holds that are left; "
        "ops: a hold's commits, a settlement's, reads on the way, looks while it runs",
    )
    for outcome in outcomes:
        amounts = (outcome.budget, outcome.billed, outcome.ledger, outcome.ledger - outcome.billed)
        counts = (f"{outcome.jobs:,}", f"{outcome.holds_left:,}")
        held = "no" if outcome.complaints else "yes"
        money = (dollars(amount).replace("$", "") for amount in amounts)
        made.add_row(outcome.case, *money, *counts, _operations(outcome), held)
    made.columns[0].no_wrap = False  # A name may take two lines; a number that is cut short proves nothing.
    show(made)
    for outcome in outcomes:
        for complaint in outcome.complaints:
            warn(f"{outcome.case}: {complaint}")


def _operations(outcome: Outcome) -> str:
    if not outcome.hold_commits:
        return ""  # They were not counted.
    return f"{outcome.hold_commits}+{outcome.settle_commits}+{outcome.hot_reads}+{outcome.looks}"
