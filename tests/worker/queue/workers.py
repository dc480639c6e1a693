"""Workers as real processes against a fake queue, none of which is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from worker.queue.fake.faults import Faults
from worker.queue.fake.server import FakeQueue

STUB = Path(__file__).resolve().parent / "stub.py"
NO_CHECKS = {"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", "RUNPOD_SKIP_GPU_CHECK": "true"}
"""The SDK's own checks want a network and a GPU."""


class Worker:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, *, seconds_max: float = 20) -> int:
        """Wait for its end and return the exit code."""
        return await asyncio.wait_for(self.process.wait(), seconds_max)


@asynccontextmanager
async def running(queue: FakeQueue, *command: str, worker_id: str = "worker-1", **env: str) -> AsyncIterator[Worker]:
    """Run a worker in a process group of its own, which ends with the context."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env={**kept, **NO_CHECKS, **queue.env(worker_id), **env},
        start_new_session=True,
    )
    try:
        yield Worker(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@asynccontextmanager
async def fake_queue(
    faults: Faults | None = None, *, rtt_seconds: float = 0, poll_seconds: float = 20, silence_seconds: float = 30
) -> AsyncIterator[FakeQueue]:
    """Run a fake queue for as long as the context lasts."""
    queue = FakeQueue(faults, rtt_seconds=rtt_seconds, poll_seconds=poll_seconds, silence_seconds=silence_seconds)
    await queue.start()
    try:
        yield queue
    finally:
        await queue.close()
