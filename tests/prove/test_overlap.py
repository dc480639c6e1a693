"""Calls to the ledger that overlap: the ceiling holds where callers meet at the database, as they do in life."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.emulators import firestore_emulator
from tests.prove.test_prove import Mutated, ReadThenWrite
from twohop.cloud.faults import CloudFaults
from twohop.cloud.virtual import VirtualLoop, run_virtual
from twohop.prove.bounds import Bounds
from twohop.prove.case import Case
from twohop.prove.drive import Wrap, drive
from twohop.prove.outcome import Outcome
from twohop.prove.stores import open_store

_SILENT = Case(name="no job says what it took", cloud=CloudFaults(usage_missing=1.0))


def _overlapping(ledger: str, *, callers: int, shards: int = 1, wrap: Wrap) -> Outcome:
    async def played() -> Outcome:
        async with open_store(ledger, overlap=True) as store:
            return await drive(_SILENT, seed=1, callers=callers, shards=shards, store=store, wrap=wrap)

    return run_virtual(played())


class _Meets(Mutated):
    """Sees how many calls were under way at once."""

    most = 0

    async def hold(self, *args: Any, **options: Any) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        _Meets.most = max(_Meets.most, loop.outside + 1)
        return await self._inner.hold(*args, **options)


@pytest.mark.parametrize("ledger", ["sqlite", "firestore"])
def test_the_ceiling_holds_where_calls_to_the_ledger_overlap(ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the bill, the jobs' documents and every counter."""
    if ledger == "firestore":
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
    _Meets.most = 0

    outcome = _overlapping(ledger, callers=30, shards=2, wrap=_Meets)

    assert outcome.complaints == []
    assert _Meets.most > 1


def test_reading_and_then_writing_fails_where_calls_overlap() -> None:
    """The bounds are kept well enough to see it."""
    outcome = _overlapping("sqlite", callers=120, wrap=ReadThenWrite)

    assert "spent above the budget" in outcome.complaints


def test_what_is_under_way_may_stand_and_does_not_surely() -> None:
    """So that nothing is called a failure that may be none."""
    bounds = Bounds()

    bounds.asked("a", 100)
    bounds.asked("b", 100)
    bounds.admitted("a", 100)
    bounds.denied("b")
    bounds.settling("a", 40)

    assert (bounds.least, bounds.most) == (40, 100)
    bounds.settled("a", 40)
    assert (bounds.least, bounds.most) == (40, 40)
