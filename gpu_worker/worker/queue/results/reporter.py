"""The reporter: brings each result until the queue acknowledges it, and loses none meanwhile.

The same bytes go to the same address however often they are sent, so a result whose acknowledgement was lost is sent
again without harm. Tries are bounded. What the queue would not take lies in the spool, and is sent again from there:
by this process while it lives, by the next one when it starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from worker.log import EventLog
from worker.queue.link.backoff import Backoff
from worker.queue.results.answered import Answered
from worker.queue.results.poster import Poster
from worker.queue.results.result import Result
from worker.queue.results.spool import Kept, Spool

_TRIES = 5
_RESEND_SECONDS_MAX = 60


class Reporter:
    """Posts results in the background. It belongs to one event loop.

    Args:
        poster: makes one try.
        spool: keeps what could not be brought.
        worker_id: who took the jobs.
        places: how many results may be on their way; one more waits, and so does the job's place.
        retry_seconds: the first wait between tries.
        resend_seconds: the first wait before the spool is tried again.
        log: gets what goes wrong.
    """

    def __init__(
        self,
        *,
        poster: Poster,
        spool: Spool,
        worker_id: str,
        places: int,
        retry_seconds: float,
        resend_seconds: float,
        log: EventLog,
    ) -> None:
        self._poster = poster
        self._spool = spool
        self._worker_id = worker_id
        self._places = asyncio.Semaphore(places)
        self._retry_seconds = retry_seconds
        self._resend_seconds = resend_seconds
        self._log = log
        self._untold: dict[str, Result] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._answered = Answered()
        self._kept: set[str] = set()
        self._try_spool = asyncio.Event()

    @property
    def ids(self) -> Sequence[str]:
        """The jobs whose results are on their way."""
        return list(self._untold)

    def knows(self, job_id: str) -> bool:
        """Return whether this job has a result that can be brought again."""
        return job_id in self._untold or job_id in self._answered

    def repeat(self, job_id: str) -> None:
        """Bring an answered job's result again: the queue asks, so it has lost it. Others change nothing."""
        result = self._answered.get(job_id)
        if result is not None and job_id not in self._untold:
            self.begin(job_id, result)

    def begin(self, job_id: str, result: Result) -> asyncio.Task[None]:
        """Bring a result, in the background, whether there is a place or not."""
        self._untold[job_id] = result
        task = asyncio.create_task(self._tell(job_id, result))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        return task

    async def report(self, job_id: str, result: Result) -> None:
        """Bring a result, in the background. Returns when there is a place for it, which is at once as a rule."""
        self._untold[job_id] = result
        try:
            await self._places.acquire()
        except asyncio.CancelledError:
            # It comes too late to stop the job: there is a result.
            self.begin(job_id, result)
            raise
        self.begin(job_id, result).add_done_callback(lambda _: self._places.release())

    async def resend(self) -> None:
        """Send what lies in the spool, now and whenever there is hope, until cancelled."""
        wait = Backoff(first=self._resend_seconds, most=_RESEND_SECONDS_MAX)
        while True:
            left = [kept for kept in await asyncio.to_thread(self._read) if not await self._resend(kept)]
            if not left:
                wait.reset()
            self._try_spool.clear()
            try:
                await asyncio.wait_for(self._try_spool.wait(), wait.next_seconds() if left else None)
            except TimeoutError:
                continue

    async def finish(self, seconds_max: float) -> bool:
        """Wait until all is acknowledged. What takes longer goes to the spool, and the answer is False."""
        if not self._telling:
            return True
        _, late = await asyncio.wait(self._telling, timeout=seconds_max)
        for task in late:
            task.cancel()
        for job_id, result in self._untold.items():
            self._keep(job_id, result)
        return not late

    async def _tell(self, job_id: str, result: Result) -> None:
        wait = Backoff(first=self._retry_seconds, most=10)
        for tries in range(1, _TRIES + 1):
            refusal = await self._poster.post(job_id, result.body, worker_id=self._worker_id)
            if refusal is None:
                self._acknowledged(job_id, result, tries)
                return
            if tries == 1:
                await asyncio.to_thread(self._keep, job_id, result)
            if tries < _TRIES:
                await asyncio.sleep(wait.next_seconds(least=refusal.seconds))
        self._untold.pop(job_id, None)
        self._answered.add(job_id, result)
        self._log.error("result.spooled", job_id=job_id, reason=refusal.reason if refusal else "")
        self._try_spool.set()

    def _acknowledged(self, job_id: str, result: Result, tries: int) -> None:
        self._untold.pop(job_id, None)
        self._answered.add(job_id, result)
        if tries > 1:
            self._log.info("result.late", job_id=job_id, tries=tries)
        if job_id in self._kept:
            self._drop(job_id)

    async def _resend(self, kept: Kept) -> bool:
        if kept.job_id in self._untold:
            return True  # it is being brought already
        refusal = await self._poster.post(kept.job_id, kept.body, worker_id=kept.worker_id)
        if refusal is None:
            self._drop(kept.job_id)
            self._log.info("result.resent", job_id=kept.job_id)
        return refusal is None

    def _keep(self, job_id: str, result: Result) -> None:
        try:
            self._spool.keep(Kept(job_id=job_id, worker_id=self._worker_id, body=result.body))
            self._kept.add(job_id)
        except OSError as exc:
            self._log.error("result.not_spooled", exc, job_id=job_id)

    def _drop(self, job_id: str) -> None:
        self._spool.drop(job_id)
        self._kept.discard(job_id)

    def _read(self) -> list[Kept]:
        try:
            return list(self._spool.read())
        except OSError as exc:
            self._log.error("spool.unreadable", exc)
            return []
