"""A refusal from memory is never older than what came free since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from gate.domain.job import Job, JobState, Settlement
from gate.domain.lending import Shards
from gate.domain.meter import Move
from gate.domain.plan import GateConfig
from gate.errors import LedgerError, QuotaExceededError
from gate.ledgers.sqlite import SqliteLedger
from gate.log import EventLog
from gate.ports import Admitted
from gate.steps.admission import Admission
from gate.steps.policy import Policy
from gate.steps.settling import Settling
from tests.gate.doubles import WatchedLog
from tests.makers import GENEROUS, FakeClock, make_config, make_job

_LOOKS_TO_BE_SURE = 2
UNUSED = Settlement.release("it did not run", code="provider_unavailable")


class Tricky(SqliteLedger):
    """Its settlements take and are not answered; the last look at its shards is told of late."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.answers_settlements = True
        self.looks = 0
        self.is_sure = asyncio.Event()
        self.may_tell = asyncio.Event()
        self.may_tell.set()

    async def settle(self, job: Job, settlement: Settlement, *, at: datetime) -> Job:
        done = await super().settle(job, settlement, at=at)
        if not self.answers_settlements:
            raise LedgerError("it was written, and nobody was told")
        return done

    async def rebalance(self, prefix: str, decide: Callable[[Shards], Sequence[Move]]) -> Shards:
        seen = await super().rebalance(prefix, decide)
        self.looks += 1
        if self.looks == _LOOKS_TO_BE_SURE:
            self.is_sure.set()
            await self.may_tell.wait()
        return seen


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Tricky]:
    ledger = Tricky(str(tmp_path / "ledger.sqlite3"))
    yield ledger
    await ledger.close()


def room_for_one() -> Policy:
    job = make_job()
    config: GateConfig = make_config(budget_microdollars_per_day=job.held_microdollars, budget_shards=1)
    return Policy(plan=GENEROUS, plan_name="free", config=config)


def settling(ledger: Tricky, admission: Admission) -> Settling:
    log: EventLog = WatchedLog()
    return Settling(ledger=ledger, admission=admission, clock=FakeClock(), log=log)


async def test_a_settlement_that_was_not_answered_lets_others_in(ledger: Tricky) -> None:
    """What it freed is free, whether or not this instance was told."""
    admission, rules = Admission(ledger=ledger, clock=FakeClock()), room_for_one()
    first = await admission.hold(make_job(), rules)
    with pytest.raises(QuotaExceededError):
        await admission.hold(make_job(), rules)

    ledger.answers_settlements = False
    await settling(ledger, admission).settle(first.job, UNUSED)

    assert isinstance(await admission.hold(make_job(), rules), Admitted)


async def test_a_denial_that_was_overtaken_by_a_settlement_is_not_remembered(ledger: Tricky) -> None:
    """Or the next callers would be refused for a budget that is free."""
    admission, rules = Admission(ledger=ledger, clock=FakeClock()), room_for_one()
    first = await admission.hold(make_job(), rules)
    ledger.may_tell.clear()
    second = asyncio.ensure_future(admission.hold(make_job(), rules))
    await ledger.is_sure.wait()

    done = await settling(ledger, admission).settle(first.job, UNUSED)
    ledger.may_tell.set()

    assert done.state is JobState.RELEASED
    with pytest.raises(QuotaExceededError):
        await second
    assert isinstance(await admission.hold(make_job(), rules), Admitted)
