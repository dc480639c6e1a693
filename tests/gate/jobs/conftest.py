"""Nobody waits in these tests for what is written a moment later."""

from __future__ import annotations

import pytest

from gate import jobs
from gate.steps import following, stop_watch


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_NOTED_PAUSES_SECONDS", (0.0, 0.001))
    monkeypatch.setattr(jobs, "_STOPPED_PAUSES_SECONDS", (0.0, *[0.01] * 50))
    monkeypatch.setattr(stop_watch, "_LOOK_SECONDS_FIRST", 0.01)
    monkeypatch.setattr(following, "_STOPPED_PAUSES_SECONDS", (0.0, 0.0))
