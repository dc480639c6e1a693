"""`twohop dev` as a person starts it: a process of its own, on a free port, in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gate.ledgers.sqlite import SqliteLedger
from twohop.loopback import free_port


@dataclass(frozen=True)
class Dev:
    """Both hops, running."""

    process: subprocess.Popen[str]
    port: int
    ready_line: str
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, uid: str) -> str:
        response = httpx.post(f"{self.url}/dev/token", json={"uid": uid}, timeout=10)
        return str(response.raise_for_status().json()["token"])

    def call(self, name: str, data: Any, *, token: str | None, timeout_seconds: float = 60) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        url = f"{self.url}/demo-twohop/us-central1/{name}"
        return httpx.post(url, json={"data": data}, headers=headers, timeout=timeout_seconds)

    def ledger(self) -> SqliteLedger:
        return SqliteLedger(str(self.folder / "ledger.sqlite3"))

    def worker_pid(self) -> int:
        """Return hop 2's process, which is hop 1's only child. Linux tells it."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def events(self) -> str:
        return (self.folder / "gate.log").read_text()


@contextmanager
def dev_running(folder: Path, **settings: str) -> Iterator[Dev]:
    """Start it, wait until it says that it is ready, and stop it."""
    port = free_port()
    command = [sys.executable, "-m", "twohop.cli", "dev", "--port", str(port), "--state", str(folder), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment(settings))
    try:
        assert process.stdout
        yield Dev(process=process, port=port, ready_line=process.stdout.readline(), folder=folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **settings}
