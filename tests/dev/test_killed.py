"""Processes die. What was counted stays counted, and what was held comes free."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from gate.guard.sweeper import Sweeper
from gate.job import Job, JobState
from gate.ledgers.sqlite import SqliteLedger
from gate.log import EventLog
from gate.policy import Policies
from tests.dev.running import Dev, dev_running
from tests.makers import FakeClock

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="LEFT OUT: killing hop 1. It finds hop 2's process by /proc"),
]

_PATIENCE_SECONDS = 20


def test_a_hold_that_hop_1_died_on_expires_is_swept_and_leaves_no_counter_wrong(tmp_path: Path) -> None:
    """Killed between hold and settlement: the job may have run, so it is settled in full, once."""
    with dev_running(tmp_path) as dev:
        assert dev.call("infer", {"inputs": "before"}, token=dev.token("alice")).status_code == 200
        worker = dev.worker_pid()
        os.kill(worker, signal.SIGSTOP)  # The GPU takes its time.
        _call_and_hang(dev)
        _wait_for_hold(dev)

        dev.process.kill()
        dev.process.wait()
        os.kill(worker, signal.SIGCONT)  # It was told to end when hop 1 did, and can hear it now.
        assert _ends(worker)

    after_death = asyncio.run(_swept(tmp_path, at=datetime.now(UTC)))
    after_expiry = asyncio.run(_swept(tmp_path, at=datetime.now(UTC) + timedelta(minutes=10)))
    again = asyncio.run(_swept(tmp_path, at=datetime.now(UTC) + timedelta(minutes=20)))
    jobs = asyncio.run(_jobs(tmp_path))
    counters = asyncio.run(_counters(tmp_path))
    assert (after_death, after_expiry, again) == (0, 1, 0)
    assert sorted(job.state for job in jobs) == [JobState.EXPIRED, JobState.SETTLED]
    assert counters["in_flight",] == 0
    assert _total(counters, "requests") == 2
    assert _total(counters, "microdollars") == sum(job.settled_microdollars or 0 for job in jobs)


def test_hop_2_ends_with_hop_1(tmp_path: Path) -> None:
    """A dev server that is killed leaves no model in memory."""
    with dev_running(tmp_path) as dev:
        worker = dev.worker_pid()

        dev.process.kill()
        dev.process.wait()

        assert _ends(worker)


def test_a_stopped_dev_server_ends_well(tmp_path: Path) -> None:
    """SIGTERM stops both hops, and counts as a good end."""
    with dev_running(tmp_path) as dev:
        worker = dev.worker_pid()

        dev.process.terminate()

        assert dev.process.wait(_PATIENCE_SECONDS) == 0
        assert _ends(worker)


def _call_and_hang(dev: Dev) -> None:
    token = dev.token("alice")

    def call() -> None:
        with suppress(httpx.HTTPError):  # Its server is killed meanwhile.
            dev.call("infer", {"inputs": "in flight"}, token=token)

    threading.Thread(target=call, daemon=True).start()


def _wait_for_hold(dev: Dev) -> None:
    _until(lambda: any(job.state is JobState.HELD for job in asyncio.run(_jobs(dev.folder))))


def _ends(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return _until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


def _until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


async def _swept(folder: Path, *, at: datetime) -> int:
    ledger, clock, log = _ledger(folder), FakeClock(at), EventLog(sys.stderr)
    policies = Policies(documents=ledger, notifier=log, clock=clock, fresh_seconds=1)
    swept = await Sweeper(ledger=ledger, policies=policies, clock=clock, log=log).sweep()
    await ledger.close()
    return swept


async def _jobs(folder: Path) -> list[Job]:
    ledger = _ledger(folder)
    jobs = await ledger.jobs()
    await ledger.close()
    return jobs


async def _counters(folder: Path) -> Mapping[tuple[str, ...], int]:
    ledger = _ledger(folder)
    counters = await ledger.counters("usage/alice")
    await ledger.close()
    return counters


def _ledger(folder: Path) -> SqliteLedger:
    return SqliteLedger(str(folder / "ledger.sqlite3"))


def _total(counters: Mapping[tuple[str, ...], int], name: str) -> int:
    return sum(value for path, value in counters.items() if path[0] == "days" and path[2:] == (name,))
