"""What a month of calls uses of everything that costs: the operations of a design, counted call by call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from gate.money import of_a_wait
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
SCHEDULES = 3
"""Of `main.py`: `sweep`, `ladder`, `reconcile`."""
_SCHEDULED_PER_DAY = 288 + 1_440 + 24
"""Every five minutes, every minute, every hour."""
INSTANCE_IDLE_SECONDS = 900
"""A gap after which hop 1's next instance is a new one, which reads its secrets again."""
_BLOCK_SECONDS = 300
"""RunPod bills a container's disk by blocks of five minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What one call does in Firestore, and how often it invokes a function."""

    invocations: float
    reads: float
    writes: int


WRITES_OF_A_DENIAL = 5
"""Job, caller and budget shard when it is held, caller and shard when that is put back; the job is deleted."""
DELETES_OF_A_DENIAL = 1


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
    gpu_ms: Mapping[str, int]
    """Billed worker time by part: useful, start, idle, rounding."""


def month_of(scenario: Scenario, lived: Lived) -> Month:
    """Return what a simulated month comes to."""
    refused = Fraction(lived.refused, scenario.days)
    given_up = lived.refused * scenario.wait_seconds_max
    held = _held(lived.arrivals, lived.ends + scenario.gate_seconds, scenario.gate_concurrency)
    return Month(
        calls_by_day=tuple(count + refused for count in _by_day(scenario, lived.arrivals)),
        wait_mean_seconds=lived.wait_mean,
        held_seconds=given_up + held,
        instances=_instances(lived.arrivals),
        gpu_ms=_gpu_ms(lived),
    )


def operations(scenario: Scenario, wait_mean_seconds: float) -> Operations:
    """Return the operations of a design, as hop 1 does them.

    A hold writes job, caller and budget shard, and a settlement the same three; a job that outlives its call writes
    its provider's id besides, and the webhook that ends it reads it. The caller's own policy is one read; plans and
    configuration are read too rarely to count. A call that waits looks into its job, as the ledger prices it too.
    """
    match scenario.design:
        case Design.HOLD:
            waits_ms = round((wait_mean_seconds + scenario.compute_seconds) * 1000)
            return Operations(invocations=1, reads=1 + of_a_wait(waits_ms).reads, writes=6)
        case Design.POLL:
            polls = math.ceil((wait_mean_seconds + scenario.compute_seconds) / scenario.poll_seconds)
            return Operations(invocations=2 + polls, reads=2 + polls, writes=7)
        case Design.WEBHOOK:
            # The listener gets the document when it begins and when the job has ended.
            return Operations(invocations=2, reads=4, writes=7)
        case Design.DIRECT:
            return Operations(invocations=0, reads=0, writes=0)


def used(scenario: Scenario, month: Month, book: Book) -> Used:
    """Return all that the month used."""
    by_day = {} if scenario.design is Design.DIRECT else _by_hop_1(scenario, month)
    if scenario.disk_gb and "container_disk" in book.items:
        blocks = math.ceil(sum(month.gpu_ms.values()) / 1000 / _BLOCK_SECONDS)
        by_day["container_disk"] = [Fraction(scenario.disk_gb * blocks)]
    return Used(gpu_ms=month.gpu_ms, by_day=by_day)


def _by_hop_1(scenario: Scenario, month: Month) -> dict[str, Sequence[Fraction]]:
    days = month.calls_by_day
    does = operations(scenario, month.wait_mean_seconds)
    both = [(count, Fraction(scenario.denied_per_call) * count) for count in days]
    invocations = [Fraction(does.invocations) * count + no + _SCHEDULED_PER_DAY for count, no in both]
    vcpu_days = _spread(_function_seconds(scenario, month, float(sum(invocations))), days)
    gib = Fraction(scenario.answer_kib) / _KIB_PER_GIB
    return {
        "requests": invocations,
        "vcpu_seconds": [Fraction(scenario.gate_vcpus) * seconds for seconds in vcpu_days],
        "gib_seconds": [Fraction(scenario.gate_gib) * seconds for seconds in vcpu_days],
        "firestore_reads": [Fraction(does.reads) * count + _SCHEDULED_PER_DAY for count in days],
        "firestore_writes": [does.writes * count + WRITES_OF_A_DENIAL * no for count, no in both],
        "firestore_deletes": [DELETES_OF_A_DENIAL * no for _, no in both],
        "firestore_ttl_deletes": days,
        "firestore_storage": [Fraction(scenario.job_kib) * count / _KIB_PER_GIB for count in days],
        "firestore_egress" if scenario.design is Design.WEBHOOK else "egress": [gib * count for count in days],
        "secret_versions": [Fraction(scenario.secrets)],
        "secret_accesses": [Fraction(scenario.secrets * month.instances)],
        "logging": [scenario.log_bytes * (count + no) / _BYTES_PER_GIB for count, no in both],
        "scheduler_jobs": [Fraction(SCHEDULES)],
    }


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
    alone = (_SCHEDULED_PER_DAY * scenario.days + denied) * own
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
