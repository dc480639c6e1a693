"""What a month of calls uses of everything that costs, counted call by call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from twohop.cost.bill import Used
from twohop.cost.book import Book
from twohop.cost.fleet import Lived
from twohop.cost.operations import (
    OF_A_DENIAL,
    SCHEDULED,
    SCHEDULED_RUNS_PER_DAY,
    SCHEDULED_WRITES_PER_DAY,
    Operations,
    instances_for,
    looks_in,
    of_a_call,
    polls_in,
    reads_of_instances,
    scheduled_reads_per_day,
)
from twohop.cost.scenario import Design, Scenario
from twohop.cost.traffic import Seconds

_DAY_SECONDS = 86_400
_KIB_PER_GIB = 1 << 20
_BYTES_PER_GIB = 1 << 30
_GRANULE_SECONDS = 0.1
"""Google rounds an instance's time up to this."""
INSTANCE_IDLE_SECONDS = 900
"""A gap after which hop 1's next instance is a new one, which reads its secrets again."""
_BLOCK_SECONDS = 300
"""RunPod bills a container's disk by blocks of five minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What of a month hop 1's and the GPU's bills are made of, however it was found."""

    calls_by_day: tuple[Fraction, ...]
    """With those that were given up."""
    wait_mean_seconds: float
    """For a worker."""
    held_seconds: float
    """Of hop 1's instances, if a function holds each call until its answer is there."""
    instances: int
    """How often one started, and read its secrets."""
    looks: Fraction
    """How often calls that are held open look into their jobs."""
    polls: Fraction
    """How often polling clients would ask."""
    instance_reads: Fraction
    """What instances read for themselves, if calls end at once."""
    instance_reads_held: Fraction
    """The same, if calls are held open."""
    gpu_ms: Mapping[str, int]
    """Billed worker time by part: useful, start, idle, rounding."""


def month_of(scenario: Scenario, lived: Lived) -> Month:
    """Return what a simulated month comes to."""
    refused = Fraction(lived.refused, scenario.days)
    given_up = lived.refused * scenario.wait_seconds_max
    waited = lived.ends - lived.arrivals
    held = given_up + _held(lived.arrivals, lived.ends + scenario.gate_seconds, scenario.gate_concurrency)
    busy = given_up + float(waited.sum())
    alone, together = (_instances_for(scenario, seconds, len(lived.arrivals)) for seconds in (0.0, busy))
    return Month(
        calls_by_day=tuple(count + refused for count in _by_day(scenario, lived.arrivals)),
        wait_mean_seconds=lived.wait_mean,
        held_seconds=held,
        instances=_instances(lived.arrivals),
        looks=looks_in(waited) + lived.refused * looks_in(scenario.wait_seconds_max),
        polls=polls_in(waited, scenario.poll_seconds)
        + lived.refused * polls_in(scenario.wait_seconds_max, scenario.poll_seconds),
        instance_reads=Fraction(reads_of_instances(lived.arrivals, instances=alone)),
        instance_reads_held=Fraction(reads_of_instances(lived.arrivals, instances=together, held_seconds=held)),
        gpu_ms=_gpu_ms(lived),
    )


def _instances_for(scenario: Scenario, waited_seconds: float, calls: int) -> int:
    busy = waited_seconds + calls * scenario.gate_seconds
    return instances_for(busy, scenario.seconds, scenario.gate_concurrency)


def operations(scenario: Scenario, month: Month) -> Operations:
    """Return what a call does, on average."""
    calls = max(Fraction(1), sum(month.calls_by_day, Fraction(0)))
    return of_a_call(scenario, looks=float(month.looks / calls), polls=float(month.polls / calls))


def used(scenario: Scenario, month: Month, book: Book) -> Used:
    """Return all that the month used."""
    by_day = {} if scenario.design is Design.DIRECT else _by_hop_1(scenario, month)
    if scenario.disk_gb and "container_disk" in book.items:
        blocks = math.ceil(sum(month.gpu_ms.values()) / 1000 / _BLOCK_SECONDS)
        by_day["container_disk"] = [Fraction(scenario.disk_gb * blocks)]
    return Used(gpu_ms=month.gpu_ms, by_day=by_day)


