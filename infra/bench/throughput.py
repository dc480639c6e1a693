"""The full path beside its peers: calls a second of 64 clients, and what a call takes longer for going through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from bench.figures import Spread, ratios
from infra.bench.findings import Finding, Goal, bar, number, spread_text, table, times
from infra.bench.gates import OURS, Gate, hop1, make_gates, say
from infra.bench.load import Load, send
from infra.bench.run import Run, turns
from infra.bench.standing import Standing, fresh_ledger, standing, surroundings

_CLIENTS = 64
_CALLERS = 256
_WARM_UP_SECONDS = 8
"""What runs on Node gets twice as fast in its first few thousand calls."""
_LEAST_TIMES = {"Portkey's gateway": 2.0, "LiteLLM's proxy": 15.0, "FastAPI + JWT + slowapi + Redis": 1.5}


@dataclass(slots=True)
class _Measured:
    """One gate's rounds."""

    per_second: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    """Of one client, less what the upstream takes without a gate."""
    p99_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    """A call, of all the gate's processes."""
    wrong: int = 0


def measure(run: Run) -> Finding:
    """Measure every gate in turns, round by round."""
    gates = make_gates()
    found: dict[str, _Measured] = {gate.name: _Measured() for gate in gates}
    with ExitStack() as stack:
        around = stack.enter_context(surroundings(run.work("throughput"), callers=_CALLERS, cores=run.cores))
        fresh_ledger(around)
        up = [
            stack.enter_context(standing(gate, around, home=run.home(gate), cores=run.cores, core=run.cores.gate))
            for gate in gates
        ]
        direct = Load(url=around.address("/infer"), body="{}", headers={})
        for one in up:
            one.load(clients=_CLIENTS, seconds=run.seconds(_WARM_UP_SECONDS))
        for number_ in range(run.rounds):
            bare = send(direct, clients=1, seconds=run.seconds(1), core=run.cores.rest, folder=around.folder)
            for one in turns(up, number_):
                _round(one, found[one.gate.name], run, bare.p50_ms, bare.p99_ms)
                say(f"round {number_ + 1}  {_said(one.gate, found[one.gate.name])}")
        never_seen = _never_seen(run, stack)
    versions = {gate.name: dict(gate.versions(run.home(gate), gate.telling)) for gate in gates}
    return Finding(
        part="throughput",
        title="The full path",
        day=run.day,
        text=_text(gates, found, run, never_seen),
        goals=_goals(found),
        bars=[bar(name, one.per_second) for name, one in found.items()],
        unit="calls a second, one process on one core",
        versions=versions,
        facts={"cpu_ms": Spread.of(found[OURS].cpu_ms).median},
    )


def _round(one: Standing, found: _Measured, run: Run, bare_p50_ms: float, bare_p99_ms: float) -> None:
    before = one.process.cpu_seconds()
    many = one.load(clients=_CLIENTS, seconds=run.seconds(3))
    cpu_seconds = one.process.cpu_seconds() - before
    single = one.load(clients=1, seconds=run.seconds(2))
    found.per_second.append(many.calls_per_second)
    found.cpu_ms.append(1000 * cpu_seconds / many.calls)
    found.p50_ms.append(single.p50_ms - bare_p50_ms)
    found.p99_ms.append(single.p99_ms - bare_p99_ms)
    found.wrong += many.wrong + single.wrong


def _never_seen(run: Run, stack: ExitStack) -> float:
    """Return hop 1's calls a second when no token comes twice while it is measured: each signature is checked."""
    around = stack.enter_context(surroundings(run.work("never-seen"), callers=6_000, cores=run.cores))
    fresh_ledger(around)
    gate = hop1()
    tokens = around.tokens
    with standing(
        gate, replace(around, tokens=tokens[:1]), home=run.home(gate), cores=run.cores, core=run.cores.gate
    ) as one:
        load = replace(gate.load(around, one.port), tokens=tokens[1:])
        done = send(load, clients=_CLIENTS, seconds=run.seconds(2), core=run.cores.rest, folder=around.folder)
    say(f"tokens that were never seen: {done.calls_per_second:.0f} calls/s")
    return done.calls_per_second


def _goals(found: Mapping[str, _Measured]) -> list[Goal]:
    ours = found[OURS]
    goals = []
    for name, least in _LEAST_TIMES.items():
        by = ratios(ours.per_second, found[name].per_second)
        goals.append(
            Goal(
                what=f"full path, calls a second, beside {name}",
                goal=f"≥ {least:g} x",
                measured=f"{times(by.median)} ({times(by.least)} to {times(by.most)})",
                met=by.median >= least,
            )
        )
    portkey = found["Portkey's gateway"]
    for what, mine, its in (("p50", ours.p50_ms, portkey.p50_ms), ("p99", ours.p99_ms, portkey.p99_ms)):
        by = ratios(mine, its)
        goals.append(
            Goal(
                what=f"added latency at one client, {what}, beside Portkey's gateway",
                goal="≤ 1 x",
                measured=f"{times(by.median)} ({times(by.least)} to {times(by.most)}); "
                f"{Spread.of(mine).median:.2f} ms and {Spread.of(its).median:.2f} ms",
                met=by.median <= 1,
            )
        )
    return goals


def _text(gates: Sequence[Gate], found: Mapping[str, _Measured], run: Run, never_seen: float) -> str:
    head = (
        *("gate", "what it does", "calls/s, 64 clients: median (min to max)", "hop 1 by it"),
        *("added ms at 1 client: p50", "p99", "CPU ms a call"),
    )
    ours = found[OURS]
    rows = []
    for gate in gates:
        one = found[gate.name]
        by = (
            "-"
            if one is ours
            else spread_text([a / b for a, b in zip(ours.per_second, one.per_second, strict=True)], times)
        )
        rows.append(
            [
                *(gate.name, gate.does, spread_text(one.per_second, number), by),
                *(spread_text(one.p50_ms, number), spread_text(one.p99_ms, number), spread_text(one.cpu_ms, number)),
            ]
        )
    wrong = {name: one.wrong for name, one in found.items() if one.wrong}
    told = f"Answers other than 200: {wrong}." if wrong else "Every answer was a 200."
    return (
        f"{run.rounds} rounds in turns, each begun by another gate; {_CALLERS} signed-in callers go around. {told} "
        "Added is what a call takes longer than the upstream alone, in the same round.\n\n"
        f"{table(head, rows)}\n\n"
        "Hop 1 remembers tokens that it has verified until they expire. When no token comes twice, it answers "
        f"{number(never_seen)} calls a second."
    )


def _said(gate: Gate, one: _Measured) -> str:
    return (
        f"{gate.name:32} {one.per_second[-1]:7.0f} calls/s  added p50 {one.p50_ms[-1]:6.2f} ms  p99 "
        f"{one.p99_ms[-1]:6.2f} ms  CPU {one.cpu_ms[-1]:.2f} ms"
    )
