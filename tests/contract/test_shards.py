"""Admission over the shards of a real Firestore, from two instances at once: exactly what the budget pays for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gate.domain import lending
from gate.domain.plan import GateConfig
from gate.domain.scopes import BUDGET
from gate.errors import QuotaExceededError
from gate.ledgers.firestore import FirestoreLedger
from gate.ports import Admitted
from gate.steps.admission import Admission
from gate.steps.policy import Policy
from tests.emulators import firestore_emulator, fresh_project
from tests.makers import GENEROUS, FakeClock, make_config, make_job

pytestmark = pytest.mark.emulator

DAY = ("days", "2026-11-21", "microdollars")


@pytest.fixture
async def ledgers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[FirestoreLedger]]:
    """Two instances of the function, each with its own connection."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
    project = fresh_project()
    ledgers = [FirestoreLedger(project) for _ in range(2)]
    yield ledgers
    for ledger in ledgers:
        await ledger.close()


async def race(ledgers: list[FirestoreLedger], config: GateConfig, callers: int) -> list[object]:
    clock = FakeClock()
    instances = [Admission(ledger=ledger, clock=clock) for ledger in ledgers]
    rules = Policy(plan=GENEROUS, plan_name="free", config=config)
    holds = (instances[n % 2].hold(make_job(caller=f"user-{n}"), rules) for n in range(callers))
    return list(await asyncio.gather(*holds, return_exceptions=True))


async def spent(ledger: FirestoreLedger) -> int:
    return lending.spent(DAY, await ledger.rebalance(BUDGET, lambda _: []))


@pytest.mark.parametrize("jobs", [11, 60])
async def test_120_racing_callers_on_8_shards_use_the_budget_up_and_no_more(
    ledgers: list[FirestoreLedger], jobs: int
) -> None:
    """As many as it pays for are admitted, on whichever shard they fall; then everybody is refused."""
    config = make_config(budget_microdollars_per_day=1_000 * jobs + 999, budget_shards=8)

    outcomes = await race(ledgers, config, 120)

    refused = [outcome for outcome in outcomes if isinstance(outcome, QuotaExceededError)]
    assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == jobs
    assert {error.details["limit"] for error in refused} == {"budget_per_day"}
    assert len(refused) == 120 - jobs
    assert await spent(ledgers[0]) == 1_000 * jobs


async def test_another_number_of_shards_in_the_same_day_changes_nothing_about_the_budget(
    ledgers: list[FirestoreLedger],
) -> None:
    """What was spent on eight is spent, and what they have left is there for three."""
    before = make_config(budget_microdollars_per_day=20_000, budget_shards=8)
    after = make_config(budget_microdollars_per_day=20_000, budget_shards=3)

    first = await race(ledgers, before, 12)
    second = await race(ledgers, after, 40)

    assert sum(isinstance(outcome, Admitted) for outcome in first) == 12
    assert sum(isinstance(outcome, Admitted) for outcome in second) == 8
    assert await spent(ledgers[0]) == 20_000
