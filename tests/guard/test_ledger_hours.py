"""Sums by the hour that are those of reading every job, and that read each job once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gate.domain.job import HandOver, Job, JobState, Settlement
from gate.guard.ledger_hours import RECONCILED_PATH, LedgerHour, LedgerHours, added_up, gpu_microdollars, priced_by
from gate.ledgers.sqlite import SqliteLedger
from gate.money import Spent, Tariff
from gate.parts import Store
from gate.ports import Admitted
from gate.steps.history import jobs_between
from tests.gate.doubles import WatchedLog
from tests.makers import NOON, make_job, make_model, make_moves

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
TARIFF = make_model().tariff
SECOND = 160
"""Micro-dollars of a second of runpod/AMPERE_16."""
_callers = itertools.count()


class Reads:
    """A ledger that counts how many jobs were read of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.jobs_read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def jobs(self, **asked: Any) -> list[Job]:
        found = await self._store.jobs(**asked)
        self.jobs_read += len(found)
        return found


def hours_of(store: Any, *, tariff: Tariff = TARIFF, log: WatchedLog | None = None) -> LedgerHours:
    return LedgerHours(ledger=store, documents=store, tariff=tariff, log=log or WatchedLog())


async def all_read(store: Store, since: datetime, until: datetime, *, tariff: Tariff = TARIFF) -> list[LedgerHour]:
    """Return the sums of every job of the span, read anew."""
    jobs = [job async for job in jobs_between(store, since=since, until=until)]
    count = (until - since) // HOUR
    return [added_up(at, _held_in(jobs, at), tariff) for at in (since + number * HOUR for number in range(count))]


def _held_in(jobs: Sequence[Job], begins: datetime) -> list[Job]:
    return [job for job in jobs if begins <= job.held_at < begins + HOUR]


async def held(store: Store, *, at: datetime) -> Job:
    return await admitted(store, job_of_its_own(at))


async def admitted(store: Store, job: Job) -> Job:
    found = await store.hold(job, make_moves(job))
    assert isinstance(found, Admitted)
    return found.job


def job_of_its_own(at: datetime) -> Job:
    """A job of a caller who has no other, so that no rate limit is in its way."""
    return make_job(held_at=at, caller=f"caller-{next(_callers)}")


def took(seconds: int) -> Settlement:
    spent = Spent(execution_ms=seconds * 1000, idle_ms=0)
    return Settlement(
        state=JobState.SETTLED, microdollars=TARIFF.microdollars(spent), gpu_ms=seconds * 1000, spent=spent
    )


async def test_a_job_is_read_once_by_24_reconciliations(store: Store) -> None:
    """Reading a day's jobs each hour would be 24 reads a job."""
    for number in range(6):
        job = await held(store, at=NOON - number * timedelta(minutes=10) - timedelta(minutes=5))
        await store.settle(job, took(10), at=NOON)
    reads = Reads(store)

    found = [await hours_of(reads).between(until - DAY, until) for until in (NOON + n * HOUR for n in range(24))]

    assert reads.jobs_read == 6
    assert [sum(hour.ledger_microdollars for hour in hours) for hours in found] == [6 * 10 * SECOND] * 24


async def test_an_hour_is_read_again_until_its_last_job_has_ended(store: Store) -> None:
    """However long that takes; a job may wait for a day."""
    job = await held(store, at=NOON - timedelta(minutes=5))
    await store.hand_over(job, HandOver(provider_job_id="p", due_at=NOON, look_at=NOON, awaited_ms=0))
    reads, until = Reads(store), NOON
    while until < NOON + 20 * HOUR:
        hours = await hours_of(reads).between(until - DAY, until)
        assert [hour.unfinished for hour in hours if hour.jobs] == [1]
        until += HOUR
    await store.settle(job, took(7), at=until)

    for _ in range(3):
        hours = await hours_of(reads).between(until - DAY, until)

    assert sum(hour.ledger_microdollars for hour in hours) == 7 * SECOND
    assert reads.jobs_read == 20 + 1


