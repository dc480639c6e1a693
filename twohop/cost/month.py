"""A month of calls, as far as its bill is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from twohop.cost.fleet import Lived
from twohop.cost.operations import instances_for, looks_in, polls_in, reads_of_instances
from twohop.cost.scenario import Scenario
from twohop.cost.traffic import Seconds

GRANULE_SECONDS = 0.1
"""Google rounds an instance's time up to this."""
INSTANCE_IDLE_SECONDS = 900
"""A gap after which hop 1's next instance is a new one, which reads its secrets again."""
_DAY_SECONDS = 86_400


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
    blocks: int
    """Of five minutes, in workers' lives."""


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
        blocks=lived.blocks,
    )


def _instances_for(scenario: Scenario, waited_seconds: float, calls: int) -> int:
    busy = waited_seconds + calls * scenario.gate_seconds
    return instances_for(busy, scenario.seconds, scenario.gate_concurrency)


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


def _held(begins: Seconds, ends: Seconds, concurrency: int) -> float:
    """Return the instances' time for calls that are held open.

    One instance is billed once for calls that overlap; when there are more than it takes, there are more instances,
    each full. That is a lower bound where calls come in waves, and exact for one call an instance.
    """
    if not len(begins):
        return 0.0
    if concurrency == 1:
        return float(np.ceil((ends - begins) / GRANULE_SECONDS - 1e-6).sum() * GRANULE_SECONDS)
    last = np.maximum.accumulate(ends)
    first = np.concatenate(([True], begins[1:] > last[:-1]))
    starts = begins[first]
    stops = np.concatenate((last[:-1][first[1:]], last[-1:]))
    together = float(np.ceil((stops - starts) / GRANULE_SECONDS).sum() * GRANULE_SECONDS)
    return max(together, float((ends - begins).sum()) / concurrency)


def _instances(arrivals: Seconds) -> int:
    return 1 + int((np.diff(arrivals) > INSTANCE_IDLE_SECONDS).sum()) if len(arrivals) else 0
