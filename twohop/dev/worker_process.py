"""Hop 2 as a child process: started, watched until it is ready, and gone when we are."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from twohop.loopback import free_port

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: hop 2 is started from its source."""

_READY_SECONDS_MAX = 600
_STOP_SECONDS_MAX = 15
_PR_SET_PDEATHSIG = 1
_NOT_STARTED = "the worker does not start: "


class WorkerError(Exception):
    """The worker did not come up; the message says why and where its log is."""


class WorkerProcess:
    """`gpu_worker/server.py` on a free port of this machine."""

    def __init__(self, *, secret: str, model: str | None, log_path: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log_path = log_path
        self._env = {
            **os.environ,
            "HOST": "127.0.0.1",
            "PORT": self.url.rpartition(":")[2],
            "WORKER_SECRET": secret,
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("functions", "gpu_worker")),
            **({"MODEL": model} if model else {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it listens at once, and loads the model while we go on."""
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "gpu_worker" / "server.py")],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads yet
            )

    def wait_until_ready(self, tell: Callable[[float], None]) -> None:
        """Wait for the model to be loaded, telling the seconds that have passed.

        Raises:
            WorkerError: it stopped, or took too long.
        """
        begun = time.monotonic()
        while not self._is_ready():
            seconds = time.monotonic() - begun
            if self._process is None or self._process.poll() is not None or seconds > _READY_SECONDS_MAX:
                raise WorkerError(f"the worker did not start: {self._reason()}")
            tell(seconds)
            time.sleep(0.2)

    def stop(self) -> None:
        """Let it finish what it has, then end it. Stopping twice is fine."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _reason(self) -> str:
        """Return why it did not start: in one line where it says so itself, else the end of its log."""
        lines = self.log_path.read_text("utf-8", "replace").splitlines()
        reasons = [_start_failure(line) for line in lines]
        told = next((reason for reason in reasons if reason), "\n".join(["", *lines[-8:]]))
        return f"{told}\n(its log is {self.log_path})"


def _start_failure(line: str) -> str:
    """Return the reason that a line of the log gives for a start that failed, or nothing."""
    if line.startswith(_NOT_STARTED):
        return line.removeprefix(_NOT_STARTED)
    with suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict) and event.get("message") == "worker.start_failed":
            return str(event.get("reason", ""))
    return ""


def _die_with_parent() -> None:
    """Ask Linux to end the child with us, also when we are killed and cannot."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
