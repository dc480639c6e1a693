"""Measures the simulation beside numpy drawing its arrivals and compute times: `python -m twohop.cost.speed`."""

from __future__ import annotations

import sys
from time import perf_counter

import numpy as np

from twohop.cost.fleet import Rules, live
from twohop.cost.scenario import Scenario
from twohop.cost.traffic import Seconds

_CALLS = 1_000_000
_ROUNDS = 5
_RATIO_MAX = 10


def main() -> int:
    """Print the best of some rounds; return 1 if simulating takes ten times as long as drawing, or more."""
    scenario = Scenario(calls_per_month=_CALLS, compute_seconds=2.0)
    rules = Rules(workers_max=20, start_seconds=15, idle_seconds=5, granularity_ms=1000)
    live(*_drawn(scenario), rules, until=scenario.seconds)  # compiles
    drawing, simulating = [], []
    for _ in range(_ROUNDS):
        begun = perf_counter()
        arrivals, times = _drawn(scenario)
        drawn = perf_counter()
        live(arrivals, times, rules, until=scenario.seconds)
        drawing.append(drawn - begun)
        simulating.append(perf_counter() - drawn)
    ratio = min(simulating) / min(drawing)
    sys.stdout.write(
        f"{_CALLS:,} calls: numpy draws them in {min(drawing) * 1000:.0f} ms, "
        f"the month is simulated in {min(simulating) * 1000:.0f} ms, {ratio:.1f} times as long\n"
    )
    return int(ratio >= _RATIO_MAX)


def _drawn(scenario: Scenario) -> tuple[Seconds, Seconds]:
    rng = np.random.default_rng(scenario.seed)
    arrivals = np.cumsum(rng.exponential(1 / scenario.calls_per_second, _CALLS))
    return arrivals, rng.gamma(4, scenario.compute_seconds / 4, _CALLS)


if __name__ == "__main__":
    sys.exit(main())
