"""The simulation: calls meet workers that start, compute, idle and end. An event a call, first come first served."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from twohop.cost import loop
from twohop.cost.traffic import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the fleet behaves, and how a worker's life is billed."""

    workers_max: int
    workers_min: int = 0
    """Workers that never end."""
    jobs_at_once: int = 1
    pull_seconds: float = 0.0
    start_seconds: float = 0.0
    idle_seconds: float = 0.0
    wait_seconds_max: float = math.inf
    bills_pull: bool = False
    bills_start: bool = True
    bills_idle: bool = True
    granularity_ms: int = 1
    min_charge_ms: int = 0
    start_delay_seconds: float | None = None
    """A further worker starts when a call has waited for so long and none is starting; None if each call that has to
    wait starts one at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What happened in the month."""

    calls: int
    refused: int
    """Calls that would have waited too long."""
    starts: int
    cold_calls: int
    """Calls that had to wait for a worker to start."""
    useful_seconds: float
    """Worker time with at least one job in it."""
    start_seconds: float
    """Billed."""
    idle_seconds: float
    """Billed."""
    rounding_seconds: float
    """What rounding up added to the workers' lives."""
    blocks: int
    """Of five minutes, by which a worker's disk is billed."""
    waits: Seconds
    """From arrival to a worker, of the calls that were served."""
    ends: Seconds
    """When each served call had its answer."""
    arrivals: Seconds

    @property
    def billed_seconds(self) -> float:
        """All that the provider bills."""
        return self.useful_seconds + self.start_seconds + self.idle_seconds + self.rounding_seconds

    @property
    def cold_share(self) -> float:
        """The probability that a call meets a cold start."""
        return self.cold_calls / max(1, self.calls - self.refused)

    @property
    def wait_mean(self) -> float:
        """In seconds."""
        return float(self.waits.mean()) if len(self.waits) else 0.0

    def wait_at(self, percentile: float) -> float:
        """Return a percentile of the wait, in seconds."""
        return float(np.percentile(self.waits, percentile)) if len(self.waits) else 0.0


def live(arrivals: Seconds, times: Seconds, rules: Rules, *, until: float) -> Lived:
    """Run the month. Workers that still live at its end are billed until then, or until the last job's end."""
    waits, sums = loop.run(arrivals, times, _compiled(rules), until)
    served = waits >= 0
    starts, cold, useful, start, idle, rounding, blocks = (float(value) for value in sums)
    return Lived(
        calls=len(arrivals),
        refused=int((~served).sum()),
        starts=int(starts),
        cold_calls=int(cold),
        useful_seconds=useful,
        start_seconds=start,
        idle_seconds=idle,
        rounding_seconds=rounding,
        blocks=int(blocks),
        waits=waits[served],
        ends=arrivals[served] + waits[served] + times[served],
        arrivals=arrivals[served],
    )


def _compiled(rules: Rules) -> loop.Rules:
    return loop.Rules(
        workers_max=rules.workers_max,
        workers_min=rules.workers_min,
        at_once=rules.jobs_at_once,
        pull=rules.pull_seconds,
        load=rules.start_seconds,
        idle=rules.idle_seconds,
        wait_max=rules.wait_seconds_max,
        bills_pull=rules.bills_pull,
        bills_start=rules.bills_start,
        bills_idle=rules.bills_idle,
        step=rules.granularity_ms / 1000,
        least=rules.min_charge_ms / 1000,
        delay=-1.0 if rules.start_delay_seconds is None else rules.start_delay_seconds,
    )
