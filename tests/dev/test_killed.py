"""Processes die. What was counted stays counted, and what was held comes free."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from gate.domain.job import JobState
from tests.dev.killing import PATIENCE_SECONDS, counters, ends, jobs, swept, total, until
from tests.dev.running import Dev, dev_running

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="LEFT OUT: killing hop 1. It finds hop 2's process by /proc"),
]


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
        assert ends(worker)

    after_death = asyncio.run(swept(tmp_path, at=datetime.now(UTC)))
    after_expiry = asyncio.run(swept(tmp_path, at=datetime.now(UTC) + timedelta(minutes=10)))
    again = asyncio.run(swept(tmp_path, at=datetime.now(UTC) + timedelta(minutes=20)))
    found = asyncio.run(jobs(tmp_path))
    counted = asyncio.run(counters(tmp_path, "alice"))
    assert (after_death, after_expiry, again) == (0, 1, 0)
    assert sorted(job.state for job in found) == [JobState.EXPIRED, JobState.SETTLED]
    assert counted["in_flight",] == 0
    assert total(counted, "requests") == 2
    assert total(counted, "microdollars") == sum(job.settled_microdollars or 0 for job in found)


def test_hop_2_ends_with_hop_1(tmp_path: Path) -> None:
    """A dev server that is killed leaves no model in memory."""
    with dev_running(tmp_path) as dev:
        worker = dev.worker_pid()

        dev.process.kill()
        dev.process.wait()

        assert ends(worker)


def test_a_stopped_dev_server_ends_well(tmp_path: Path) -> None:
    """SIGTERM stops both hops, and counts as a good end."""
    with dev_running(tmp_path) as dev:
        worker = dev.worker_pid()

        dev.process.terminate()

        assert dev.process.wait(PATIENCE_SECONDS) == 0
        assert ends(worker)


def _call_and_hang(dev: Dev) -> None:
    token = dev.token("alice")

    def call() -> None:
        with suppress(httpx.HTTPError):  # Its server is killed meanwhile.
            dev.call("infer", {"inputs": "in flight"}, token=token)

    threading.Thread(target=call, daemon=True).start()


def _wait_for_hold(dev: Dev) -> None:
    until(lambda: any(job.state is JobState.HELD for job in asyncio.run(jobs(dev.folder))))