def _by_hop_1(scenario: Scenario, month: Month) -> dict[str, Sequence[Fraction]]:
    days = month.calls_by_day
    does = operations(scenario, month)
    both = [(count, Fraction(scenario.denied_per_call) * count) for count in days]
    invocations = [Fraction(does.invocations) * count + no + SCHEDULED_RUNS_PER_DAY for count, no in both]
    vcpu_days = _spread(_function_seconds(scenario, month, float(sum(invocations))), days)
    gib = Fraction(scenario.answer_kib) / _KIB_PER_GIB
    return {
        "requests": invocations,
        "vcpu_seconds": [Fraction(scenario.gate_vcpus) * seconds for seconds in vcpu_days],
        "gib_seconds": [Fraction(scenario.gate_gib) * seconds for seconds in vcpu_days],
        "firestore_reads": _reads(scenario, month, does),
        "firestore_writes": [
            does.writes * count + OF_A_DENIAL.writes * no + SCHEDULED_WRITES_PER_DAY for count, no in both
        ],
        "firestore_deletes": [OF_A_DENIAL.deletes * no for _, no in both],
        "firestore_ttl_deletes": days,
        "firestore_storage": [Fraction(scenario.job_kib) * count / _KIB_PER_GIB for count in days],
        "firestore_egress" if scenario.design is Design.WEBHOOK else "egress": [gib * count for count in days],
        "secret_versions": [Fraction(scenario.secrets)],
        "secret_accesses": [Fraction(scenario.secrets * month.instances)],
        "logging": [scenario.log_bytes * (count + no) / _BYTES_PER_GIB for count, no in both],
        "scheduler_jobs": [Fraction(len(SCHEDULED))],
    }


def _reads(scenario: Scenario, month: Month, does: Operations) -> list[Fraction]:
    """Return a day's reads: of its calls, of those that a limit refuses, of the instances, and by the clock."""
    days, by_the_clock = month.calls_by_day, scheduled_reads_per_day(scenario)
    of_a_call = Fraction(does.reads) + Fraction(OF_A_DENIAL.reads) * Fraction(scenario.denied_per_call)
    held = scenario.design is Design.HOLD
    of_instances = _spread(month.instance_reads_held if held else month.instance_reads, days)
    return [of_a_call * count + own + by_the_clock for count, own in zip(days, of_instances, strict=True)]


def _gpu_ms(lived: Lived) -> dict[str, int]:
    return {
        "useful": round(lived.useful_seconds * 1000),
        "start": round(lived.start_seconds * 1000),
        "idle": round(lived.idle_seconds * 1000),
        "rounding": round(lived.rounding_seconds * 1000),
    }


def _by_day(scenario: Scenario, arrivals: Seconds) -> list[int]:
    day = np.minimum((arrivals / _DAY_SECONDS).astype(np.int64), scenario.days - 1)
    return [int(count) for count in np.bincount(day, minlength=scenario.days)]


def _spread(total: Fraction, days: Sequence[Fraction]) -> list[Fraction]:
    whole = sum(days, Fraction(0))
    return [total * count / whole for count in days] if whole else [total]


def _function_seconds(scenario: Scenario, month: Month, invocations: float) -> Fraction:
    """Return how long instances of hop 1 are billed: while any call is in them."""
    own = math.ceil(scenario.gate_seconds / _GRANULE_SECONDS - 1e-9) / 10
    if scenario.design is not Design.HOLD:
        return Fraction(round(invocations * own * 10), 10)
    denied = scenario.denied_per_call * float(sum(month.calls_by_day))
    alone = (SCHEDULED_RUNS_PER_DAY * scenario.days + denied) * own
    return Fraction(round((alone + month.held_seconds) * 10), 10)


def _held(begins: Seconds, ends: Seconds, concurrency: int) -> float:
    """Return the instances' time for calls that are held open.

    One instance is billed once for calls that overlap; when there are more than it takes, there are more instances,
    each full. That is a lower bound where calls come in waves, and exact for one call an instance.
    """
    if not len(begins):
        return 0.0
    if concurrency == 1:
        return float(np.ceil((ends - begins) / _GRANULE_SECONDS - 1e-6).sum() * _GRANULE_SECONDS)
    last = np.maximum.accumulate(ends)
    first = np.concatenate(([True], begins[1:] > last[:-1]))
    starts = begins[first]
    stops = np.concatenate((last[:-1][first[1:]], last[-1:]))
    together = float(np.ceil((stops - starts) / _GRANULE_SECONDS).sum() * _GRANULE_SECONDS)
    return max(together, float((ends - begins).sum()) / concurrency)


def _instances(arrivals: Seconds) -> int:
    return 1 + int((np.diff(arrivals) > INSTANCE_IDLE_SECONDS).sum()) if len(arrivals) else 0
