"""Quick answers by formula, beside the simulation: exact where their assumptions hold, and only there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from twohop.cost.fleet import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """What a formula says of a month."""

    cold_share: float
    billed_seconds_per_call: float
    wait_mean_seconds: float


def sparse(*, calls_per_second: float, compute_seconds: float, rules: Rules) -> Quick:
    """Return the answer for rare calls by chance (Poisson) that one worker at a time serves.

    The gap between the end of a call and the next one is exponential, because chance has no memory. It is longer
    than the idle timeout T with the probability exp(-rate T), and its billed part has the mean
    (1 - exp(-rate T)) / rate. Exact while calls do not overlap; under load the simulation says more.
    """
    cold = math.exp(-calls_per_second * rules.idle_seconds)
    idle = (1 - cold) / calls_per_second if rules.bills_idle else 0.0
    start = (rules.start_seconds if rules.bills_start else 0.0) + (rules.pull_seconds if rules.bills_pull else 0.0)
    return Quick(
        cold_share=cold,
        billed_seconds_per_call=compute_seconds + idle + cold * start,
        wait_mean_seconds=cold * (rules.pull_seconds + rules.start_seconds),
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
