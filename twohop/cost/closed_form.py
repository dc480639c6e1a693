"""Quick answers by formula, beside the simulation: exact where their assumptions hold, and only there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from gate.money import MS_PER_LOOK
from twohop.cost.bill import Bill, bill
from twohop.cost.book import Book
from twohop.cost.fleet import Rules
from twohop.cost.loop import BLOCK_SECONDS
from twohop.cost.month import INSTANCE_IDLE_SECONDS, Month
from twohop.cost.operations import instances_for, reads_of_instances_in
from twohop.cost.scenario import Scenario
from twohop.cost.traffic import hourly
from twohop.cost.use import used
from twohop.errors import BadInputError

_HOUR = 3600
_FULL = 0.7
"""A worker that is busier than this is taken to have help, as far as there may be more of them."""
_FULLEST = 0.95
"""So busy is a worker at most: an hour with more calls than the workers can compute has no answer by formula."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """What a formula says of calls that come by chance, a call."""

    cold_share: float
    """How many of the calls start a worker."""
    idle_seconds: float
    """Billed."""
    wait_mean_seconds: float
    busy_share: float
    """How much of the time a call is waiting or computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickForecast:
    """A month's bill by formula."""

    scenario: Scenario
    bill: Bill
    cold_share: float
    wait_mean_seconds: float
    load: float
    """How many workers the calls keep busy, on average."""


def one_worker(*, calls_per_second: float, compute_seconds: float, compute_cv: float, rules: Rules) -> Quick:
    """Return the answer for one worker that ends when it has idled for its timeout T and starts in S seconds.

    Calls come by chance (Poisson), so the gap after a busy time is exponential: it is longer than T with the
    probability p = exp(-rate T), and its part before T has the mean (1 - p) / rate. A busy time begins with a start
    of S seconds with that probability: M/G/1 with exceptional first service (P. D. Welch, 1964), which has
    (1 + rate p S) / (1 - load) calls a busy time and the mean wait below. Exact for one worker.
    """
    rate, load = calls_per_second, calls_per_second * compute_seconds
    starts = rules.pull_seconds + rules.start_seconds
    cold = math.exp(-rate * rules.idle_seconds)
    longer = 1 + rate * cold * starts
    of_a_call = (1 - load) / longer  # busy times, for each call
    square = compute_seconds**2 * (1 + compute_cv**2)
    return Quick(
        cold_share=cold * of_a_call,
        idle_seconds=(1 - cold) / rate * of_a_call,
        wait_mean_seconds=rate * square / (2 * (1 - load))
        + (2 * cold * starts + rate * cold * starts**2) / (2 * longer),
        busy_share=(load + rate * cold * starts) / longer,
    )


def erlang_c(*, servers: int, load: float) -> float:
    """Return the probability that a call waits in M/M/c (Erlang 1917); `load` is rate x mean time."""
    if load >= servers:
        return 1.0
    blocked = 1.0  # Erlang B, by its recursion over the servers
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def always_on_wait(*, calls_per_second: float, compute_seconds: float, servers: int) -> float:
    """Return the mean wait in M/M/c: workers that are always there, calls and times by chance."""
    load = calls_per_second * compute_seconds
    if load >= servers:
        return math.inf
    return erlang_c(servers=servers, load=load) * compute_seconds / (servers - load)


