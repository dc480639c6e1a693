"""What an accepted job costs in Firestore: round trips and operations, counted between hop 1 and the emulator."""

from __future__ import annotations

import asyncio
import os

from bench.clients import ask
from bench.live import BenchError
from infra.bench import firestore
from infra.bench.findings import Finding, Goal, table
from infra.bench.gates import hop1, say
from infra.bench.identity import PROJECT
from infra.bench.proxy import Counted, counting
from infra.bench.run import Run
from infra.bench.standing import standing, surroundings

_JOBS = 100


def measure(run: Run) -> Finding:
    """Count what a hundred accepted jobs of one caller do."""
    emulator = firestore.emulator()
    os.environ["FIRESTORE_EMULATOR_HOST"] = emulator
    asyncio.run(firestore.write_policies(PROJECT))
    with (
        counting(emulator) as (host, counted),
        surroundings(run.work("operations"), callers=1, cores=run.cores) as around,
    ):
        gate = hop1(LEDGER="firestore", FIRESTORE_EMULATOR_HOST=host, POLICY_SECONDS="300")
        with standing(gate, around, home=run.home(gate), cores=run.cores, core=run.cores.gate) as one:
            request = gate.load(around, one.port).request()
            counted.clear()
            for _ in range(_JOBS):
                status, body = ask(one.port, request)
                if status != 200:
                    raise BenchError(f"hop 1 answered {status}: {body[:200]!r}")
    say(f"{_JOBS} jobs: {dict(counted.calls)}, {counted.writes} writes, {counted.deletes} deletes")
    return _finding(run, counted)


def _finding(run: Run, counted: Counted) -> Finding:
    commits = counted.calls["commit"] / _JOBS
    reads = (counted.calls.total() - counted.calls["commit"]) / _JOBS
    rows = [
        ["commits (round trips)", f"{commits:g}"],
        ["reads and other calls", f"{reads:g}"],
        ["writes", f"{counted.writes / _JOBS:g}"],
        ["deletes", f"{counted.deletes / _JOBS:g}"],
    ]
    goal = Goal(
        what="Firestore, for an accepted job",
        goal="1 commit to hold, 1 to settle, 0 reads",
        measured=f"{commits:g} commits, {reads:g} reads, {counted.writes / _JOBS:g} writes",
        met=commits == 2 and reads == 0,
    )
    return Finding(
        part="operations",
        title="Firestore's operations",
        day=run.day,
        text=f"{_JOBS} accepted jobs, counted by a proxy in front of the official emulator; a job's share.\n\n"
        + table(("what", "a job"), rows),
        goals=[goal],
        facts={"writes": counted.writes / _JOBS, "reads": reads, "deletes": counted.deletes / _JOBS},
    )
