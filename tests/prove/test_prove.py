"""The ceiling holds whatever goes wrong; and the proof fails where the ceiling is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from gate.domain import meter
from gate.ports import Denied
from twohop.cloud.faults import CloudFaults
from twohop.cloud.virtual import run_virtual
from twohop.prove.cases import NOTHING, SINGLE
from twohop.prove.drive import Case, Wrap, drive
from twohop.prove.outcome import Outcome
from twohop.prove.stores import open_store

_SHORT = [NOTHING, *(case for case in SINGLE if case.name in ("ledger fails after writing", "usage missing"))]


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
