"""`twohop prove`: the ceiling, tried against everything that can go wrong with the ledger and with the GPU cloud."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from time import monotonic as _now

import click

from twohop.cloud.virtual import run_virtual
from twohop.errors import BadInputError
from twohop.prove.case import NOTHING, Case
from twohop.prove.cases import SINGLE, pairs
from twohop.prove.crashes import KILLED_CALLERS, crash_points, kill
from twohop.prove.drive import drive
from twohop.prove.kills import kills as all_kills
from twohop.prove.outcome import Outcome
from twohop.prove.stores import check_store, open_store
from twohop.prove.table import head, legend, rows
from twohop.show import hint, warn

_KILLED = "killed"
"""What the name of every kill begins with."""
_KILLS_A_PROCESS = 3
"""They wait, most of their time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """How each case is driven."""

    callers: int
    shards: int
    ledger: str
    overlap: bool


@click.command()
@click.option("--callers", type=click.IntRange(1), default=40, show_default=True, help="How many ask at once.")
@click.option("--seed", default=1, show_default=True, help="Of everything that is drawn.")
@click.option("--pairs", "with_pairs", is_flag=True, help="All pairs of faults as well.")
@click.option("--only", metavar="TEXT", help="Only those whose name has this in it, of the pairs too.")
@click.option("--minutes", default=0.0, help="Go on for so long with further seeds, each to its end.")
@click.option("--ledger", type=click.Choice(["sqlite", "firestore"]), default="sqlite", show_default=True)
@click.option("--shards", type=click.IntRange(1, 100), default=1, show_default=True, help="Of the budget.")
@click.option("--overlap", is_flag=True, help="Let calls to the ledger overlap: parallel, and different each time.")
@click.option("--kills/--no-kills", default=True, help="Kill hop 1 at each step as well.")
@click.option("--processes", type=click.IntRange(1), default=os.cpu_count(), help="How many cases run at once.")
def prove(
    *,
    callers: int,
    seed: int,
    with_pairs: bool,
    only: str | None,
    minutes: float,
    ledger: str,
    shards: int,
    overlap: bool,
    kills: bool,
    processes: int,
) -> None:
    """Use up a day's budget while things go wrong, and hold the ledger to the fake cloud's bill.

    On a clock that jumps, with a SQLite ledger in a temporary folder, or with the Firestore emulator that
    FIRESTORE_EMULATOR_HOST names; nothing outside this machine is touched. Before that, a process of hop 1 that
    serves several callers is killed at each step between two writes, in real time, and started again. Exits with 1
    if the budget was exceeded by a micro-dollar, a job was billed or run twice, a hold was left behind, a counter is
    not what the jobs add up to, a caller was refused while a hundredth of the budget was free, or a job took more
    Firestore operations than it should.
    """
    check_store(ledger)
    until = _now() + minutes * 60
    all_cases = [NOTHING, *SINGLE, *(pairs() if with_pairs or only else [])]
    cases = [case for case in all_cases if (only or "") in case.name]
    if not cases and not (kills and only and only.startswith(_KILLED)):
        raise BadInputError(f"--only {only}: no such fault; there are {', '.join(case.name for case in SINGLE)}")
    run = _Run(callers=callers, shards=shards, ledger=ledger, overlap=overlap)
    hint(legend())
    click.echo(head())
    held = not kills or _tell(_killed(ledger, seed, with_pairs, only, processes), "")
    for this_seed in count(seed):
        again = "" if seed == this_seed else f"seed {this_seed}"
        if again:
            click.echo(again)
        held &= _tell(_outcomes(run, cases, this_seed, processes), again and f"{again}: ")
        if _now() >= until or not cases:
            break
    sys.exit(not held)


def _tell(outcomes: Iterable[Outcome], again: str) -> bool:
    """Write a line as each case ends, and what of it did not hold. Return whether all held."""
    held = True
    for outcome in outcomes:
        for line in rows(outcome):
            click.echo(line)
        for complaint in outcome.complaints:
            warn(f"{again}{outcome.case}: {complaint}")
        held &= not outcome.complaints
    return held


def _killed(ledger: str, seed: int, with_pairs: bool, only: str | None, processes: int) -> Iterator[Outcome]:
    """Yield what came of each point at which hop 1 can die."""
    points = asyncio.run(crash_points(ledger, KILLED_CALLERS))
    found = all_kills(points, ledger=ledger, seed=seed, pairs=with_pairs or only is not None)
    wanted = [one for one in found if (only or "") in one.name]
    if only and only.startswith(_KILLED) and not wanted:
        raise BadInputError(f"--only {only}: no such kill; there are {found[0].name}, {found[1].name} and more")
    with ThreadPoolExecutor(_KILLS_A_PROCESS * processes) as pool:  # The processes are hop 1's own.
        yield from pool.map(lambda one: asyncio.run(kill(one)), wanted)


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
    async with open_store(run.ledger, overlap=run.overlap) as store:
        return await drive(case, seed=seed, callers=run.callers, shards=run.shards, store=store)
