"""What both loops promise: ours, and RunPod's own, which stays one setting away."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.worker.queue.workers import STUB, Worker, fake_queue, running
from worker.queue.fake.server import FakeQueue


class QueueLoopContract:
    """One worker for all that a loop promises, because RunPod's takes seconds to start."""

    LOOP: ClassVar[str]

    @pytest.fixture
    async def queue(self) -> AsyncIterator[FakeQueue]:
        async with fake_queue() as queue:
            yield queue

    @pytest.fixture
    async def worker(self, queue: FakeQueue, tmp_path: Path) -> AsyncIterator[Worker]:
        async with running(queue, str(STUB), self.LOOP, QUEUE_SPOOL=str(tmp_path)) as worker:
            yield worker

    async def test_jobs_are_answered_and_the_worker_pings_and_stops(self, queue: FakeQueue, worker: Worker) -> None:
        """Each answer is the handler's output; an error is text; a stopped job is not answered."""
        told: dict[str, Any] = {
            "plain": {"ms": 1},
            "text": "a text, ü and all",
            "error": {"error": "the handler says no"},
            "crash": {"crash": True},
        }
        for job_id, job_input in told.items():
            await queue.ledger.submit(job_input, job_id=job_id)
        await queue.until(lambda ledger: not ledger.unanswered, seconds_max=60)
        results = {job_id: job.results for job_id, job in queue.ledger.jobs.items()}

        assert results["plain"] == [{"output": {"echo": {"ms": 1}}}]
        assert results["text"] == [{"output": {"echo": "a text, ü and all"}}]
        assert results["error"] == [{"error": "the handler says no"}]
        assert isinstance(results["crash"][0]["error"], str)
        await self._pings_name_the_job(queue)
        await self._stops_a_job(queue)
        await self._finishes_what_it_took(queue, worker)

    async def _pings_name_the_job(self, queue: FakeQueue) -> None:
        await queue.ledger.submit({"ms": 1_500}, job_id="long")
        await self._named(queue, "long")
        await queue.until(lambda ledger: not ledger.unanswered)

    async def _named(self, queue: FakeQueue, job_id: str) -> None:
        """Wait until a ping names a job: a job that was just delivered can slip through the SDK's fingers."""
        await queue.until(lambda ledger: any(e.what == "ping" and job_id in e.job_id for e in ledger.events))

    async def _stops_a_job(self, queue: FakeQueue) -> None:
        await queue.ledger.submit({"ms": 60_000}, job_id="stopped")
        await self._named(queue, "stopped")
        await queue.ledger.stop("stopped")
        await queue.until(lambda ledger: not ledger.stops)
        await queue.ledger.submit({}, job_id="after")
        await queue.until(lambda ledger: ledger.jobs["after"].done_at is not None)

        assert queue.ledger.unanswered == ["stopped"]

    async def _finishes_what_it_took(self, queue: FakeQueue, worker: Worker) -> None:
        await queue.ledger.submit({"ms": 1_500}, job_id="last")
        await self._named(queue, "last")
        worker.signal(signal.SIGTERM)
        await queue.until(lambda ledger: ledger.jobs["last"].done_at is not None)

        assert queue.ledger.jobs["last"].results == [{"output": {"echo": {"ms": 1_500}}}]
        assert queue.ledger.count("stranger") == 0


class TestOwnLoop(QueueLoopContract):
    LOOP = "own"


class TestSdkLoop(QueueLoopContract):
    LOOP = "sdk"
