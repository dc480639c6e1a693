"""Refused calls: how many a second, and that they write nothing."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from infra.bench.findings import Finding, Goal, number, table, times
from infra.bench.gates import hop1, say
from infra.bench.identity import forged
from infra.bench.load import Answered, Load, send
from infra.bench.run import Run
from infra.bench.standing import OPEN_PLAN, Standing, fresh_ledger, standing, surroundings, write_policies

_CLIENTS = 64
_LEAST_TIMES = 4.0
_REST_SECONDS = 1.0


def measure(run: Run) -> Finding:
    """Measure accepted and refused calls of one hop 1, round by round."""
    rates: dict[str, list[float]] = {"accepted": [], "bad token": [], "over the limit": []}
    writes = {"bad token": 0, "over the limit": 0}
    with surroundings(run.work("refused"), callers=256, cores=run.cores) as around:
        ledger = fresh_ledger(around)
        gate = hop1(POLICY_SECONDS="1")
        with standing(gate, around, home=run.home(gate), cores=run.cores, core=run.cores.gate) as one:
            good = gate.load(around, one.port)
            bad = replace(good, tokens=[forged(token) for token in around.tokens])
            for _ in range(run.rounds):
                write_policies(ledger)
                _send(one, good, run, 200, seconds=2)
                rates["accepted"].append(_send(one, good, run, 200).calls_per_second)
                time.sleep(_REST_SECONDS)  # what was under way comes to its end
                jobs = _jobs(ledger)
                rates["bad token"].append(_send(one, bad, run, 401).calls_per_second)
                writes["bad token"] += _jobs(ledger) - jobs
                write_policies(ledger, plan=msgspec.structs.replace(OPEN_PLAN, requests_per_day=0))
                _send(one, good, run, 429, seconds=3)  # until every caller is remembered
                time.sleep(_REST_SECONDS)
                before = ledger.stat().st_size, _changes(ledger)
                rates["over the limit"].append(_send(one, good, run, 429).calls_per_second)
                writes["over the limit"] += (ledger.stat().st_size, _changes(ledger)) != before
                say("  ".join(f"{name} {values[-1]:.0f}/s" for name, values in rates.items()))
    return _finding(run, rates, writes)


def _send(one: Standing, load: Load, run: Run, expected: int, *, seconds: float = 2) -> Answered:
    return send(
        load,
        clients=_CLIENTS,
        seconds=run.seconds(seconds),
        core=run.cores.rest,
        folder=one.around.folder,
        expected=expected,
    )


def _jobs(ledger: Path) -> int:
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM jobs").fetchone()[0])


def _changes(ledger: Path) -> tuple[int, int]:
    """Return what is another after any write: the write-ahead log's size and time."""
    log = ledger.with_name(f"{ledger.name}-wal").stat()
    return log.st_size, log.st_mtime_ns


def _finding(run: Run, rates: dict[str, list[float]], writes: dict[str, int]) -> Finding:
    goals, rows = [], []
    for name, values in rates.items():
        by = sorted(value / accepted for value, accepted in zip(values, rates["accepted"], strict=True))
        ratio = f"{times(by[len(by) // 2])} ({times(by[0])} to {times(by[-1])})"
        rows.append([name, number(sorted(values)[len(values) // 2]), ratio, str(writes.get(name, "-"))])
        if name in writes:
            met = by[len(by) // 2] >= _LEAST_TIMES and writes[name] == 0
            measured = f"{ratio}; {writes[name]} writes"
            goals.append(
                Goal(
                    what=f"refused calls a second: {name}",
                    goal="≥ 4 x the accepted, no ledger write",
                    measured=measured,
                    met=met,
                )
            )
    head = ("calls", "a second, 64 clients", "by the accepted: median (min to max)", "ledger writes")
    text = f"One hop 1, {run.rounds} rounds in turns.\n\n{table(head, rows)}"
    return Finding(part="refused", title="Refused calls", day=run.day, text=text, goals=goals)
