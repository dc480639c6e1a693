"""Adds up what the jobs' own documents say, and compares every counter with it.

It shares no sum with `gate.domain.meter`: an error there is to be seen here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gate.domain.job import Job, JobState
from gate.domain.scopes import BUDGET

_USAGE = "usage/"
_NO_SUMS = {"rate_tat_us", "first_seen_us"}
"""These are times."""
_EVERYTHING = 10**6
Counters = Mapping[tuple[str, ...], int]


async def differences(ledger: Any) -> list[str]:
    """Return each counter that is not what the jobs add up to, with both numbers; none if all are.

    Shards lend to each other, so of the budget's accounts the sum is compared.

    Args:
        ledger: at rest.
    """
    jobs = await ledger.jobs(limit=_EVERYTHING)
    found = [*await _counted(ledger, _USAGE)]
    shards: Counter[tuple[str, ...]] = Counter()
    for _, counters in await _counted(ledger, BUDGET):
        shards.update(counters)
    callers = {f"{_USAGE}{job.caller}" for job in jobs} - dict(found).keys()
    found += [(account, {}) for account in sorted(callers)]
    differing = list(_compared("budget", shards, _sums(jobs, _of_the_budget)))
    for account, counters in found:
        its = [job for job in jobs if f"{_USAGE}{job.caller}" == account]
        differing += _compared(account, counters, _sums(its, _of_a_caller))
    return differing


async def _counted(ledger: Any, prefix: str) -> list[tuple[str, Counters]]:
    accounts = await ledger.accounts(prefix, limit=_EVERYTHING)
    return [(account, await ledger.counters(account)) for account in accounts]


def _compared(account: str, counters: Counters, sums: Counters) -> Iterator[str]:
    for path in sorted(counters.keys() | sums.keys()):
        counted, summed = counters.get(path, 0), sums.get(path, 0)
        if path[0] not in _NO_SUMS and counted != summed:
            yield f"{account} {'.'.join(path)} is {counted:,}, and its jobs make {summed:,}"


def _sums(jobs: Iterable[Job], amounts: Any) -> Counters:
    sums: Counter[tuple[str, ...]] = Counter()
    for job in jobs:
        sums.update(amounts(job))
    return sums


def _of_a_caller(job: Job) -> dict[tuple[str, ...], int]:
    day, hour, month = _periods(job)
    asked = int(job.state is not JobState.RELEASED)
    money = {(*period, "microdollars"): _microdollars(job) for period in (day, hour, month)}
    return {
        **money,
        ("in_flight",): int(not job.state.final),
        (*day, "requests"): asked,
        (*month, "requests"): asked,
        (*day, "gpu_ms"): _gpu_ms(job),
    }


def _of_the_budget(job: Job) -> dict[tuple[str, ...], int]:
    scopes = [("microdollars",), ("cohort_microdollars", job.cohort), ("model_microdollars", job.model)]
    money = {(*period, *scope): _microdollars(job) for period in _periods(job) for scope in scopes}
    return {**money, ("in_flight",): int(not job.state.final)}


def _periods(job: Job) -> tuple[tuple[str, ...], ...]:
    """A job is counted where it was held, whenever it ends."""
    day = ("days", f"{job.held_at:%Y-%m-%d}")
    return day, (*day, "hours", f"{job.held_at:%H}"), ("months", f"{job.held_at:%Y-%m}")


def _microdollars(job: Job) -> int:
    return job.held_microdollars if job.settled_microdollars is None else job.settled_microdollars


def _gpu_ms(job: Job) -> int:
    if job.state is JobState.RELEASED:
        return 0
    return job.held_gpu_ms if job.spent is None else job.spent.execution_ms + job.spent.start_ms
