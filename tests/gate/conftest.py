"""Settings of Hypothesis for tests on any machine, and the world that tests of the gate begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gate.steps import dispatch, joining
from tests.gate.doubles import WatchedLedger, fill
from tests.gate.world import World
from tests.makers import make_documents

settings.register_profile(
    "unit", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("unit")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(joining, "_PAUSE_SECONDS_FIRST", 0.001)
    monkeypatch.setattr(joining, "_PAUSE_SECONDS_MAX", 0.001)
    monkeypatch.setattr(dispatch, "_POLL_SECONDS_FIRST", 0.001)
    ledger = WatchedLedger(str(tmp_path / "ledger.sqlite3"))
    await fill(ledger, make_documents())
    yield World(ledger)
    await ledger.close()
