"""All jobs of a span, a page at a time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from gate.ledgers.sqlite import SqliteLedger
from gate.steps.history import jobs_between
from tests.makers import NOON, make_job, make_moves


@pytest.mark.parametrize("share", [1, 2, 3], ids="{} to a moment".format)
async def test_each_job_comes_once_also_when_several_share_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    """A page that ends between two jobs of one moment loses none and repeats none."""
    monkeypatch.setattr("gate.steps.history._PAGE", 4)
    ledger = SqliteLedger(str(tmp_path / "ledger.sqlite3"))
    jobs = [make_job(held_at=NOON + timedelta(seconds=number // share)) for number in range(19)]
    for job in jobs:
        await ledger.hold(job, make_moves(job))

    found = [job async for job in jobs_between(ledger, since=NOON, until=NOON + timedelta(hours=1))]
    await ledger.close()

    assert sorted(job.job_id for job in found) == sorted(job.job_id for job in jobs)
    assert [job.held_at for job in found] == sorted((job.held_at for job in jobs), reverse=True)
