"""What a month of calls uses of everything that costs, each part of it with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from twohop.cost.bill import GPU_PARTS, Used, number
from twohop.cost.book import Book
from twohop.cost.month import GRANULE_SECONDS, INSTANCE_IDLE_SECONDS, Month
from twohop.cost.operations import (
    OF_A_DENIAL,
    SCHEDULED,
    SCHEDULED_RUNS_PER_DAY,
    SCHEDULED_WRITES_PER_DAY,
    Operations,
    of_a_call,
    scheduled_reads_per_day,
)
from twohop.cost.scenario import Design, Scenario

_DAY_SECONDS = 86_400
_KIB_PER_GIB = 1 << 20
_BYTES_PER_GIB = 1 << 30
_BY_SCHEDULES = "scheduled functions"
_OF_REFUSALS = "calls that a limit refuses"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A part of what is used of an item, a quantity a day."""

    why: str
    days: Sequence[Fraction]


def operations(scenario: Scenario, month: Month) -> Operations:
    """Return what a call does, on average."""
    calls = max(Fraction(1), sum(month.calls_by_day, Fraction(0)))
    return of_a_call(scenario, looks=float(month.looks / calls), polls=float(month.polls / calls))


def used(scenario: Scenario, month: Month, book: Book) -> Used:
    """Return all that the month used."""
    parts = {} if scenario.design is Design.DIRECT else _by_hop_1(scenario, month)
    if scenario.disk_gb and "container_disk" in book.items:
        why = f"{month.blocks:,} blocks of five minutes in workers' lives, begun ones whole, x {scenario.disk_gb} GB"
        parts["container_disk"] = [_Part(why=why, days=[Fraction(scenario.disk_gb * month.blocks)])]
    return Used(
        gpu_ms=month.gpu_ms,
        by_day={name: _summed([part.days for part in its]) for name, its in parts.items()},
        why={**_of_workers(scenario), **{name: _told(its) for name, its in parts.items()}},
    )


def _of_workers(scenario: Scenario) -> dict[str, str]:
    reasons = (
        f"time in which a worker has a job; {scenario.compute_seconds:g} s of a call on average",
        f"{scenario.cold_start_seconds:g} s of each start, and the download where it is billed",
        f"until a worker has had no job for {scenario.idle_seconds:g} s",
        "each worker's life is rounded up as the provider does",
    )
    return {f"gpu_{part}": reason for part, reason in zip(GPU_PARTS, reasons, strict=True)}


def _by_hop_1(scenario: Scenario, month: Month) -> dict[str, list[_Part]]:
    calls, does = month.calls_by_day, operations(scenario, month)
    denied = [Fraction(scenario.denied_per_call) * count for count in calls]
    starts = _starts(scenario, month)
    jobs = f"{number(sum(calls, Fraction(0)))} calls"
    requests = [
        _each(calls, does.invocations, f"{jobs} x {does.invocations:g}"),
        _each(denied, OF_A_DENIAL.invocations, _OF_REFUSALS),
        _daily(scenario, SCHEDULED_RUNS_PER_DAY, _BY_SCHEDULES),
    ]
    writes = [
        _each(calls, does.writes, f"{jobs} x {does.writes}"),
        _each(denied, OF_A_DENIAL.writes, _OF_REFUSALS),
        _daily(scenario, SCHEDULED_WRITES_PER_DAY, _BY_SCHEDULES),
    ]
    return {
        "requests": requests,
        **_instances(scenario, month, requests),
        "firestore_reads": _reads(scenario, month, does, denied),
        "firestore_writes": writes,
        "firestore_deletes": [_each(denied, OF_A_DENIAL.deletes, _OF_REFUSALS)],
        "firestore_ttl_deletes": [_each(calls, 1, f"the jobs of {jobs}, 30 days after their end")],
        **_bytes(scenario, calls, denied, jobs),
        "secret_versions": [_once(scenario.secrets, "one of each secret")],
        "secret_accesses": [_once(scenario.secrets * starts, f"{starts:,} starts of instances x {scenario.secrets}")],
        "scheduler_jobs": [_once(len(SCHEDULED), ", ".join(SCHEDULED))],
    }


