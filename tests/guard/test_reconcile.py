"""The ledger beside the provider's bill, on a real ledger and a scripted bill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gate.control import BillingRecord
from gate.domain.job import Job, JobState, Settlement
from gate.errors import ProviderUnavailableError
from gate.guard.alarm import Alarm
from gate.guard.channels import LogChannel
from gate.guard.reconcile import Reconciler
from gate.ledgers.sqlite import SqliteLedger
from gate.money import Spent
from gate.providers.scripted_control import ScriptedControl
from tests.gate.doubles import WatchedLog
from tests.guard.makers import make_overhead_count
from tests.makers import NOON, FakeClock, make_job, make_model, make_moves

HOUR = timedelta(hours=1)
TARIFF = make_model().tariff
SECOND = 160
"""Micro-dollars of a second of runpod/AMPERE_16."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    store = SqliteLedger(str(tmp_path / "ledger.sqlite3"))
    yield store
    await store.close()


def make_reconciler(store: SqliteLedger, control: ScriptedControl, log: WatchedLog) -> Reconciler:
    clock = FakeClock(NOON + timedelta(minutes=15))
    alarm = Alarm(documents=store, channels=[LogChannel(log)], clock=clock, log=log)
    return Reconciler(
        ledger=store,
        documents=store,
        control=control,
        tariff=TARIFF,
        overhead=make_overhead_count(store, log),
        alarm=alarm,
        clock=clock,
        log=log,
    )


async def ran(store: SqliteLedger, *, seconds: int, at: datetime) -> Job:
    """A job whose worker told that this many seconds are its part."""
    spent = Spent(execution_ms=seconds * 1000, idle_ms=0)
    settlement = Settlement(
        state=JobState.SETTLED, microdollars=TARIFF.microdollars(spent), gpu_ms=seconds * 1000, spent=spent
    )
    job = make_job(held_at=at)
    await store.hold(job, make_moves(job))
    return await store.settle(job, settlement, at=at + timedelta(seconds=seconds))


def billed(begins: datetime, microdollars: int, fee: int = 0) -> BillingRecord:
    return BillingRecord(begins=begins, ends=begins + HOUR, microdollars=microdollars, fee_microdollars=fee)


async def test_a_ledger_that_agrees_has_no_drift_and_tells_nothing(store: SqliteLedger) -> None:
    for hour in range(24, 0, -1):
        await ran(store, seconds=100, at=NOON - hour * HOUR)
    control = ScriptedControl(records=[billed(NOON - hour * HOUR, 100 * SECOND, fee=0) for hour in range(1, 25)])
    log = WatchedLog()

    found = await make_reconciler(store, control, log).reconcile()

    assert found is not None
    assert (found.jobs, found.drift_microdollars, found.drift_percent) == (24, 0, 0.0)
    assert log.lines("alert.changed") == []
    document = await store.read("reconciliations/2026-11-21T12")
    assert document is not None
    assert document["ledger_microdollars"] == document["billed_microdollars"] == 24 * 100 * SECOND


@pytest.mark.parametrize(
    ("factor", "state"), [(1.04, None), (1.08, "warned"), (1.5, "critical"), (0.5, "critical")], ids=str
)
async def test_a_drift_is_told_in_percent_of_the_bill(store: SqliteLedger, factor: float, state: str | None) -> None:
    """Both ways: a bill above the ledger is money that nobody held."""
    await ran(store, seconds=10_000, at=NOON - 3 * HOUR)
    control = ScriptedControl(records=[billed(NOON - 3 * HOUR, round(10_000 * SECOND * factor))])
    log = WatchedLog()

    await make_reconciler(store, control, log).reconcile()

    assert [line["state"] for line in log.lines("alert.changed")] == ([state] if state else [])


async def test_a_fee_is_no_drift(store: SqliteLedger) -> None:
    """It is nobody's second; it is written down beside the rest."""
    await ran(store, seconds=10_000, at=NOON - 3 * HOUR)
    control = ScriptedControl(records=[billed(NOON - 3 * HOUR, 10_000 * SECOND + 70_000, fee=70_000)])

    found = await make_reconciler(store, control, WatchedLog()).reconcile()

    assert found is not None
    assert (found.drift_microdollars, found.fee_microdollars) == (0, 70_000)


async def test_cents_are_not_worth_an_alarm(store: SqliteLedger) -> None:
    control = ScriptedControl(records=[billed(NOON - 9 * HOUR, 49_999)])
    log = WatchedLog()

    found = await make_reconciler(store, control, log).reconcile()

    assert found is not None
    assert found.drift_percent == 100.0
    assert log.lines("alert.changed") == []


async def test_a_bill_that_grows_while_nothing_is_counted_is_an_alarm(store: SqliteLedger) -> None:
    """A dead man's alert: metering itself has stopped, or a stranger has the key."""
    control = ScriptedControl(records=[billed(NOON - HOUR, 60_000)])
    log = WatchedLog()

    await make_reconciler(store, control, log).reconcile()

    told = {line["alert"]: line["state"] for line in log.lines("alert.changed")}
    assert told["metering_stopped"] == "critical"


async def test_only_whole_hours_of_the_last_day_are_compared(store: SqliteLedger) -> None:
    """The running hour is not billed to its end yet."""
    await ran(store, seconds=10, at=NOON - 24 * HOUR - timedelta(seconds=1))
    await ran(store, seconds=10, at=NOON - 24 * HOUR)
    await ran(store, seconds=10, at=NOON)
    control = ScriptedControl(records=[billed(NOON + offset * HOUR, 10 * SECOND) for offset in (-25, -24, 0)])

    found = await make_reconciler(store, control, WatchedLog()).reconcile()

    assert found is not None
    assert (found.jobs, found.ledger_microdollars, found.billed_microdollars) == (1, 10 * SECOND, 10 * SECOND)


async def test_a_bill_that_cannot_be_read_is_a_line_in_the_log(store: SqliteLedger) -> None:
    control, log = ScriptedControl(), WatchedLog()
    control.errors.append(ProviderUnavailableError("HTTP 503"))

    assert await make_reconciler(store, control, log).reconcile() is None
    assert [line["reason"] for line in log.lines("reconcile.no_bill")] == ["HTTP 503"]


async def test_a_bill_that_cannot_be_read_is_told_until_it_can(store: SqliteLedger) -> None:
    """What no job accounts for is not counted meanwhile."""
    control, log = ScriptedControl(), WatchedLog()
    control.errors.extend([ProviderUnavailableError("HTTP 503")] * 2)
    reconciler = make_reconciler(store, control, log)

    for _ in range(4):
        await reconciler.reconcile()

    told = [(line["alert"], line["state"]) for line in log.lines("alert.changed")]
    assert told == [("bill", "warned"), ("bill", "recovered")]
