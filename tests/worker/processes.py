"""Runs the worker's entries as real processes, and leaves none behind."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.worker.makers import SECRET

WORKER = Path(__file__).resolve().parents[2] / "gpu_worker"
_SECONDS_MAX = 90.0


def environment(**changes: str) -> dict[str, str]:
    """Return an environment with a secret, and without a network for models or any setting of whoever runs this."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "WORKER_SECRET": SECRET, "HF_HUB_OFFLINE": "1", "PORT": "0", **changes}


class Entry:
    """One running entry, whose output is read line by line as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, text: str) -> str:
        """Return the next line that holds a text."""
        while (line := self._lines.get(timeout=_SECONDS_MAX)) is not None:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} never came; the process said: {''.join(self.lines)}")

    def event(self, name: str) -> dict[str, Any]:
        """Return the next log event of a name."""
        event: dict[str, Any] = json.loads(self.wait_for(f'"message":"{name}"'))
        return event

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_SECONDS_MAX)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)


@contextmanager
def running(entry: str, *arguments: str, **env: str) -> Iterator[Entry]:
    """Run `gpu_worker/{entry}` in a process group of its own, which ends with the context."""
    process = subprocess.Popen(
        [sys.executable, str(WORKER / entry), *arguments],
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield Entry(process)
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_SECONDS_MAX)
    if process.stdout is not None:
        process.stdout.close()
