"""The ledger that the guards read and write: both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gate.ledgers.firestore import FirestoreLedger
from gate.ledgers.sqlite import SqliteLedger
from gate.parts import Store
from tests.emulators import firestore_emulator, fresh_project


@pytest.fixture(params=["sqlite", pytest.param("firestore", marks=pytest.mark.emulator)])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    if request.param == "firestore":
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
        store: Store = FirestoreLedger(fresh_project())
    else:
        store = SqliteLedger(str(tmp_path / "ledger.sqlite3"))
    yield store
    await store.close()
