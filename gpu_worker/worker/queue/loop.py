"""The loop: takes jobs, runs them, brings their results, beats, and on SIGTERM stops in the right order.

First it stops taking, then it finishes what it took, then it brings what it has; what could not be finished in time
is answered as such, so that the queue knows at once. Everything is in one event loop of the process that works: when
that dies, so does the heartbeat.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Coroutine
from typing import Any

from worker.clock import Clock, SystemClock
from worker.errors import UnfinishedError
from worker.log import EventLog
from worker.queue.heartbeat import Heartbeat
from worker.queue.jobs import Handle, Jobs
from worker.queue.link.client import Client
from worker.queue.link.freeze import watch_for_freezes
from worker.queue.results.poster import Poster
from worker.queue.results.reporter import Reporter
from worker.queue.results.result import encode
from worker.queue.results.spool import Spool
from worker.queue.results.telling import Telling
from worker.queue.room import Room
from worker.queue.settings import QueueSettings
from worker.queue.stops import listen_for_stops
from worker.queue.taker import Taker

_REPORT_SECONDS_MAX = 5.0
"""How long results are still brought once every job has ended; the rest goes to the spool."""
_BROKEN_SECONDS_MAX = 2.0
"""How long jobs may take to fail once the engine is broken."""
_PLACES_MORE = 16
"""Results that may be on their way beside those of a full house: a slow link must not hold up the work."""
_UNFINISHED = {"error": str(UnfinishedError())}


async def run_queue(
    handle: Handle,
    settings: QueueSettings,
    *,
    log: EventLog,
    ready: Awaitable[None] | None = None,
    broken: asyncio.Event | None = None,
    unfinished: Any = None,
    clock: Clock | None = None,
) -> int:
    """Work for the queue until SIGTERM or SIGINT, and return the process's exit code.

    0 when every job that was taken was answered and acknowledged; 1 when one outlasted `stop_seconds_max` or lies in
    the spool, when `ready` raised, or when the engine broke.

    Args:
        handle: answers one job; what it returns is the job's output, and its sink gets what comes before.
        settings: where the queue is, and how to speak to it.
        log: gets what the loop does.
        ready: awaited before the first job is taken.
        broken: set when the engine is of no use any more. The heartbeat stops with it, and no job is taken.
        unfinished: the output of a job that could not be finished in time; an error if None.
        clock: shows freezes, and measures.
    """
    stop = _stop_signal()
    loop = _QueueLoop(handle, settings, log=log, clock=clock or SystemClock())
    try:
        if ready is not None and not await loop.wait_ready(ready, stop):
            return 0 if stop.is_set() else 1
        return await loop.run(stop, broken or asyncio.Event(), unfinished or _UNFINISHED)
    finally:
        loop.close()


class _QueueLoop:
    def __init__(self, handle: Handle, settings: QueueSettings, *, log: EventLog, clock: Clock) -> None:
        address, self._settings, self._log, self._clock = settings.address, settings, log, clock
        self._client = Client(address.headers())
        poster = Poster(client=self._client, address=address)
        self._reporter = Reporter(
            poster=poster,
            spool=Spool(settings.spool, queue=address.done_template),
            worker_id=address.worker_id,
            places=settings.jobs_max + _PLACES_MORE,
            retry_seconds=settings.retry_seconds,
            resend_seconds=settings.resend_seconds,
            log=log,
        )
        room = Room(jobs_max=settings.jobs_max, jobs_least=settings.jobs_least, soon_ms=settings.soon_ms, clock=clock)
        self._jobs = Jobs(
            handle,
            room=room,
            reporter=self._reporter,
            tell=lambda job_id: Telling(
                poster=poster, job_id=job_id, worker_id=address.worker_id, streams=bool(address.stream_template)
            ),
            result_bytes_max=settings.result_bytes_max,
            log=log,
        )
        self._heartbeat = Heartbeat(
            client=self._client,
            address=address,
            seconds=settings.ping_seconds,
            job_ids=lambda: self._jobs.ids,
            log=log,
        )
        self._taker = Taker(
            client=self._client,
            address=address,
            room=room,
            take=self._jobs.take,
            is_busy=lambda: bool(self._jobs.ids),
            log=log,
        )

    async def wait_ready(self, ready: Awaitable[None], stop: asyncio.Event) -> bool:
        """Wait until the engine stands. Return False if it never will, or if it is time to stop."""
        loading, stopping = asyncio.ensure_future(ready), asyncio.create_task(stop.wait())
        await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if loading.done() and (exc := loading.exception()):
            await self._heartbeat.unhealthy("start", str(exc))
            return False
        return not stop.is_set()

    async def run(self, stop: asyncio.Event, broken: asyncio.Event, unfinished: Any) -> int:
        taking = self._begin(self._taker.run(), broken)
        beating = self._begin(self._heartbeat.run(), broken)
        others = [self._begin(work, broken) for work in self._others()]
        self._log.info("queue.listening", worker_id=self._settings.address.worker_id)
        await _first(stop, broken)
        if broken.is_set():
            beating.cancel()
        self._log.info("worker.stopping", broken=broken.is_set())
        await self._taker.stop(taking)
        finished = await self._finish(
            unfinished, seconds_max=_BROKEN_SECONDS_MAX if broken.is_set() else self._settings.stop_seconds_max
        )
        for task in (beating, *others):
            task.cancel()
        return 0 if stop.is_set() and finished else 1

    async def _finish(self, unfinished: Any, *, seconds_max: float) -> bool:
        """Finish what was taken and bring what there is. Return whether that is all."""
        drained = await self._jobs.drain(seconds_max)
        await self._jobs.abandon(encode(unfinished, bytes_max=self._settings.result_bytes_max))
        told = await self._reporter.finish(_REPORT_SECONDS_MAX)
        self._log.info("worker.stopped", jobs_finished=drained, results_acknowledged=told)
        return drained and told

    def _begin(self, work: Coroutine[Any, Any, None], broken: asyncio.Event) -> asyncio.Task[None]:
        """Start a part of the loop. One that fails takes the worker down: without it, jobs would hang in silence."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (exc := task.exception()):
                self._log.error("queue.loop_failed", exc)
                broken.set()

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        return task

    def close(self) -> None:
        self._client.close()

    def _others(self) -> list[Coroutine[Any, Any, None]]:
        return [
            self._reporter.resend(),
            listen_for_stops(self._client, self._settings.address, self._jobs.stop, self._log),
            watch_for_freezes(self._clock, self._thaw),
        ]

    def _thaw(self, missing_ms: float) -> None:
        self._log.warning("worker.was_frozen", missing_ms=round(missing_ms), calls=self._client.hang_up())


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _first(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
