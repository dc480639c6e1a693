"""What a job makes before its end, on its way to the queue: its text as a stream, its progress as the queue has it.

Progress goes where results go, as RunPod's package sends it. There it may overtake the result, and the job is then in
progress for ever; here the result waits for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

from worker.jobs.parts import Parts
from worker.queue.results.poster import Poster
from worker.queue.results.stream import post_stream

_PROGRESS_SECONDS = 1.0
"""No more often: each is a call that the work does not need."""
_END_SECONDS_MAX = 10.0
"""How long the last parts may take; the result has them, too."""


class Telling:
    """One job's parts. To be made in the loop that runs the job.

    Args:
        poster: makes one try.
        job_id: whose parts they are.
        worker_id: who runs it.
        streams: whether the queue has an address for streams.
    """

    def __init__(self, *, poster: Poster, job_id: str, worker_id: str, streams: bool) -> None:
        self.sink = Parts()
        self._poster = poster
        self._job_id = job_id
        self._worker_id = worker_id
        self._streams = streams
        self._ended = False
        self._progress_at = 0.0
        self._posting = asyncio.create_task(self._post())

    async def end(self) -> None:
        """Post what is left, and return when nothing is on its way any more."""
        if not self.sink.is_used:
            return  # As most jobs are: there is an answer, and it should not wait for anything.
        await asyncio.sleep(0)  # What was handed over before this call is in the sink after a turn of the loop.
        self._ended = True
        self.sink.wake()
        # Whatever failed: the result has all of it.
        with suppress(Exception):
            await asyncio.wait_for(self._posting, _END_SECONDS_MAX)

    def cancel(self) -> None:
        """Post nothing more."""
        self._posting.cancel()

    async def _post(self) -> None:
        await post_stream(self._texts(), poster=self._poster, job_id=self._job_id)

    async def _texts(self) -> AsyncIterator[str]:
        """Yield the text as it comes, and post how far the job is in between."""
        while True:
            await self.sink.came()
            ended = self._ended  # Looked at first: what comes while the text is on its way is taken in another turn.
            made = self.sink.take()
            if made.progress and not ended:
                await self._post_progress(*made.progress)
            if made.text and self._streams:
                yield made.text
            if ended:
                return

    async def _post_progress(self, done: int, total: int) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._progress_at:
            return
        self._progress_at = now + _PROGRESS_SECONDS
        fields = {"status": "IN_PROGRESS", "output": {"progress": {"done": done, "total": total}}}
        await self._poster.post(self._job_id, json.dumps(fields).encode(), worker_id=self._worker_id)
