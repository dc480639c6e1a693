"""What a fresh reviewer broke: one job document, edited into rubbish in the console, stopped the sweeping of all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gate.errors import LedgerError
from gate.ledgers.firestore import FirestoreLedger
from tests.emulators import firestore_emulator, fresh_project
from tests.makers import NOON, make_job, make_moves

pytestmark = pytest.mark.emulator


async def test_a_malformed_job_does_not_hide_the_others_that_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
    ledger = FirestoreLedger(fresh_project())
    bad, good = make_job(expires_at=NOON + timedelta(minutes=1)), make_job()
    for job in (bad, good):
        await ledger.hold(job, make_moves(job))
    await ledger.update(f"jobs/{bad.job_id}", {"held_microdollars": "a lot"})
    later = NOON + timedelta(hours=1)

    found = await ledger.expired(now=later)

    assert [job.job_id for job in found] == [good.job_id]
    await ledger.delete(f"jobs/{good.job_id}")
    with pytest.raises(LedgerError, match=f"jobs/{bad.job_id} is malformed"):
        await ledger.expired(now=later)
    await ledger.close()
