"""A worker that does not start beside hop 1 says why in one line, and where the rest is."""

from __future__ import annotations

from pathlib import Path

import pytest

from twohop.dev.worker_process import WorkerError, WorkerProcess


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MODEL", "/no/such/folder", "MODEL=/no/such/folder: there is no such folder"),
        ("TASK", "painting", "TASK='painting' is not one of: auto, "),
        ("CODE", "/no/such/code.py", "CODE=code.py is no Python file here; give the path of one"),
    ],
)
def test_why_a_worker_does_not_start_is_the_first_line(
    name: str, value: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log is JSON, and the line that matters is one of many."""
    monkeypatch.setenv(name, value)
    worker = WorkerProcess(secret="x" * 64, model=None, log_path=tmp_path / "worker.log")
    worker.start()
    with pytest.raises(WorkerError) as refused:
        worker.wait_until_ready(lambda _: None)
    first, second = str(refused.value).splitlines()

    assert first.startswith(f"the worker did not start: {reason}")
    assert second == f"(its log is {tmp_path / 'worker.log'})"
