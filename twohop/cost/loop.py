"""The simulation's inner loop, compiled by numba.

A worker's end depends on every call before it, so no array operation of numpy says it at once; a loop in Python takes
seconds for a million calls, and this one less than a tenth of a second. Compiling takes some seconds once a machine,
and the result is cached beside this file.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STARTS, _COLD, _USEFUL, _START, _IDLE, _ROUNDING, _BLOCKS = range(7)
BLOCK_SECONDS = 300.0
"""A disk is billed by so much of a worker's life, begun ones whole."""
_ALMOST = 1e-9
"""Seconds of floating-point noise that must not be rounded up to another step."""


class Rules(NamedTuple):
    """As `fleet.Rules`, in the form that numba compiles."""

    workers_max: int
    workers_min: int
    at_once: int
    pull: float
    load: float
    idle: float
    wait_max: float
    bills_pull: bool
    bills_start: bool
    bills_idle: bool
    step: float
    least: float
    delay: float


class _Fleet(NamedTuple):
    """The workers, a row each."""

    alive: NDArray[np.bool_]
    claimed: NDArray[np.bool_]
    """It has had a job."""
    ready: Floats
    """When it had started."""
    last: Floats
    """When its last job ends."""
    useful: Floats
    slots: Floats
    """When each of its places for a job comes free."""
    sums: Floats


@numba.njit(cache=True, nogil=True)  # a progress bar moves in another thread meanwhile
def run(arrivals: Floats, times: Floats, rules: Rules, until: float) -> tuple[Floats, Floats]:
    """Return each call's wait, -1 if it is given up, and the sums of the month."""
    most = max(rules.workers_max, rules.workers_min)
    fleet = _Fleet(
        np.zeros(most, np.bool_),
        np.zeros(most, np.bool_),
        np.zeros(most),
        np.zeros(most),
        np.zeros(most),
        np.zeros((most, rules.at_once)),
        np.zeros(7),
    )
    fleet.alive[: rules.workers_min] = True
    fleet.claimed[: rules.workers_min] = True
    waits = np.empty(len(arrivals))
    used = rules.workers_min  # no worker beyond this one has ever lived
    for call in range(len(arrivals)):
        now = arrivals[call]
        worker, start_at = _choose(fleet, rules, used, now)
        if start_at >= 0:
            born = _start(fleet, rules, start_at)
            used = max(used, born + 1)
            if worker < 0 or fleet.ready[born] < fleet.slots[worker].min():
                worker = born
        begins = max(now, fleet.slots[worker].min())
        waits[call] = begins - now
        if waits[call] > rules.wait_max:
            waits[call] = -1.0
            continue
        _take(fleet, worker, now, begins, begins + times[call])
    for worker in range(used):
        if fleet.alive[worker]:
            forever = worker < rules.workers_min
            _end(fleet, rules, worker, max(until, fleet.last[worker]) if forever else fleet.last[worker] + rules.idle)
    return waits, fleet.sums


@numba.njit(cache=True)
def renewals(arrivals: Floats, seconds: float) -> int:
    """Return how many arrivals find that the last one that renewed something did so `seconds` ago, or more."""
    count, last = 0, -math.inf
    for call in range(len(arrivals)):
        if arrivals[call] - last >= seconds:
            count, last = count + 1, arrivals[call]
    return count


@numba.njit(cache=True)
def _choose(fleet: _Fleet, rules: Rules, used: int, now: float) -> tuple[int, float]:
    """End who idled too long. Return the worker for a call that comes now, and when to start another, or -1.

    An idle place is taken on the worker that was started last, so that older ones can end: what McGrath and Brenner
    (2017) saw platforms do, and SimFaaS assumes. A call that has to wait starts a worker, unless one is starting
    already that no call waits for. With a delay, it does so only when it has waited for so long and no other worker
    is starting, as RunPod's queue has it; the first worker starts at once.
    """
    warm, waiting, living, spare, latest = -1, -1, 0, False, 0.0
    for worker in range(used):
        if not fleet.alive[worker]:
            continue
        if worker >= rules.workers_min and fleet.last[worker] + rules.idle < now:
            _end(fleet, rules, worker, fleet.last[worker] + rules.idle)
            continue
        living += 1
        free = fleet.slots[worker].min()
        if free <= now:
            if warm < 0 or fleet.ready[worker] > fleet.ready[warm]:
                warm = worker
        elif waiting < 0 or free < fleet.slots[waiting].min():
            waiting = worker
        latest = max(latest, fleet.ready[worker])
        spare = spare or (not fleet.claimed[worker] and fleet.ready[worker] > now)
    if warm >= 0:
        return warm, -1.0
    if living >= rules.workers_max or (rules.delay < 0 and spare):
        return waiting, -1.0
    start_at = now if rules.delay < 0 or living == 0 else max(now + rules.delay, latest)
    if waiting >= 0 and rules.delay >= 0 and fleet.slots[waiting].min() <= start_at:
        return waiting, -1.0
    return waiting, start_at


@numba.njit(cache=True)
def _start(fleet: _Fleet, rules: Rules, now: float) -> int:
    born = 0
    while fleet.alive[born]:
        born += 1
    ready = now + rules.pull + rules.load
    fleet.alive[born], fleet.claimed[born] = True, False
    fleet.ready[born] = fleet.last[born] = ready
    fleet.useful[born] = 0.0
    fleet.slots[born, :] = ready
    fleet.sums[_STARTS] += 1
    return born


@numba.njit(cache=True)
def _take(fleet: _Fleet, worker: int, now: float, begins: float, ends: float) -> None:
    place = fleet.slots[worker].argmin()
    if not fleet.claimed[worker] and fleet.ready[worker] >= now:
        fleet.sums[_COLD] += 1
    fleet.claimed[worker] = True
    fleet.slots[worker, place] = ends
    # Jobs side by side are useful once: the time in which the worker has at least one.
    fleet.useful[worker] += max(0.0, ends - max(begins, fleet.last[worker]))
    fleet.last[worker] = max(fleet.last[worker], ends)


@numba.njit(cache=True)
def _end(fleet: _Fleet, rules: Rules, worker: int, at: float) -> None:
    """Bill a worker's life, in its parts."""
    useful = fleet.useful[worker]
    idle = max(0.0, at - fleet.ready[worker] - useful) if rules.bills_idle else 0.0
    start = 0.0
    if worker >= rules.workers_min:
        start = (rules.pull if rules.bills_pull else 0.0) + (rules.load if rules.bills_start else 0.0)
    life = useful + idle + start
    billed = max(rules.least, math.ceil(life / rules.step - _ALMOST) * rules.step) if life > 0 else 0.0
    fleet.sums[_USEFUL] += useful
    fleet.sums[_START] += start
    fleet.sums[_IDLE] += idle
    fleet.sums[_ROUNDING] += max(0.0, billed - life)
    fleet.sums[_BLOCKS] += math.ceil(life / BLOCK_SECONDS - _ALMOST)
    fleet.alive[worker] = False
