"""What hop 1 costs for a million jobs a month, from what the other parts measured and Google's list prices."""

from __future__ import annotations

from datetime import date

from bench.live import BenchError
from gate.money import gate_price
from infra.bench.findings import Finding, Goal, kept, table
from infra.bench.run import Run

_JOBS = 1_000_000
_WAIT_SECONDS = 1.0
"""How long a job's call is held open, on average."""
_SHARED_BY = 20
"""Calls that one instance holds at a time, on average; `main.py` allows ten times as many."""
_GIB = 0.5
_DOLLARS_MOST = 8.0
_PER_DOLLAR = 10**9


def measure(run: Run) -> Finding:
    """Reckon.

    Raises:
        BenchError: the parts that it needs have not run.
    """
    throughput, operations = kept("throughput", run.findings), kept("operations", run.findings)
    if throughput is None or operations is None:
        raise BenchError("run the parts throughput and operations first")
    price = gate_price(on=date.fromisoformat(run.day))
    cpu_seconds = throughput.facts["cpu_ms"] / 1000
    # An instance is billed while it holds calls, and cannot be billed for less than it computes.
    instance_seconds = max(_WAIT_SECONDS / _SHARED_BY, cpu_seconds)
    per_second = price.nanodollars_per_vcpu_second + _GIB * price.nanodollars_per_gib_second
    lines = {
        "calls": price.nanodollars_per_invocation * _JOBS / _PER_DOLLAR,
        "Firestore's writes": operations.facts["writes"] * price.nanodollars_per_write * _JOBS / _PER_DOLLAR,
        "instance": instance_seconds * per_second * _JOBS / _PER_DOLLAR,
    }
    total = sum(lines.values())
    goal = Goal(
        what="the gate, a million jobs a month, at list prices",
        goal=f"below ${_DOLLARS_MOST:g}",
        measured=f"${total:.2f}",
        met=total < _DOLLARS_MOST,
    )
    rows = [*([name, f"${dollars:.2f}"] for name, dollars in lines.items()), ["all", f"${total:.2f}"]]
    text = (
        f"{throughput.facts['cpu_ms']:.2f} ms of CPU and {operations.facts['writes']:g} writes a job, as measured "
        f"above; calls are held for {_WAIT_SECONDS:g} s on average and {_SHARED_BY} share an instance of one vCPU "
        f"and {_GIB:g} GiB. Nothing free is taken off. Prices as of {price.as_of}: {price.source}.\n\n"
        + table(("what", "a month"), rows)
    )
    return Finding(part="cost", title="A million jobs a month", day=run.day, text=text, goals=[goal])
