"""Overhead is counted on a real ledger, however many count it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from gate.control import BillingRecord
from gate.domain.limits import Periods
from gate.domain.overhead import OVERHEAD
from gate.guard.kill_ladder import KillLadder
from gate.guard.ledger_hours import LedgerHour
from gate.guard.overhead import of_the_day
from gate.parts import Store
from tests.gate.doubles import WatchedLog, fill
from tests.guard.makers import make_overhead_count
from tests.makers import NOON, FakeClock, make_config, make_documents

HOUR = timedelta(hours=1)
DAY = Periods.of(NOON).day


def hour(number: int, microdollars: int, *, unfinished: int = 0) -> LedgerHour:
    """An hour of the day before noon, counted from midnight."""
    return LedgerHour(
        begins=NOON + (number - 12) * HOUR,
        jobs=unfinished + 1,
        jobs_paid_in_full=0,
        ledger_microdollars=microdollars,
        unfinished=unfinished,
    )


def billed(number: int, microdollars: int, *, fee: int = 0) -> BillingRecord:
    begins = NOON + (number - 12) * HOUR
    return BillingRecord(begins=begins, ends=begins + HOUR, microdollars=microdollars, fee_microdollars=fee)


async def test_counters_that_race_count_once(store: Store) -> None:
    """Two instances may run the schedule during a deployment, and Cloud Scheduler repeats a run that failed."""
    count = make_overhead_count(store, WatchedLog())
    hours, bill = [hour(3, 100)], [billed(3, 350)]

    counted = await asyncio.gather(*(count.count(hours, bill, until=NOON) for _ in range(6)))

    counters = await store.counters("budget/0")
    assert set(counted) == {250}
    assert (counters[*DAY, OVERHEAD], counters[*DAY, "microdollars"]) == (250, 250)


async def test_an_owner_who_keeps_workers_may_turn_it_off(store: Store) -> None:
    """They know what those cost."""
    await fill(store, make_documents(config=make_config(count_overhead=False)))

    assert await make_overhead_count(store, WatchedLog()).count([], [billed(3, 350)], until=NOON) == 0
    assert await store.counters("budget/0") == {}


async def test_a_configuration_that_is_none_does_not_lift_the_ceiling(store: Store) -> None:
    """When in doubt it is counted."""
    await store.write("gate/config", {"count_overhead": "no"})

    assert await make_overhead_count(store, WatchedLog()).count([], [billed(3, 350)], until=NOON) == 350


async def test_a_silent_rise_raises_the_level_by_itself_and_once(store: Store) -> None:
    """From what was counted; by hand it comes down and stays."""
    await fill(store, make_documents(config=make_config(kill_at_percent_of_overhead={"4": 40})))
    await make_overhead_count(store, WatchedLog()).count([hour(3, 100_000)], [billed(3, 200_000)], until=NOON)
    clock = FakeClock()
    ladder = KillLadder(store=store, clock=clock, log=WatchedLog())

    assert await ladder.run() == 4
    clock.advance(minutes=1)
    await ladder.set_level(0, name="Ann", reason="the price is in HARDWARE now")
    assert await ladder.run() == 0

    assert "no job's" in (await ladder.history())[-1].reason


@pytest.mark.parametrize(
    ("hours", "bill", "expected"),
    [
        pytest.param([hour(3, 100)], [billed(3, 90)], 0, id="the-ledger-is-above"),
        pytest.param([hour(3, 100), hour(4, 50)], [billed(3, 90), billed(4, 90)], 30, id="hours-even-out"),
        pytest.param([hour(3, 100)], [billed(3, 170, fee=70)], 70, id="a-fee"),
        pytest.param([hour(11, 100, unfinished=2)], [billed(11, 180)], 20, id="jobs-that-have-not-ended"),
        pytest.param([hour(-1, 0)], [billed(-1, 90)], 0, id="yesterday"),
    ],
)
def test_what_the_jobs_of_the_day_do_not_account_for(
    hours: list[LedgerHour], bill: list[BillingRecord], expected: Any
) -> None:
    """Over the day as a whole: a job that crosses an hour is in one hour's ledger and in two hours' bill."""
    day = NOON - timedelta(seconds=1)

    assert of_the_day(hours, bill, day=day, job_microdollars_max=30) == expected
