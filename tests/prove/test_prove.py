"""The ceiling holds whatever goes wrong; and the proof fails where the ceiling is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gate.domain import meter
from gate.ports import Denied
from twohop.cloud.faults import CloudFaults
from twohop.cloud.virtual import run_virtual
from twohop.prove.cases import NOTHING, SINGLE
from twohop.prove.drive import Case, drive

_SHORT = [NOTHING, *(case for case in SINGLE if case.name in ("ledger fails after writing", "usage missing"))]


@pytest.mark.parametrize("case", _SHORT, ids=lambda case: case.name)
def test_a_days_budget_is_used_up_and_never_exceeded(case: Case, tmp_path: Path) -> None:
    """By the cloud's own bill; no job is billed twice, no hold is left, nobody is refused too early."""
    outcome = run_virtual(drive(case, seed=1, callers=40, path=str(tmp_path / "ledger.sqlite3")))

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
        await asyncio.sleep(0)  # a virtual second would never pass while a ledger works
        if denial := meter.decide(moves, sums, now=job.held_at):
            return Denied(denial=denial)
        return await self._inner.hold(
            job, [msgspec.structs.replace(move, limit=None) for move in moves], *args, **options
        )


_SILENT = Case(name="no job says what it took", cloud=CloudFaults(usage_missing=1.0))
"""So each pays its hold, and there is room for 110 of 120."""


def test_the_proof_fails_where_admission_reads_and_then_writes(tmp_path: Path) -> None:
    """The counter-example: callers who read at the same moment all see the same room."""
    path = str(tmp_path / "ledger.sqlite3")

    outcome = run_virtual(drive(_SILENT, seed=1, callers=120, path=path, wrap=ReadThenWrite))

    assert "spent above the budget" in outcome.complaints


def test_the_same_drive_holds_with_the_gates_admission(tmp_path: Path) -> None:
    """What makes the difference is the one commit."""
    outcome = run_virtual(drive(_SILENT, seed=1, callers=120, path=str(tmp_path / "ledger.sqlite3")))

    assert outcome.complaints == []
