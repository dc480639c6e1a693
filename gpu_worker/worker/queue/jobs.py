"""The jobs inside: each runs once however often it is delivered, and each ends in a result or in a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from worker.batching.request import Sink
from worker.log import EventLog
from worker.queue.results.reporter import Reporter
from worker.queue.results.result import Result, encode, failure
from worker.queue.results.telling import Telling
from worker.queue.room import Room, Stay
from worker.queue.taker import Job

_CANCEL_SECONDS_MAX = 1.0
"""How long a handler may take to notice that it was cancelled."""

Handle = Callable[[Job, Sink], Awaitable[Any]]
Tell = Callable[[str], Telling]


class Jobs:
    """Runs jobs side by side. It belongs to one event loop.

    Args:
        handle: answers one job. To cancel it drops a job that has not begun.
        room: is told of each job that comes and goes.
        reporter: brings the results.
        tell: makes what brings a job's parts, of its id.
        result_bytes_max: what a result may have.
        log: gets what goes wrong.
    """

    def __init__(
        self, handle: Handle, *, room: Room, reporter: Reporter, tell: Tell, result_bytes_max: int, log: EventLog
    ) -> None:
        self._handle = handle
        self._room = room
        self._reporter = reporter
        self._tell = tell
        self._bytes_max = result_bytes_max
        self._log = log
        self._running: dict[str, asyncio.Task[None]] = {}

    @property
    def ids(self) -> list[str]:
        """The jobs that run, and those whose results are on their way."""
        return list(dict.fromkeys([*self._running, *self._reporter.ids]))

    def take(self, job: Job) -> None:
        """Run a job. One that is inside already, or was answered, is not run again: its result is what counts."""
        job_id = job["id"]
        if job_id in self._running or self._reporter.knows(job_id):
            self._log.warning("queue.job_came_twice", job_id=job_id)
            self._reporter.repeat(job_id)
            return
        stay = self._room.enter()
        task = asyncio.create_task(self._run(job, stay))
        self._running[job_id] = task
        task.add_done_callback(lambda _: self._left(job_id, stay))

    def stop(self, job_id: str) -> None:
        """Drop a job, if it is here. Nobody waits for its result, so none is sent."""
        if task := self._running.get(job_id):
            self._log.info("job.stopped", job_id=job_id)
            task.cancel()

    async def drain(self, seconds_max: float) -> bool:
        """Wait until every job is answered. Return False if that takes longer."""
        if tasks := list(self._running.values()):
            _, late = await asyncio.wait(tasks, timeout=seconds_max)
            return not late
        return True

    async def abandon(self, result: Result) -> None:
        """Answer every job that still runs with this."""
        running = dict(self._running)
        for job_id, task in running.items():
            if not self._reporter.knows(job_id):
                self._log.warning("job.unfinished", job_id=job_id)
                self._reporter.begin(job_id, result)
            task.cancel()
        if running:
            await asyncio.wait(running.values(), timeout=_CANCEL_SECONDS_MAX)

    async def _run(self, job: Job, stay: Stay) -> None:
        result = await self._answer(job)
        self._room.leave(stay, answered=True)
        await self._reporter.report(job["id"], result)

    def _left(self, job_id: str, stay: Stay) -> None:
        # A task that was stopped before its first step has run nothing of `_run`.
        self._running.pop(job_id, None)
        self._room.leave(stay, answered=False)

    async def _answer(self, job: Job) -> Result:
        telling = self._tell(job["id"])
        try:
            output = await self._handle(job, telling.sink)
            await telling.end()
            return encode(output, bytes_max=self._bytes_max)
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody stopped this job: something inside the handler was cancelled, and that is the handler's failure.
            return self._crashed(job, exc)
        except Exception as exc:
            return self._crashed(job, exc)
        finally:
            telling.cancel()

    def _crashed(self, job: Job, exc: BaseException) -> Result:
        self._log.error("job.crashed", exc, job_id=job["id"])
        return failure()
