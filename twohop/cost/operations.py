"""What hop 1 does in Firestore: for a call, in each instance that serves, and by the clock.

All of it is counted between hop 1 and Firestore's emulator by a test, so that forecast and code cannot disagree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from gate.domain.plan import STARTER_PLANS
from gate.money import MS_PER_LOOK
from gate.providers import CONTROLS
from twohop.cost import loop
from twohop.cost.scenario import Design, Scenario
from twohop.cost.traffic import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What one call does in Firestore, and how often it invokes a function."""

    invocations: float
    reads: float
    writes: int
    deletes: int = 0


OF_A_DENIAL = Operations(invocations=1, reads=1, writes=5, deletes=1)
"""The caller's own policy is read; job, caller and budget shard are written when it is held, caller and shard when
that is put back; the job is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """What a function of `main.py` does each time that Google's scheduler calls it, while all is well.

    Each alert that was ever raised, beyond the first, is one read more of `sweep` and of `reconcile`.
    """

    runs_per_day: int
    reads: int
    reads_of_a_plan: int = 0
    reads_of_a_shard: int = 0
    writes: int = 0

    def reads_a_run(self, *, plans: int, shards: int) -> int:
        """Return the reads of one run. The jobs that `reconcile` reads are counted with the jobs."""
        return self.reads + plans * self.reads_of_a_plan + shards * self.reads_of_a_shard


SCHEDULED = {
    "sweep": Scheduled(runs_per_day=288, reads=7, reads_of_a_plan=2, reads_of_a_shard=2, writes=1),
    "ladder": Scheduled(runs_per_day=1_440, reads=5, reads_of_a_shard=1),
    "reconcile": Scheduled(runs_per_day=24, reads=3, reads_of_a_shard=1, writes=2),
}
SCHEDULED_RUNS_PER_DAY = sum(one.runs_per_day for one in SCHEDULED.values())
SCHEDULED_WRITES_PER_DAY = sum(one.runs_per_day * one.writes for one in SCHEDULED.values())

POLICY_SECONDS = 10.0
"""How long an instance uses the configuration and a plan before it reads them again, by default."""
_SIGN_SECONDS = 600.0
"""How often an instance that serves looks whether the watchdog lives."""
_TELL_OF_EACH_END = ("runpod",)
"""Providers that call a job's webhook though its call has heard of its end."""
_DOCUMENTS_OF_A_PLAN = 2
"""The configuration and the plan."""


def scheduled_reads_per_day(scenario: Scenario) -> int:
    """Return what the scheduled functions read in a day, whoever calls."""
    plans, shards = len(STARTER_PLANS), scenario.budget_shards
    return sum(one.runs_per_day * one.reads_a_run(plans=plans, shards=shards) for one in SCHEDULED.values())


def of_a_call(scenario: Scenario, *, looks: float, polls: float) -> Operations:
    """Return the operations of a design.

    A hold writes job, caller and budget shard, and a settlement the same three; a job that outlives its call writes
    its provider's id besides, and the webhook that ends it reads it. RunPod's webhook comes for a held call as well,
    as nobody knows beforehand which one will outlive its wait. The caller's own policy is one read. Where the
    provider has a bill, the reconciliation reads the job once.

    Args:
        scenario: whose design.
        looks: how often a call that waits looks into its job, on average.
        polls: how often a polling client asks, on average.
    """
    provider = scenario.hardware.partition("/")[0]
    reconciled, told = int(provider in CONTROLS), int(provider in _TELL_OF_EACH_END)
    match scenario.design:
        case Design.HOLD:
            return Operations(invocations=1 + told, reads=1 + told + reconciled + looks, writes=6)
        case Design.POLL:
            return Operations(invocations=2 + polls, reads=2 + reconciled + polls, writes=7)
        case Design.WEBHOOK:
            # The listener gets the document when it begins and when the job has ended.
            return Operations(invocations=2, reads=4 + reconciled, writes=7)
        case Design.DIRECT:
            return Operations(invocations=0, reads=0, writes=0)


def looks_in(waited: Seconds | float) -> Fraction:
    """Return how often calls that wait look into their jobs, as `money.of_a_wait` prices it too."""
    return Fraction(int(np.floor(np.asarray(waited) * 1000 / MS_PER_LOOK + 1e-9).sum()))


def polls_in(waited: Seconds | float, poll_seconds: float) -> Fraction:
    """Return how often a client asks until its answer is there."""
    return Fraction(int(np.ceil(np.asarray(waited) / poll_seconds - 1e-9).sum()))


def reads_of_instances(arrivals: Seconds, *, instances: int, held_seconds: float = 0.0) -> int:
    """Return what instances read for themselves: the owner's documents when they are old, and a sign of life.

    Args:
        arrivals: of all calls; the instances take turns.
        instances: how many serve.
        held_seconds: of all instances; as long as calls wait in one, it looks at the configuration, for the switch.
    """
    shares = [np.ascontiguousarray(arrivals[number::instances]) for number in range(instances)]
    renewed = sum(loop.renewals(share, POLICY_SECONDS) for share in shares)
    signs = sum(loop.renewals(share, _SIGN_SECONDS) for share in shares)
    plans = renewed * (_DOCUMENTS_OF_A_PLAN - 1)
    return plans + max(renewed, round(held_seconds / POLICY_SECONDS)) + signs


def reads_of_instances_in(seconds: float, calls: float, *, instances: int, held_seconds: float = 0.0) -> float:
    """Return the same by formula, for calls that come by chance: after a read, the next call is a gap away."""
    gap = seconds * instances / calls
    renewed, signs = (instances * seconds / (each + gap) for each in (POLICY_SECONDS, _SIGN_SECONDS))
    return renewed * (_DOCUMENTS_OF_A_PLAN - 1) + max(renewed, held_seconds / POLICY_SECONDS) + signs


def instances_for(busy_seconds: float, seconds: float, concurrency: int) -> int:
    """Return how many instances can hold the calls, on average."""
    return max(1, math.ceil(busy_seconds / seconds / concurrency))