def _bytes(
    scenario: Scenario, calls: Sequence[Fraction], denied: Sequence[Fraction], jobs: str
) -> dict[str, list[_Part]]:
    document, answer, lines = (
        Fraction(scenario.job_kib) / _KIB_PER_GIB,
        Fraction(scenario.answer_kib) / _KIB_PER_GIB,
        Fraction(scenario.log_bytes, _BYTES_PER_GIB),
    )
    egress = "firestore_egress" if scenario.design is Design.WEBHOOK else "egress"
    return {
        "firestore_storage": [_each(calls, document, f"{jobs} x {scenario.job_kib:g} KiB, kept for 30 days")],
        egress: [_each(calls, answer, f"answers of {jobs} x {scenario.answer_kib:g} KiB")],
        "logging": [
            _each(calls, lines, f"{jobs} x {scenario.log_bytes:,} bytes"),
            _each(denied, lines, _OF_REFUSALS),
        ],
    }


def _reads(scenario: Scenario, month: Month, does: Operations, denied: Sequence[Fraction]) -> list[_Part]:
    calls, held = month.calls_by_day, scenario.design is Design.HOLD
    return [
        _each(calls, does.reads, f"{number(sum(calls, Fraction(0)))} calls x {does.reads:g}"),
        _each(denied, OF_A_DENIAL.reads, _OF_REFUSALS),
        _Part(
            why="instances that renew configuration and plans",
            days=_spread(month.instance_reads_held if held else month.instance_reads, calls),
        ),
        _daily(scenario, scheduled_reads_per_day(scenario), _BY_SCHEDULES),
    ]


def _instances(scenario: Scenario, month: Month, requests: Sequence[_Part]) -> dict[str, list[_Part]]:
    invocations = float(sum((sum(part.days, Fraction(0)) for part in requests), Fraction(0)))
    seconds = _spread(_function_seconds(scenario, month, invocations), month.calls_by_day)
    why = f"{number(sum(seconds, Fraction(0)))} s in which instances have a call, rounded up to 100 ms"
    sizes = {"vcpu_seconds": (scenario.gate_vcpus, "vCPU"), "gib_seconds": (scenario.gate_gib, "GiB")}
    return {name: [_each(seconds, size, f"{why}, x {size:g} {unit}")] for name, (size, unit) in sizes.items()}


def _each(days: Sequence[Fraction], amount: float | Fraction, why: str) -> _Part:
    return _Part(why=why, days=[Fraction(amount) * count for count in days])


def _daily(scenario: Scenario, amount: int, why: str) -> _Part:
    return _Part(why=why, days=[Fraction(amount)] * scenario.days)


def _once(amount: int, why: str) -> _Part:
    return _Part(why=why, days=[Fraction(amount)])


def _summed(parts: Sequence[Sequence[Fraction]]) -> list[Fraction]:
    return [sum(its, Fraction(0)) for its in zip(*parts, strict=True)]


def _told(parts: Sequence[_Part]) -> str:
    sums = [(sum(part.days, Fraction(0)), part.why) for part in parts]
    told = [(amount, why) for amount, why in sums if amount]
    return told[0][1] if len(told) == 1 else " + ".join(f"{number(amount)} ({why})" for amount, why in told)


def _spread(total: Fraction, days: Sequence[Fraction]) -> list[Fraction]:
    whole = sum(days, Fraction(0))
    return [total * count / whole for count in days] if whole else [total]


def _starts(scenario: Scenario, month: Month) -> int:
    """Return how many instances start: of the calls, and of each scheduled function that rests in between."""
    runs = [one.runs_per_day for one in SCHEDULED.values()]
    rare = [count for count in runs if _DAY_SECONDS / count > INSTANCE_IDLE_SECONDS]
    return month.instances + sum(rare) * scenario.days


def _function_seconds(scenario: Scenario, month: Month, invocations: float) -> Fraction:
    """Return how long instances of hop 1 are billed: while any call is in them."""
    own = math.ceil(scenario.gate_seconds / GRANULE_SECONDS - 1e-9) / 10
    if scenario.design is not Design.HOLD:
        return Fraction(round(invocations * own * 10), 10)
    others = invocations - float(sum(month.calls_by_day))
    return Fraction(round((others * own + month.held_seconds) * 10), 10)
