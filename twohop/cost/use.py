"""What a month of calls uses of everything that costs: the operations of a design, counted call by call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from twohop.cost.bill import Used
from twohop.cost.book import Book
from twohop.cost.fleet import Lived
from twohop.cost.scenario import Design, Scenario
from twohop.cost.traffic import Seconds

_DAY_SECONDS = 86_400
_KIB_PER_GIB = 1 << 20
_BYTES_PER_GIB = 1 << 30
_GRANULE_SECONDS = 0.1
"""Google rounds an instance's time up to this."""
_SCHEDULES = 3
"""Of `main.py`: `sweep`, `ladder`, `reconcile`."""
_SCHEDULED_PER_DAY = 288 + 1_440 + 24
"""Every five minutes, every minute, every hour."""
_INSTANCE_IDLE_SECONDS = 900
"""A gap after which hop 1's next instance is a new one, which reads its secrets again."""
_BLOCK_SECONDS = 300
"""RunPod bills a container's disk by blocks of five minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What one call does in Firestore, and how often it invokes a function."""

    invocations: float
    reads: float
    writes: int


def operations(scenario: Scenario, lived: Lived) -> Operations:
    """Return the operations of a design, as hop 1 does them.

    A hold writes job, caller and budget shard, and a settlement the same three; a job that outlives its call writes
    its provider's id besides. The caller's own policy is one read; plans and configuration are read too rarely to
    count.
    """
    match scenario.design:
        case Design.HOLD:
            return Operations(invocations=1, reads=1, writes=6)
        case Design.POLL:
            polls = math.ceil((lived.wait_mean + scenario.compute_seconds) / scenario.poll_seconds)
            return Operations(invocations=1 + polls, reads=1 + polls, writes=7)
        case Design.WEBHOOK:
            # The listener gets the document when it begins and when the job has ended.
            return Operations(invocations=2, reads=3, writes=7)


def used(scenario: Scenario, lived: Lived, book: Book) -> Used:
    """Return all that the month used."""
    days = [Fraction(int(count)) for count in _by_day(scenario, lived.arrivals)]
    refused = Fraction(lived.refused, scenario.days)
    days = [count + refused for count in days]
    does = operations(scenario, lived)
    invocations = [Fraction(does.invocations) * count + _SCHEDULED_PER_DAY for count in days]
    vcpu_days = _spread(_function_seconds(scenario, lived, float(sum(invocations))), days)
    gib = Fraction(scenario.answer_kib) / _KIB_PER_GIB
    by_day = {
        "requests": invocations,
        "vcpu_seconds": [Fraction(scenario.gate_vcpus) * seconds for seconds in vcpu_days],
        "gib_seconds": [Fraction(scenario.gate_gib) * seconds for seconds in vcpu_days],
        "firestore_reads": [Fraction(does.reads) * count + _SCHEDULED_PER_DAY for count in days],
        "firestore_writes": [does.writes * count for count in days],
        "firestore_ttl_deletes": days,
        "firestore_storage": [Fraction(scenario.job_kib) * count / _KIB_PER_GIB for count in days],
        "firestore_egress" if scenario.design is Design.WEBHOOK else "egress": [gib * count for count in days],
        "secret_versions": [Fraction(scenario.secrets)],
        "secret_accesses": [Fraction(scenario.secrets * _instances(lived.arrivals))],
        "logging": [Fraction(scenario.log_bytes) * count / _BYTES_PER_GIB for count in days],
        "scheduler_jobs": [Fraction(_SCHEDULES)],
    }
    if scenario.disk_gb and "container_disk" in book.items:
        by_day["container_disk"] = [Fraction(scenario.disk_gb * math.ceil(lived.billed_seconds / _BLOCK_SECONDS))]
    return Used(gpu_ms=_gpu_ms(lived), by_day=by_day)


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


def _spread(total: Fraction, days: list[Fraction]) -> list[Fraction]:
    whole = sum(days, Fraction(0))
    return [total * count / whole for count in days] if whole else [total]


def _function_seconds(scenario: Scenario, lived: Lived, invocations: float) -> Fraction:
    """Return how long instances of hop 1 are billed: while any call is in them."""
    own = math.ceil(scenario.gate_seconds / _GRANULE_SECONDS - 1e-9) / 10
    if scenario.design is not Design.HOLD:
        return Fraction(round(invocations * own * 10), 10)
    scheduled = _SCHEDULED_PER_DAY * scenario.days * own
    given_up = lived.refused * scenario.wait_seconds_max
    held = _held(lived.arrivals, lived.ends + scenario.gate_seconds, scenario.gate_concurrency)
    return Fraction(round((scheduled + given_up + held) * 10), 10)


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
    return 1 + int((np.diff(arrivals) > _INSTANCE_IDLE_SECONDS).sum()) if len(arrivals) else 0
