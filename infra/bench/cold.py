"""Cold starts and memory at rest: hop 1, and the usual stack that imports everything at the top."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.environments import versions
from bench.figures import ratios
from bench.live import BenchError
from bench.machine import drop_caches
from infra.bench import firestore
from infra.bench.findings import Finding, Goal, number, spread_text, table, times
from infra.bench.gates import HERE, OURS, Around, Gate, hop1, hop1_environment, python_programs, say
from infra.bench.identity import PROJECT
from infra.bench.run import Run, turns
from infra.bench.standing import fresh_ledger, standing, surroundings

USUAL = "the usual stack"
ON_SQLITE = "hop 1 with SQLite"
_START_TIMES_MOST = 0.6
_MEMORY_TIMES_MOST = 0.7
_REST_SECONDS = 1.0
_WARM_UP_SECONDS = 8.0
_TELLING = ("firebase-functions", "firebase-admin", "google-cloud-firestore", "functions-framework")


@dataclass(slots=True)
class _Starts:
    warm: list[float] = field(default_factory=list)
    dropped: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)


def measure(run: Run) -> Finding:
    """Start each in turns, with its files in memory and without."""
    emulator = firestore.emulator()
    os.environ["FIRESTORE_EMULATOR_HOST"] = emulator
    asyncio.run(firestore.write_policies(PROJECT))
    ours = hop1(LEDGER="firestore", FIRESTORE_EMULATOR_HOST=emulator)
    gates = {OURS: ours, USUAL: _usual(emulator), ON_SQLITE: hop1()}
    found = {name: _Starts() for name in gates}
    with surroundings(run.work("cold"), callers=1, cores=run.cores) as around:
        fresh_ledger(around)
        for gate in (gates[OURS], gates[USUAL]):
            _warm_emulator(run, gate, around)
        for number_ in range(run.rounds):
            for name, gate in turns(tuple(gates.items()), number_):
                _start(run, gate, around, found[name])
                say(
                    f"{name:20} warm {found[name].warm[-1]:.2f} s  dropped {found[name].dropped[-1:]}  "
                    f"{found[name].memory_mib[-1]:.0f} MiB"
                )
    told = versions(run.home(gates[USUAL]) / "python", _TELLING)
    return Finding(
        part="cold",
        title="Cold start, and memory at rest",
        day=run.day,
        text=_text(run, found),
        goals=_goals(found),
        versions={USUAL: told},
        facts={"start_seconds": sorted(found[OURS].warm)[len(found[OURS].warm) // 2]},
    )


def _warm_emulator(run: Run, gate: Gate, around: Around) -> None:
    """Have the emulator answer a gate's calls for a while: a new one takes thrice as long."""
    with standing(gate, around, home=run.home(gate), cores=run.cores, core=None) as one:
        one.load(clients=1, seconds=_WARM_UP_SECONDS)


def _start(run: Run, gate: Gate, around: Around, found: _Starts) -> None:
    home = run.home(gate)
    with standing(gate, around, home=home, cores=run.cores, core=None):
        pass  # Its files were dropped with those of the gate before it.
    with standing(gate, around, home=home, cores=run.cores, core=None) as one:
        found.warm.append(one.start_seconds)
        time.sleep(_REST_SECONDS)
        found.memory_mib.append(one.process.resident_mb())
    if drop_caches():
        with standing(gate, around, home=home, cores=run.cores, core=None) as one:
            found.dropped.append(one.start_seconds)


def _usual(emulator: str) -> Gate:
    def env(around: Around, port: int) -> Mapping[str, str]:
        return hop1_environment(around) | {"PORT": str(port), "FIRESTORE_EMULATOR_HOST": emulator}

    return Gate(
        name=USUAL,
        home=lambda folder: python_programs("usual", folder, HERE / "peers" / "requirements-usual.txt"),
        command=lambda home, _port: [
            *(str(home / "functions-framework"), "--target", "infer", "--host", "127.0.0.1"),
            *("--source", str(HERE / "peers" / "usual.py")),
        ],
        env=env,
        load=hop1().load,
        telling=_TELLING,
        does="verifies, counts in a transaction, calls",
    )


def _goals(found: Mapping[str, _Starts]) -> list[Goal]:
    ours, theirs = found[OURS], found[USUAL]
    asked: list[tuple[str, Callable[[_Starts], list[float]], float]] = [
        ("cold start, files in memory", lambda one: one.warm, _START_TIMES_MOST),
        ("cold start, files on disk", lambda one: one.dropped, _START_TIMES_MOST),
        ("memory at rest", lambda one: one.memory_mib, _MEMORY_TIMES_MOST),
    ]
    goals = []
    for what, values, most in asked:
        if not values(ours):
            continue
        by = ratios(values(ours), values(theirs))
        goals.append(
            Goal(
                what=f"{what}, beside the usual stack",
                goal=f"≤ {most:g} x",
                measured=f"{times(by.median)} ({times(by.least)} to {times(by.most)})",
                met=by.median <= most,
            )
        )
    return goals


def _text(run: Run, found: Mapping[str, _Starts]) -> str:
    if not found[OURS].warm:
        raise BenchError("nothing was started")
    head = ("what", "files in memory: median (min to max)", "files on disk", "memory at rest, MiB")
    rows = [
        [
            name,
            f"{spread_text(one.warm, number)} s",
            f"{spread_text(one.dropped, number)} s" if one.dropped else "-",
            spread_text(one.memory_mib, number),
        ]
        for name, one in found.items()
    ]
    return (
        f"From the process's beginning to the first answer to a signed-in caller, who is counted; {run.rounds} "
        "rounds in turns, each begun by another, all cores. The first two keep their counts in the official emulator "
        "of Firestore, which has answered calls of both before, since a new one is slow. Memory is that of all "
        "processes a second after the answer, shared pages counted once (PSS)."
        f"\n\n{table(head, rows)}"
    )