@pytest.mark.parametrize(
    "lies",
    [None, {}, {"priced_by": 1, "hours": "none"}, {"priced_by": priced_by(TARIFF), "hours": [{"jobs": -1}]}],
    ids=["gone", "empty", "of-other-types", "negative"],
)
async def test_sums_that_are_gone_or_malformed_are_read_again(store: Store, lies: dict[str, Any] | None) -> None:
    """Somebody may delete or edit the document in the console."""
    await store.settle(await held(store, at=NOON - 3 * HOUR), took(10), at=NOON)
    log = WatchedLog()
    before = await hours_of(store).between(NOON - DAY, NOON)
    await store.write(RECONCILED_PATH, lies or {})
    if lies is None:
        assert await store.delete(RECONCILED_PATH)

    assert await hours_of(store, log=log).between(NOON - DAY, NOON) == before
    assert len(log.lines("reconcile.forgot")) == (lies is not None)


async def test_another_price_reckons_everything_anew(store: Store) -> None:
    """Who corrects HARDWARE because of a drift sees at the next hour whether it was that."""
    await store.settle(await held(store, at=NOON - 3 * HOUR), took(10), at=NOON)
    await hours_of(store).between(NOON - DAY, NOON)
    price = TARIFF.gpu
    dearer = replace(TARIFF, gpu=replace(price, nanodollars_per_hour=2 * price.nanodollars_per_hour))

    hours = await hours_of(store, tariff=dearer).between(NOON - DAY, NOON)

    assert sum(hour.ledger_microdollars for hour in hours) == 2 * 10 * SECOND


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 30 * 60),  # minutes until it is held
            st.integers(0, 6 * 60),  # minutes until it ends
            st.sampled_from(["settled", "released", "lost", "never"]),
        ),
        max_size=12,
    ),
    st.lists(st.integers(0, 36), max_size=6, unique=True).map(sorted),
)
def test_the_sums_are_those_of_reading_every_job(lives: list[tuple[int, int, str]], looks: list[int]) -> None:
    """Whenever jobs end, however they end, and whichever hours nobody looked at."""
    with TemporaryDirectory() as folder:
        asyncio.run(_looked_at(f"{folder}/ledger.sqlite3", lives, looks))


async def _looked_at(path: str, lives: list[tuple[int, int, str]], looks: list[int]) -> None:
    store = SqliteLedger(path)
    jobs = {number: job_of_its_own(NOON + timedelta(minutes=life[0])) for number, life in enumerate(lives)}
    begins = [(life[0], 0, number) for number, life in enumerate(lives)]
    ends = [(life[0] + life[1], 1, number) for number, life in enumerate(lives) if life[2] != "never"]
    for minute, kind, number in sorted([*begins, *ends, *((look * 60 + 15, 2, look) for look in looks)]):
        if kind == 0:
            await store.hold(jobs[number], make_moves(jobs[number]))
        elif kind == 1:
            await store.settle(
                jobs[number], _end(jobs[number], lives[number][2]), at=NOON + timedelta(minutes=minute)
            )
        else:
            until = NOON + number * HOUR
            found = await hours_of(store).between(until - DAY, until)
            assert found == await all_read(store, until - DAY, until)
    await store.close()


def _end(job: Job, how: str) -> Settlement:
    if how == "settled":
        return took(3)
    return Settlement.in_full(job, JobState.EXPIRED, "lost") if how == "lost" else Settlement.release("no")


def test_a_job_paid_in_full_counts_at_the_workers_part_of_its_hold() -> None:
    """Nobody knows what it took, so the ledger says the most that the provider can have billed for it."""
    job = make_job(held_gpu_ms=90_000, held_microdollars=make_model().worst_case_microdollars)
    lost = job.settled(Settlement.in_full(job, JobState.EXPIRED, "lost"), at=NOON)

    assert gpu_microdollars(lost, TARIFF) == (90 + 5) * SECOND
    assert gpu_microdollars(job.settled(Settlement.release("no"), at=NOON), TARIFF) == 0
