"""A worker of the fake cloud: it starts, takes jobs, idles and ends. The real worker's code measures its life."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gate import wire
from twohop.cloud.bill import Life
from twohop.cloud.jobs import CloudJob
from worker.usage.life import Life as MeasuredLife


class Timers(Protocol):
    """When things happen."""

    def now_ms(self) -> float:
        """Return milliseconds since the cloud began."""
        ...

    def later(self, ms: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        """Do something after a while; the handle can be cancelled."""
        ...


class LoopTimers:
    """The timers of the running event loop: virtual on a virtual loop, real on any other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    def now_ms(self) -> float:
        """See `Timers.now_ms`."""
        return (self._loop.time() - self._began) * 1000

    def later(self, ms: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        """See `Timers.later`."""
        return self._loop.call_later(ms / 1000, action)


@dataclass(frozen=True, slots=True)
class _MeasuringClock:
    """The cloud's time as the real worker's code reads it."""

    timers: Timers

    def now_ms(self) -> int:
        return round(self.timers.now_ms())

    def monotonic_ms(self) -> float:
        return self.timers.now_ms()


@dataclass(slots=True, eq=False)
class _Inside:
    """A job that a worker has."""

    job: CloudJob
    entered: float
    ending: asyncio.TimerHandle


@dataclass(slots=True, eq=False)
class FakeWorker:
    """One worker. The cloud decides; this keeps count."""

    worker_id: str
    timers: Timers
    life: Life
    jobs_max: int
    ready: bool = False
    timer: asyncio.TimerHandle | None = None
    """Its next step while it has no job: the end of its start, or of its idle tail."""
    inside: dict[str, _Inside] = field(default_factory=dict)
    _measured: MeasuredLife | None = None
    _busy_since_ms: float = 0.0

    def boot(self) -> None:
        """Begin to be a process: from here on it measures its own life."""
        self._measured = MeasuredLife(_MeasuringClock(self.timers))

    def become_ready(self) -> None:
        """Take jobs from now on."""
        assert self._measured is not None
        self.ready = True
        self._measured.started(round(self.timers.now_ms() - self.life.booted_ms))

    @property
    def has_room(self) -> bool:
        """Whether it can take a job now."""
        return self.ready and len(self.inside) < self.jobs_max

    def take(self, job: CloudJob, *, after_ms: float, then: Callable[[], None]) -> None:
        """Begin a job, whose next turn of events comes after a while."""
        assert self._measured is not None
        if not self.inside:
            self._busy_since_ms = self.timers.now_ms()
        self.life.jobs += 1
        entered = self._measured.enter()
        self.inside[job.job_id] = _Inside(job, entered, self.timers.later(after_ms, then))

    def finish(self, job: CloudJob) -> wire.WorkUsage:
        """End a job well, and return what it took."""
        assert self._measured is not None
        inside = self._leave(job)
        part = self._measured.tell(self._measured.leave(inside.entered))
        execution_ms = max(1, round(self.timers.now_ms() - (job.taken_ms or 0)))
        return wire.WorkUsage(
            execution_ms=execution_ms,
            start_ms=part.start_ms,
            gap_ms=part.gap_ms,
            share_ms=part.share_ms,
            life_ms=part.life_ms,
        )

    def drop(self, job: CloudJob) -> None:
        """Stop a job, of which nobody tells what it took."""
        assert self._measured is not None
        self._measured.leave(self._leave(job).entered)

    def _leave(self, job: CloudJob) -> _Inside:
        inside = self.inside.pop(job.job_id)
        inside.ending.cancel()
        if not self.inside:
            self.life.busy.append((self._busy_since_ms, self.timers.now_ms()))
        return inside
