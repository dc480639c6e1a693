"""The cloud: a queue, workers that come and go, and everything that can go wrong with them.

    submit ─► queue ─► a worker with room ─► COMPLETED | FAILED | TIMED_OUT
                └ none: one is started   └ it crashes: the jobs are queued again

It follows RunPod's documentation: the first job starts a worker at once, a further one is started when a job has
waited for `scale_ms` and none is starting, a worker ends when it had no job for `idle_ms`, and never while the
minimum would be undercut. A worker that starts is billed though all jobs may be done before it is ready.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gate import wire
from gate.money import GpuPrice
from twohop.cloud.bill import Bill, Life
from twohop.cloud.faults import CloudFaults, Dice
from twohop.cloud.jobs import CloudJob, Policy
from twohop.cloud.worker import FakeWorker, Timers

_STOP_MS = 1_000
"""How long the cloud takes to end a worker that is above the maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a job does on its worker."""

    execution_ms: float
    outputs: Any = None
    failure: wire.WorkFailure | None = None
    parts: Sequence[str] = ()
    """What it writes before its end; all of it can be streamed as soon as it runs."""
    error: str | None = None
    """With which the handler dies; nobody tells what the job took but RunPod."""


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """How the endpoint is set up; times in milliseconds."""

    workers_min: int = 0
    workers_max: int = 3
    jobs_per_worker: int = 1
    idle_ms: float = 5_000
    pull_ms: float = 2_000
    """Fetching the image; most providers do not bill it."""
    start_ms: float = 8_000
    """Container start and model load."""
    scale_ms: float = 4_000
    retries_max: int = 2
    retention_ms: float = 1_800_000
    sync_retention_ms: float = 60_000


@dataclass(slots=True, kw_only=True)
class Cloud:
    """One account with one endpoint. To be used from the event loop that its timers belong to."""

    timers: Timers
    prices: Sequence[tuple[float, GpuPrice]]
    work: Callable[[Mapping[str, Any]], Work]
    """What a job's input does; the input is as it was sent."""
    endpoint: Endpoint = field(default_factory=Endpoint)
    faults: CloudFaults = field(default_factory=CloudFaults)
    seed: int = 0
    bill: Bill = field(init=False)
    dice: Dice = field(init=False)
    jobs: dict[str, CloudJob] = field(default_factory=dict)
    queue: deque[CloudJob] = field(default_factory=deque)
    workers: dict[str, FakeWorker] = field(default_factory=dict)
    on_end: Callable[[CloudJob], None] = lambda _: None
    retried: int = 0
    balance_microdollars: int = 25_000_000
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.bill = Bill(self.prices)
        self.dice = Dice(self.seed)
        self._scale()

    def submit(
        self, job_input: Any, *, policy: Policy | None = None, webhook: str | None = None, sync: bool = False
    ) -> CloudJob:
        """Queue a job."""
        number = next(self._ids)
        retention_ms = self.endpoint.sync_retention_ms if sync else self.endpoint.retention_ms
        job = CloudJob(
            job_id=f"{'sync-' if sync else ''}{number:08x}-u1",
            input=job_input,
            policy=policy or Policy(),
            queued_ms=self.timers.now_ms(),
            retention_ms=retention_ms,
            webhook=webhook,
        )
        self.jobs[job.job_id] = job
        self.timers.later(job.policy.ttl_ms, lambda: self._expire(job))
        self._enqueue(job)
        return job

    def cancel(self, job: CloudJob) -> None:
        """Stop a job, wherever it is. One that has ended stays as it ended."""
        if not job.final:
            self._withdraw(job)
            self._end(job, "CANCELLED")

    def retry(self, job: CloudJob) -> None:
        """Queue a failed job again."""
        job.done.clear()
        job.output = job.error = job.execution_ms = None
        self._enqueue(job)

    def purge(self) -> int:
        """Drop every queued job, and return how many."""
        dropped = list(self.queue)
        for job in dropped:
            self.cancel(job)
        return len(dropped)

    def set_workers(self, *, workers_min: int, workers_max: int) -> None:
        """Set the bounds. Workers above the maximum end when they have no job, a moment later."""
        self.endpoint.workers_min, self.endpoint.workers_max = workers_min, workers_max
        self._scale()
        for worker in list(self.workers.values()):
            if not worker.inside:
                self._rest(worker)

    def count(self) -> dict[str, int]:
        """Return how many workers are running, idle and initializing."""
        workers = self.workers.values()
        return {
            "running": sum(bool(worker.inside) for worker in workers),
            "idle": sum(worker.ready and not worker.inside for worker in workers),
            "initializing": sum(not worker.ready for worker in workers),
            "throttled": 0,
            "unhealthy": 0,
        }

    def spent_microdollars(self) -> int:
        """Return the bill as of now."""
        return self.bill.microdollars(self.timers.now_ms())

    def _enqueue(self, job: CloudJob) -> None:
        job.status = "IN_QUEUE"
        self.queue.append(job)
        self._dispatch()
        if job in self.queue:
            self._scale()
            self.timers.later(self.endpoint.scale_ms, self._scale)

    def _dispatch(self) -> None:
        """Give queued jobs to workers with room, oldest worker first."""
        for worker in list(self.workers.values()):
            while self.queue and worker.has_room:
                self._begin(self.queue.popleft(), worker)

    def _begin(self, job: CloudJob, worker: FakeWorker) -> None:
        if worker.timer:
            worker.timer.cancel()
        job.status, job.taken_ms, job.tries = "IN_PROGRESS", self.timers.now_ms(), job.tries + 1
        work = self.work(job.input)
        job.parts = list(work.parts)
        if job.tries == 1:
            job.looping = self.dice.hit("looping", self.faults.looping)
        if job.looping or self.dice.hit("crashed", self.faults.crashed):
            after_ms = work.execution_ms * self.dice.of("crash").random()
            worker.take(job, after_ms=after_ms, then=lambda: self._crash(worker))
        elif work.execution_ms > job.policy.execution_ms_max or self.dice.hit("timed_out", self.faults.timed_out):
            worker.take(job, after_ms=job.policy.execution_ms_max, then=lambda: self._time_out(job, worker))
        else:
            worker.take(job, after_ms=work.execution_ms, then=lambda: self._complete(job, worker, work))

    def _complete(self, job: CloudJob, worker: FakeWorker, work: Work) -> None:
        if work.error is not None:
            worker.drop(job)
            job.error = work.error
            self._end(job, "FAILED")
            self._after(worker)
            return
        usage = worker.finish(job)
        job.usage_told = not self.dice.hit("usage_missing", self.faults.usage_missing)
        job.usage_told_from = 2 if self.dice.hit("usage_late", self.faults.usage_late) else 0
        told = usage if job.usage_told else None
        result = wire.WorkResult(outputs=work.outputs, failure=work.failure, usage=told)
        job.output = {"result": result.to_json()}
        self._end(job, "COMPLETED")
        self._after(worker)

    def _time_out(self, job: CloudJob, worker: FakeWorker) -> None:
        worker.drop(job)
        self._end(job, "TIMED_OUT")
        self._after(worker)

    def _crash(self, worker: FakeWorker) -> None:
        """Lose a worker. Its jobs are tried again, before all others, until they were tried often enough."""
        jobs = [inside.job for inside in worker.inside.values()]
        for job in jobs:
            worker.drop(job)
        self._stop(worker)
        for job in reversed(jobs):
            if job.tries > self.endpoint.retries_max:
                job.error = "the worker exited"
                self._end(job, "FAILED")
            else:
                self.retried += 1
                job.status = "IN_QUEUE"
                self.queue.appendleft(job)
        self._dispatch()
        self._scale()

    def _end(self, job: CloudJob, status: str) -> None:
        if job.taken_ms is not None:
            job.execution_ms = max(1, round(self.timers.now_ms() - job.taken_ms))
        job.status = status
        job.done.set()
        self.timers.later(job.retention_ms, lambda: self._forget(job))
        self.on_end(job)

    def _expire(self, job: CloudJob) -> None:
        """Delete a job whose time to live is over, running or not: nobody learns what it took."""
        if not job.final:
            self._withdraw(job)
            job.status = "CANCELLED"
            job.done.set()
            self.jobs.pop(job.job_id, None)

    def _forget(self, job: CloudJob) -> None:
        if job.final:
            self.jobs.pop(job.job_id, None)

    def _withdraw(self, job: CloudJob) -> None:
        if job in self.queue:
            self.queue.remove(job)
        for worker in list(self.workers.values()):
            if job.job_id in worker.inside:
                worker.drop(job)
                self._after(worker)

    def _after(self, worker: FakeWorker) -> None:
        """See what a worker does next that has room again."""
        self._dispatch()
        if not worker.inside:
            self._rest(worker)

    def _rest(self, worker: FakeWorker) -> None:
        """Let a worker wait for jobs, until its idle tail is over or it is one too many."""
        above = len(self.workers) > self.endpoint.workers_max
        if not worker.ready and not above:
            return
        if worker.timer:
            worker.timer.cancel()
        worker.timer = self.timers.later(
            _STOP_MS if above else self.endpoint.idle_ms, lambda: self._tail_over(worker)
        )

    def _tail_over(self, worker: FakeWorker) -> None:
        if len(self.workers) > self.endpoint.workers_min or self.endpoint.workers_max == 0:
            self._stop(worker)

    def _stop(self, worker: FakeWorker) -> None:
        worker.life.ended_ms = self.timers.now_ms()
        if worker.timer:
            worker.timer.cancel()
        self.workers.pop(worker.worker_id, None)

    def _scale(self) -> None:
        """Start a worker if the minimum asks for one, or if a job has waited for long and none is starting."""
        while len(self.workers) < self.endpoint.workers_min:
            self._start()
        first = next((job for job in self.queue if not job.policy.low_priority), None)
        if first is None or len(self.workers) >= self.endpoint.workers_max:
            return
        waited = self.timers.now_ms() - first.queued_ms >= self.endpoint.scale_ms - 1
        starting = any(not worker.ready for worker in self.workers.values())
        if not self.workers or (waited and not starting):
            self._start()

    def _start(self) -> None:
        now, endpoint = self.timers.now_ms(), self.endpoint
        start_ms = endpoint.start_ms * (3 if self.dice.hit("start_slow", self.faults.start_slow) else 1)
        booted = now + endpoint.pull_ms
        life = Life(pulled_ms=now, booted_ms=booted, ready_ms=booted + start_ms)
        worker = FakeWorker(f"w{next(self._ids):06x}", self.timers, life, endpoint.jobs_per_worker)
        self.bill.lives.append(life)
        self.workers[worker.worker_id] = worker
        worker.timer = self.timers.later(endpoint.pull_ms, lambda: self._boot(worker, start_ms))

    def _boot(self, worker: FakeWorker, start_ms: float) -> None:
        worker.boot()
        worker.timer = self.timers.later(start_ms, lambda: self._ready(worker))

    def _ready(self, worker: FakeWorker) -> None:
        worker.become_ready()
        self._dispatch()
        if not worker.inside:
            self._rest(worker)
        self._scale()
