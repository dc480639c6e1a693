"""What hop 1 costs for a million jobs a month: `twohop cost`, told what the other parts measured."""

from __future__ import annotations

from datetime import date

from bench.live import BenchError
from infra.bench.findings import Finding, Goal, kept, table
from infra.bench.run import Run
from twohop.cost.bill import Line
from twohop.cost.book import book_of
from twohop.cost.forecast import Forecast, forecast
from twohop.cost.scenario import Design, Scenario

_JOBS = 1_000_000
_GPU_SECONDS = 1.0
_WORKERS = 5
_ANSWER_KIB = 0.3
"""The fixed answer of this benchmark. A larger one costs its egress, as it would from anywhere."""
_DOLLARS_MOST = 8.0
_DESIGNS = {Design.WEBHOOK: "no call is held open: `submit`", Design.HOLD: "held open: `infer`"}


def measure(run: Run) -> Finding:
    """Reckon.

    Raises:
        BenchError: the parts that it needs have not run, or found more operations than `twohop cost` counts.
    """
    throughput, operations = kept("throughput", run.findings), kept("operations", run.findings)
    if throughput is None or operations is None:
        raise BenchError("run the parts throughput and operations first")
    cpu_seconds = throughput.facts["cpu_ms"] / 1000
    found = {design: _forecast(design, cpu_seconds, on=date.fromisoformat(run.day)) for design in _DESIGNS}
    counted = found[Design.HOLD].operations
    for what, count in (("writes", counted.writes), ("reads", counted.reads)):
        if operations.facts[what] > count:
            raise BenchError(
                f"a job was seen to cause {operations.facts[what]:g} {what}; twohop cost counts {count:g}"
            )
    total, held = (_dollars(found[design]) for design in (Design.WEBHOOK, Design.HOLD))
    goal = Goal(
        what="the gate, a million jobs a month, by `twohop cost`",
        goal=f"below ${_DOLLARS_MOST:g}",
        measured=f"${total:.2f} by `submit`; by `infer`, which waits, ${held:.2f}",
        met=total < _DOLLARS_MOST,
    )
    return Finding(
        part="cost", title="A million jobs a month", day=run.day, text=_text(found, cpu_seconds), goals=[goal]
    )


def _forecast(design: Design, cpu_seconds: float, *, on: date) -> Forecast:
    scenario = Scenario(
        calls_per_month=_JOBS,
        compute_seconds=_GPU_SECONDS,
        design=design,
        workers_max=_WORKERS,
        gate_seconds=cpu_seconds,
        answer_kib=_ANSWER_KIB,
    )
    return forecast(scenario, book_of(scenario.hardware, on=on))


def _gates_lines(found: Forecast) -> dict[str, Line]:
    return {line.title: line for line in found.bill.lines if not line.is_gpu}


def _dollars(found: Forecast) -> float:
    return sum(line.microdollars for line in _gates_lines(found).values()) / 1e6


def _text(found: dict[Design, Forecast], cpu_seconds: float) -> str:
    lines = {design: _gates_lines(one) for design, one in found.items()}
    titles = list(dict.fromkeys(title for its in lines.values() for title in its))
    rows = [[title, *(_cell(its.get(title)) for its in lines.values())] for title in titles]
    rows.append(["all", *(f"${_dollars(one):.2f}" for one in found.values())])
    does = found[Design.WEBHOOK].operations
    return (
        f"`twohop cost` for {_JOBS:,} jobs with {_GPU_SECONDS:g} s of GPU each, spread over the days of a month as "
        f"people are awake, told that hop 1 takes {cpu_seconds * 1000:.2f} ms of CPU a call, as measured above. "
        f"Without a held call a job is {does.invocations:g} invocations, {does.writes:g} writes and {does.reads:g} "
        "reads. A call that is held open is billed while it waits, and shares its instance with whoever waits "
        "meanwhile. Google's list prices, its free amounts taken off; the GPU is not in it.\n\n"
        + table(("what", *_DESIGNS.values()), rows)
    )


def _cell(line: Line | None) -> str:
    return f"${line.microdollars / 1e6:.2f}" if line else ""
