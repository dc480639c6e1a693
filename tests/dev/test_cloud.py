"""`twohop dev --cloud`: hop 1's own RunPod adapter, a cloud that bills, and an owner who looks on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.dev.running import Dev, dev_running

QUICK = {"CLOUD": "1", "IDLE_SECONDS": "1", "START_SECONDS_MAX": "1"}
_SECONDS_MAX = 30


def told(dev: Dev) -> dict[str, str]:
    """Return the rows of the owner's page."""
    text = httpx.get(f"{dev.url}/cloud", timeout=10).raise_for_status().text
    return {line[:14].strip(): line[14:].strip() for line in text.splitlines()}


def until(dev: Dev, row: str, holds: Callable[[str], bool]) -> dict[str, str]:
    """Wait until a row of the page is as it should be, and return the page."""
    deadline = time.monotonic() + _SECONDS_MAX
    while not holds(told(dev)[row]):
        assert time.monotonic() < deadline, told(dev)
        time.sleep(0.2)
    return told(dev)


def twohop(dev: Dev, *words: str) -> str:
    command = [sys.executable, "-m", "twohop.cli", "--sqlite-path", str(dev.folder / "ledger.sqlite3"), *words]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env, timeout=60).stdout


def test_the_bill_agrees_a_kill_stops_it_and_a_restart_goes_on_with_it(tmp_path: Path) -> None:
    """Everything that costs money in production, tried on one machine for nothing."""
    with dev_running(tmp_path, **QUICK) as dev:
        answer = dev.call("infer", {"inputs": ["a text"]}, token=dev.token("alice")).json()["result"]
        assert len(answer["outputs"][0]) == 8
        billed = until(dev, "workers", lambda workers: workers == "none")
        assert billed["bill - ledger"] == "$0.000000"
        assert not billed["bill"].startswith("$0.000000")

        job = dev.call("submit", {"inputs": "another"}, token=dev.token("bob")).json()["result"]
        assert job["state"] == "running"
        twohop(dev, "kill", "5", "--reason", "a test")
        stopped = until(dev, "endpoint", lambda endpoint: "workers 0 to 0" in endpoint)
        assert until(dev, "workers", lambda workers: workers == "none")["queue"].startswith("0 jobs")
        assert dev.call("infer", {"inputs": "more"}, token=dev.token("alice")).status_code == 503
        assert stopped["ledger"]
        bill = told(dev)["bill"]

    with dev_running(tmp_path, **QUICK) as dev:
        assert told(dev)["bill"] == bill
