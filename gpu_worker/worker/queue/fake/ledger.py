"""The fake queue's memory: which job is where, what was called when, and what became of each."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    at: float
    """On the monotonic clock."""
    what: str
    worker_id: str = ""
    job_id: str = ""
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class FakeJob:
    """One job, from its submission to its results."""

    job_id: str
    input: Any
    submitted_at: float
    delivered_at: list[float] = field(default_factory=list)
    worker_id: str = ""
    named_at: float = 0
    """When it was last delivered, or named by a ping."""
    results: list[Any] = field(default_factory=list)
    """Every result that was heard; more than one if an acknowledgement was lost."""
    done_at: float | None = None
    parts: list[Any] = field(default_factory=list)
    progress: list[Any] = field(default_factory=list)


class Ledger:
    """Keeps jobs and events. It belongs to one event loop."""

    def __init__(self) -> None:
        self.jobs: dict[str, FakeJob] = {}
        self.events: list[Event] = []
        self.stops: deque[str] = deque()
        self.changed = asyncio.Condition()
        self._waiting: deque[str] = deque()
        self._numbers = itertools.count(1)

    @property
    def waiting(self) -> int:
        """How many jobs nobody has."""
        return len(self._waiting)

    @property
    def unanswered(self) -> list[str]:
        """The jobs without a result."""
        return [job.job_id for job in self.jobs.values() if job.done_at is None]

    def count(self, what: str, *, since: float = 0) -> int:
        """Return how often something happened."""
        return sum(event.what == what and event.at >= since for event in self.events)

    async def record(self, what: str, **fields: str) -> None:
        """Remember that something happened, and wake whoever waits for it."""
        self.events.append(Event(at=time.monotonic(), what=what, **fields))
        async with self.changed:
            self.changed.notify_all()

    async def submit(self, job_input: Any, *, job_id: str | None = None) -> str:
        """Add a job and return its id."""
        job_id = job_id or f"fake-{next(self._numbers)}"
        self.jobs[job_id] = FakeJob(job_id=job_id, input=job_input, submitted_at=time.monotonic())
        self._waiting.append(job_id)
        await self.record("submitted", job_id=job_id)
        return job_id

    async def stop(self, job_id: str) -> None:
        """Have a job stopped: its worker is told."""
        self.stops.append(job_id)
        await self.record("stop", job_id=job_id)

    async def requeue(self, job_ids: Iterable[str], *, why: str) -> None:
        """Deliver jobs again."""
        for job_id in job_ids:
            if self.jobs[job_id].done_at is None or why == "twice":
                self._waiting.append(job_id)
                await self.record("requeued", job_id=job_id, detail=why)

    async def assign(self, worker_id: str, count: int) -> list[FakeJob]:
        """Give the oldest jobs that wait to a worker."""
        given = [self.jobs[self._waiting.popleft()] for _ in range(min(count, len(self._waiting)))]
        for job in given:
            job.worker_id = worker_id
            job.delivered_at.append(time.monotonic())
            job.named_at = time.monotonic()
            await self.record("delivered", worker_id=worker_id, job_id=job.job_id)
        return given

    async def done(self, worker_id: str, job_id: str, body: bytes) -> bool:
        """Note a result. Return whether it is a job of this queue and can be read."""
        job = self.jobs.get(job_id)
        result = _json(body)
        if job is None or not isinstance(result, dict):
            await self.record("unreadable", worker_id=worker_id, job_id=job_id, detail=body[:80].decode("latin-1"))
            return False
        if result.get("status") == "IN_PROGRESS":
            job.progress.append(result.get("output"))
            await self.record("progress", worker_id=worker_id, job_id=job_id)
            return True
        job.results.append(result)
        job.done_at = job.done_at or time.monotonic()
        await self.record("done", worker_id=worker_id, job_id=job_id)
        return True

    async def part(self, worker_id: str, job_id: str, body: bytes) -> bool:
        """Note a part of a result."""
        job, part = self.jobs.get(job_id), _json(body)
        if job is None or not isinstance(part, dict):
            return False
        job.parts.append(part.get("output"))
        await self.record("stream", worker_id=worker_id, job_id=job_id)
        return True

    async def ping(self, worker_id: str, job_ids: str, detail: str) -> None:
        """Note that a worker lives."""
        for job_id in job_ids.split(","):
            if job_id in self.jobs:
                self.jobs[job_id].named_at = time.monotonic()
        await self.record("ping", worker_id=worker_id, job_id=job_ids, detail=detail)

    def silent(self, seconds: float) -> list[str]:
        """Return the unanswered jobs that were delivered, and that no ping has named for so long."""
        held = [job for job in self.jobs.values() if job.done_at is None and job.job_id not in self._waiting]
        return [job.job_id for job in held if time.monotonic() - job.named_at > seconds]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
