"""The loop as a whole, in this process: a freeze, an engine that breaks, an engine that never stands."""

from __future__ import annotations

import asyncio
import io
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.worker.queue.makers import MovingClock
from tests.worker.queue.workers import fake_queue
from worker.batching.request import Sink
from worker.log import EventLog
from worker.queue import QueueSettings, run_queue
from worker.queue.fake.server import FakeQueue


class Running:
    """A loop under way, and what its engine is told from here."""

    def __init__(self, queue: FakeQueue, spool: Path, **options: Any) -> None:
        self.queue = queue
        self.clock = MovingClock()
        self.broken = asyncio.Event()
        self.hold = asyncio.Event()
        self.stream = io.StringIO()
        env = {**queue.env(ping_seconds=0.1), "QUEUE_SPOOL": str(spool)}
        settings = QueueSettings.from_env(env, jobs_max=4, stop_seconds_max=5)
        shared: dict[str, Any] = {"log": EventLog(self.stream), "clock": self.clock, "broken": self.broken}
        self.code = asyncio.create_task(run_queue(self.handle, settings, **shared, **options))

    async def handle(self, job: dict[str, Any], sink: Sink) -> Any:
        if job["input"] == "hold":
            await self.hold.wait()
        return job["input"]

    @property
    def events(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.stream.getvalue().splitlines()]


@asynccontextmanager
async def looping(spool: Path, **options: Any) -> AsyncIterator[Running]:
    async with fake_queue() as queue:
        running = Running(queue, spool, **options)
        try:
            yield running
        finally:
            running.code.cancel()
            await asyncio.gather(running.code, return_exceptions=True)


async def test_after_a_freeze_every_connection_is_opened_anew(tmp_path: Path) -> None:
    """Those from before are dead, and nobody says so; a poll on one would wait for a job that never comes."""
    async with looping(tmp_path) as running:
        await running.queue.until(lambda ledger: ledger.count("polled") == 1)
        running.clock.drift_ms = 60_000
        await running.queue.until(lambda ledger: ledger.count("hung up") == 1 and ledger.count("polled") == 2)
        await running.queue.ledger.submit("after")
        await running.queue.until(lambda ledger: not ledger.unanswered)

        assert "worker.was_frozen" in running.events


async def test_an_engine_that_breaks_ends_the_worker_and_its_heartbeat(tmp_path: Path) -> None:
    """A worker that takes jobs and cannot do them is worse than none."""
    async with looping(tmp_path) as running:
        await running.queue.ledger.submit("hold")
        await running.queue.until(lambda ledger: ledger.count("delivered") == 1 and ledger.count("ping") > 0)
        running.broken.set()
        pings = running.queue.ledger.count("ping")
        code = await asyncio.wait_for(running.code, 10)

        assert code == 1
        assert "another try may do" in running.queue.ledger.jobs["fake-1"].results[0]["error"]
        assert running.queue.ledger.count("ping") <= pings + 1


async def test_no_job_is_taken_before_the_engine_stands(tmp_path: Path) -> None:
    ready = asyncio.get_running_loop().create_future()
    async with looping(tmp_path, ready=ready) as running:
        await running.queue.ledger.submit("early")
        await asyncio.sleep(0.1)
        assert running.queue.ledger.count("polled") == 0
        ready.set_result(None)

        await running.queue.until(lambda ledger: not ledger.unanswered)


async def test_an_engine_that_never_stands_is_told_to_the_host(tmp_path: Path) -> None:
    ready = asyncio.get_running_loop().create_future()
    ready.set_exception(RuntimeError("no such model"))
    async with looping(tmp_path, ready=ready) as running:
        assert await asyncio.wait_for(running.code, 5) == 1
        assert [event.detail for event in running.queue.ledger.events if event.what == "ping"] == ["unhealthy"]


async def test_a_stop_while_the_engine_loads_ends_at_once(tmp_path: Path) -> None:
    async with looping(tmp_path, ready=asyncio.get_running_loop().create_future()) as running:
        await asyncio.sleep(0.05)
        signal.raise_signal(signal.SIGTERM)

        assert await asyncio.wait_for(running.code, 5) == 0


async def test_a_part_of_the_loop_that_fails_takes_the_worker_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a loop would look alive, and leave its jobs in silence."""

    async def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("worker.queue.loop.listen_for_stops", fail)
    async with looping(tmp_path) as running:
        assert await asyncio.wait_for(running.code, 5) == 1
        assert "queue.loop_failed" in running.events
