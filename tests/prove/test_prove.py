"""The ceiling holds whatever goes wrong; and the proof fails where the ceiling is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gate.domain import meter
from gate.domain.meter import Denial, Move
from gate.domain.scopes import BUDGET
from gate.ports import Denied
from twohop.cloud.faults import CloudFaults
from twohop.cloud.virtual import run_virtual
from twohop.prove.case import NOTHING, Case
from twohop.prove.cases import SINGLE
from twohop.prove.drive import Wrap, drive
from twohop.prove.outcome import WRONG_COUNTER, Outcome
from twohop.prove.stores import open_store

_SHORT = [NOTHING, *(case for case in SINGLE if case.name in ("ledger answers lost", "usage missing"))]


async def _played(case: Case, callers: int, wrap: Wrap) -> Outcome:
    async with open_store("sqlite") as store:
        return await drive(case, seed=1, callers=callers, store=store, wrap=wrap)


def played(case: Case, *, callers: int, wrap: Wrap = lambda ledger: ledger) -> Outcome:
    """Drive a case on a virtual clock."""
    return run_virtual(_played(case, callers, wrap))


@pytest.mark.parametrize("case", _SHORT, ids=lambda case: case.name)
def test_a_days_budget_is_used_up_and_never_exceeded(case: Case) -> None:
    """By the cloud's own bill; no job is billed twice, no hold is left, nobody is refused too early."""
    outcome = played(case, callers=40)

    assert outcome.complaints == []


class ReadThenWrite:
    """Admission as it is often written: read what is spent, decide, and then write."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def hold(self, job: Any, moves: Sequence[Any], *args: Any, **options: Any) -> Any:
        sums = {}
        for move in moves:
            counters = await self._inner.counters(move.account)
            sums[move.key] = counters.get(move.counter, 0) + move.amount
        await asyncio.sleep(0.01)  # It is written a moment later.
        if denial := meter.decide(moves, sums, now=job.held_at):
            return Denied(denial=denial)
        return await self._inner.hold(
            job, [msgspec.structs.replace(move, limit=None) for move in moves], *args, **options
        )


_SILENT = Case(name="no job says what it took", cloud=CloudFaults(usage_missing=1.0))
"""So each pays its hold, and there is room for 110 of 120."""


def test_the_proof_fails_where_admission_reads_and_then_writes() -> None:
    """The counter-example: callers who read at the same moment all see the same room."""
    outcome = played(_SILENT, callers=120, wrap=ReadThenWrite)

    assert "spent above the budget" in outcome.complaints


def test_the_same_drive_holds_with_the_gates_admission() -> None:
    """What makes the difference is the one commit."""
    outcome = played(_SILENT, callers=120)

    assert outcome.complaints == []


class Mutated:
    """A ledger that does as it should, but for what a class below breaks."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class BillsTwice(Mutated):
    """A settlement that is counted once more."""

    async def settle(self, job: Any, *args: Any, **options: Any) -> Any:
        done = await self._inner.settle(job, *args, **options)
        path = ("days", f"{done.held_at:%Y-%m-%d}", "microdollars")
        move = Move(account=meter.budget_account(job.shard), counter=path, amount=1)
        await self._inner.rebalance(BUDGET, lambda _: [move])
        return done


class LeaksSlots(Mutated):
    """A caller's slot that is taken once more, by no job, and never given back."""

    async def hold(self, job: Any, moves: Sequence[Any], *args: Any, **options: Any) -> Any:
        move = Move(account=meter.usage_account(job.caller), counter=meter.IN_FLIGHT, amount=1)
        return await self._inner.hold(job, [*moves, move], *args, **options)


class LeaksMoney(Mutated):
    """A micro-dollar of one cohort that no job took; the whole budget's sum is as it should be."""

    async def settle(self, job: Any, *args: Any, **options: Any) -> Any:
        done = await self._inner.settle(job, *args, **options)
        path = ("months", f"{done.held_at:%Y-%m}", "cohort_microdollars", done.cohort)
        move = Move(account=meter.budget_account(job.shard), counter=path, amount=1)
        await self._inner.rebalance(BUDGET, lambda _: [move])
        return done


class LeavesHolds(Mutated):
    """Every tenth settlement is not written, and no sweep finds what it left."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._settled = 0

    async def settle(self, job: Any, *args: Any, **options: Any) -> Any:
        self._settled += 1
        if self._settled % 10 == 0:
            return job
        return await self._inner.settle(job, *args, **options)

    async def expired(self, **_: Any) -> list[Any]:
        return []


class IsStingy(Mutated):
    """For a while a budget is refused that is free."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._asked = 0

    async def hold(self, job: Any, moves: Sequence[Any], *args: Any, **options: Any) -> Any:
        self._asked += 1
        if 20 < self._asked < 50:
            limit = next(move.limit for move in moves if move.limit and move.limit.name.is_budget)
            return Denied(denial=Denial(limit=limit, retry_at=job.held_at + timedelta(seconds=1)))
        return await self._inner.hold(job, moves, *args, **options)


class ReadsFirst(Mutated):
    """A hold that looks before it writes, and so costs a read and a way more."""

    async def hold(self, job: Any, *args: Any, **options: Any) -> Any:
        await self._inner.counters(meter.budget_account(job.shard))
        return await self._inner.hold(job, *args, **options)


class HoldsTwice(Mutated):
    """A hold that is sent twice; the second finds the first."""

    async def hold(self, job: Any, *args: Any, **options: Any) -> Any:
        outcome = await self._inner.hold(job, *args, **options)
        if not isinstance(outcome, Denied):
            await self._inner.hold(job, *args, **options)
        return outcome


class SettlesTwice(Mutated):
    """A settlement that is sent twice; the second finds the first."""

    async def settle(self, *args: Any, **options: Any) -> Any:
        await self._inner.settle(*args, **options)
        return await self._inner.settle(*args, **options)


@pytest.mark.parametrize(
    ("mutation", "complaint"),
    [
        (SettlesTwice, "settlements took more than one commit"),
        (BillsTwice, "a job was billed twice"),
        (LeavesHolds, "a hold was left behind"),
        (LeaksSlots, f"{WRONG_COUNTER}: usage/"),
        (LeaksMoney, f"{WRONG_COUNTER}: budget months."),
        (IsStingy, "an honest caller was refused"),
        (ReadsFirst, "the hot path reads"),
        (HoldsTwice, "a hold took more than one commit"),
    ],
)
def test_each_failure_is_seen_where_it_is_made(
    mutation: Wrap, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that cannot fail proves nothing."""
    monkeypatch.setattr("twohop.prove.drive._USING_SECONDS", 300)  # Who waits for a lost hold, waits all day.

    outcome = played(_SILENT, callers=30, wrap=mutation)

    assert any(one.startswith(complaint) for one in outcome.complaints), outcome.complaints
