"""Jobs that go on when their request has ended, and their results for whoever asks within half an hour.

It is this process's memory: a worker that is replaced forgets its jobs, and whoever asks for one is told that it is
unknown. On a host that stops a container without requests, such a job ends with its container.
"""

from __future__ import annotations

import asyncio
import http.client
import urllib.request
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from gate import wire
from worker.batching.request import Sink
from worker.encoding import encode
from worker.http.door import Door
from worker.http.exchange import answer_in_time
from worker.jobs.service import Service

_KEPT_MS = 30 * 60_000
_KEPT_BYTES_MAX = 256_000_000
_WEBHOOK_SECONDS_MAX = 10
_WEBHOOK_PAUSES_SECONDS = (0, 1, 10)
"""Before each time that it is told."""

Tell = Callable[[str], Awaitable[None]]
"""Posts to a webhook; raises OSError or HTTPException if nobody took it."""


@dataclass(slots=True, kw_only=True)
class KeptJob:
    """One job, on its way or ended."""

    job_id: str
    task: asyncio.Task[wire.WorkResult]
    began_ms: float
    ended_ms: float | None = None
    size_bytes: int = 0
    webhook: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the job as those are told who ask for it, in RunPod's words for its states."""
        told: dict[str, Any] = {"id": self.job_id}
        if not self.task.done():
            return {**told, "status": "IN_PROGRESS"}
        if self.task.cancelled():
            took_ms = max(1, round((self.ended_ms or self.began_ms) - self.began_ms))
            return {**told, "status": "CANCELLED", "usage": {"execution_ms": took_ms}}
        result = self.task.result()
        return {**told, "status": "FAILED" if result.failure else "COMPLETED", "result": result.to_json()}


class KeptJobs:
    """Runs jobs apart from their requests. It belongs to one event loop."""

    def __init__(self, service: Service, door: Door, *, tell: Tell | None = None) -> None:
        self._service = service
        self._door = door
        self._clock = service.clock
        self._log = service.log
        self._tell = tell or _post
        self._jobs: OrderedDict[str, KeptJob] = OrderedDict()
        self._telling: set[asyncio.Task[None]] = set()

    def begin(self, request: wire.SignedRequest, sink: Sink) -> KeptJob:
        """Begin an admitted job that makes its parts for a sink, or return the one of its id that is there."""
        self._forget()
        if request.job_id in self._jobs:
            return self._jobs[request.job_id]
        stay = ExitStack()
        stay.enter_context(self._door.stay())
        task = asyncio.create_task(answer_in_time(self._service, self._door, request, sink))
        job = KeptJob(job_id=request.job_id, task=task, began_ms=self._clock.monotonic_ms())
        self._jobs[job.job_id] = job
        task.add_done_callback(lambda _: self._ended(job, stay))
        return job

    def find(self, job_id: str) -> KeptJob | None:
        """Return a job; None if it is unknown, or was forgotten."""
        self._forget()
        return self._jobs.get(job_id)

    def drop(self, job: KeptJob) -> None:
        """Stop a job that nobody will ever ask for, and forget it."""
        job.task.cancel()
        self._jobs.pop(job.job_id, None)

    def _ended(self, job: KeptJob, stay: ExitStack) -> None:
        job.ended_ms = self._clock.monotonic_ms()
        job.size_bytes = len(encode(job.to_json()))
        if job.job_id in self._jobs:
            self._jobs.move_to_end(job.job_id)  # Those that ended stand in the order in which they did.
        self._forget()
        if job.webhook:
            telling = asyncio.create_task(self._tell_of(job, job.webhook, stay))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
        else:
            stay.close()

    async def _tell_of(self, job: KeptJob, webhook: str, stay: ExitStack) -> None:
        """Tell of a job's end. The worker does not stop before somebody knows, or nobody would."""
        with stay:
            for pause in _WEBHOOK_PAUSES_SECONDS:
                await asyncio.sleep(pause)
                try:
                    await self._tell(webhook)
                except (OSError, http.client.HTTPException) as exc:
                    # Its address is a secret of the two hops, so it is in no log.
                    self._log.warning("webhook.not_taken", job_id=job.job_id, error=type(exc).__name__)
                else:
                    return

    def _forget(self) -> None:
        """Forget what ended long ago; and sooner, what ended first, if there is too much."""
        now = self._clock.monotonic_ms()
        ended = [job for job in self._jobs.values() if job.ended_ms is not None]
        size = sum(job.size_bytes for job in ended)
        for job in ended:
            if size <= _KEPT_BYTES_MAX and now - (job.ended_ms or now) < _KEPT_MS:
                return
            size -= job.size_bytes
            del self._jobs[job.job_id]


async def _post(url: str) -> None:
    await asyncio.to_thread(_post_and_wait, url)


def _post_and_wait(url: str) -> None:
    if not url.startswith(("https://", "http://")):
        raise OSError("a webhook is an http address")
    request = urllib.request.Request(url, data=b"{}", method="POST")  # noqa: S310 - checked above
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=_WEBHOOK_SECONDS_MAX):  # noqa: S310 - checked above
        pass