def quick_forecast(scenario: Scenario, book: Book, rules: Rules) -> QuickForecast:
    """Return the month's bill by formula, hour by hour of the traffic's rhythm.

    Exact for one worker and calls by chance. Where one worker is not enough, the calls are taken to part evenly
    among as many as are needed, which is an estimate.

    Raises:
        BadInputError: there is no formula for this scenario.
    """
    if scenario.trace or scenario.jobs_at_once > 1:
        raise BadInputError(
            "--quick knows calls by chance, one at a time: no trace, jobs_at_once 1; leave --quick out"
        )
    found = [
        _hour(scenario, rules, float(share) * scenario.calls_per_month)
        for share in hourly(scenario)
        if float(share) * scenario.calls_per_month > 0
    ]
    lived = _lived(scenario, rules, found)
    month = _month(found, lived)
    return QuickForecast(
        scenario=scenario,
        bill=bill(used(scenario, month, book), book),
        cold_share=lived.starts / scenario.calls_per_month,
        wait_mean_seconds=lived.wait,
        load=scenario.calls_per_second * scenario.compute_seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Workers:
    starts: float
    wait: float
    """A call's, on average."""
    gpu_ms: dict[str, int]
    blocks: int


def _lived(scenario: Scenario, rules: Rules, found: Sequence[_Hour]) -> _Workers:
    calls, kept = scenario.calls_per_month, _kept_on(scenario, rules) if rules.workers_min else None
    starts = 0.0 if kept else sum(hour.starts for hour in found)
    idle = kept.idle if kept else sum(hour.idle for hour in found)
    paid = (rules.pull_seconds if rules.bills_pull else 0.0) + (rules.start_seconds if rules.bills_start else 0.0)
    useful = calls * scenario.compute_seconds
    return _Workers(
        starts=starts,
        wait=kept.wait if kept else sum(hour.waited for hour in found) / calls,
        gpu_ms={
            "useful": round(useful * 1000),
            "start": round(starts * paid * 1000),
            "idle": round(idle * 1000) if rules.bills_idle else 0,
            "rounding": round(starts * rules.granularity_ms / 2),
        },
        blocks=_blocks(useful + starts * paid + idle, lives=rules.workers_min if kept else starts),
    )


def _month(found: Sequence[_Hour], lived: _Workers) -> Month:
    days = [found[first : first + 24] for first in range(0, len(found), 24)]
    alone = sum(hour.calls * math.exp(-hour.calls / _HOUR * INSTANCE_IDLE_SECONDS) for hour in found)
    return Month(
        calls_by_day=tuple(Fraction(sum(hour.calls for hour in day)) for day in days),
        wait_mean_seconds=lived.wait,
        held_seconds=sum(hour.held for hour in found),
        instances=1 + round(alone),
        looks=Fraction(sum(hour.looks for hour in found)),
        polls=Fraction(sum(hour.polls for hour in found)),
        instance_reads=Fraction(sum(hour.instance_reads for hour in found)),
        instance_reads_held=Fraction(sum(hour.instance_reads_held for hour in found)),
        gpu_ms=lived.gpu_ms,
        blocks=lived.blocks,
    )


def _blocks(billed_seconds: float, *, lives: float) -> int:
    """Return in how many blocks the workers' disks are billed, if each of them lives as long as another."""
    return round(lives * math.ceil(billed_seconds / lives / BLOCK_SECONDS)) if lives else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hour:
    calls: float
    starts: float
    idle: float
    waited: float
    """Of all its calls together."""
    held: float
    """Hop 1's instances' time."""
    looks: float
    polls: float
    instance_reads: float
    instance_reads_held: float


def _hour(scenario: Scenario, rules: Rules, calls: float) -> _Hour:
    load = calls / _HOUR * scenario.compute_seconds
    workers = max(1, min(rules.workers_max, math.ceil(load / _FULL)))
    rate = min(calls / _HOUR / workers, _FULLEST / scenario.compute_seconds)
    one = one_worker(
        calls_per_second=rate,
        compute_seconds=scenario.compute_seconds,
        compute_cv=scenario.compute_cv,
        rules=rules,
    )
    each = one.wait_mean_seconds + scenario.compute_seconds + scenario.gate_seconds
    busy = min(1.0, one.busy_share + rate * scenario.gate_seconds)
    together = _HOUR * (1 - (1 - busy) ** workers)
    alone = scenario.gate_concurrency == 1
    held = calls * each if alone else max(together, calls * each / scenario.gate_concurrency)
    answered = one.wait_mean_seconds + scenario.compute_seconds
    few, more = (
        instances_for(calls * seconds, _HOUR, scenario.gate_concurrency) for seconds in (scenario.gate_seconds, each)
    )
    return _Hour(
        calls=calls,
        starts=calls * one.cold_share,
        idle=calls * one.idle_seconds,
        waited=calls * one.wait_mean_seconds,
        held=held,
        # Whole looks and polls of a time that is spread: half of one fewer, or more, than its mean has.
        looks=calls * max(0.0, answered * 1000 / MS_PER_LOOK - 0.5),
        polls=calls * (answered / scenario.poll_seconds + 0.5),
        instance_reads=reads_of_instances_in(_HOUR, calls, instances=few),
        instance_reads_held=reads_of_instances_in(_HOUR, calls, instances=more, held_seconds=held),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    idle: float
    wait: float


def _kept_on(scenario: Scenario, rules: Rules) -> _Kept:
    useful = scenario.calls_per_month * scenario.compute_seconds
    servers = max(rules.workers_min, rules.workers_max)
    wait = always_on_wait(
        calls_per_second=scenario.calls_per_second, compute_seconds=scenario.compute_seconds, servers=servers
    )
    return _Kept(
        idle=max(0.0, scenario.seconds * rules.workers_min - useful), wait=min(wait, scenario.wait_seconds_max)
    )
