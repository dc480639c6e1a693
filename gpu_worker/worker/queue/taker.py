"""The taker: asks the queue for jobs while there is room, and for none when there is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from worker.log import EventLog
from worker.queue.link.address import Address
from worker.queue.link.backoff import Backoff
from worker.queue.link.client import Client
from worker.queue.link.connection import Reply, retry_after
from worker.queue.link.errors import LostError
from worker.queue.room import Room

POLL_SECONDS_MAX = 90.0
"""How long the queue may hold a question open; the SDK waits as long."""
_CALL = "take"
_HANG_UP_SECONDS_MAX = 2.0

Job = dict[str, Any]


class Taker:
    """Takes jobs by long polls.

    Args:
        client: speaks to the queue.
        address: says where.
        room: says how many, and wakes the taker when there is room again.
        take: gets each job.
        is_busy: says whether any job is in progress, which the queue wants to know.
        log: gets what goes wrong.
    """

    def __init__(
        self,
        *,
        client: Client,
        address: Address,
        room: Room,
        take: Callable[[Job], None],
        is_busy: Callable[[], bool],
        log: EventLog,
    ) -> None:
        self._client = client
        self._address = address
        self._room = room
        self._take = take
        self._is_busy = is_busy
        self._log = log
        self._stopping = False
        self._refusal: int | None = None
        # A queue that answers "nothing" without holding the question open must not be asked in a tight loop.
        self._empty = Backoff(first=0.005, most=0.25)
        self._refused = Backoff(first=0.05, most=2)
        self._limited = Backoff(first=1, most=10)
        self._lost = Backoff(first=0.05, most=5)

    async def run(self) -> None:
        """Take jobs until told to stop."""
        while not self._stopping:
            count = await self._room.wait_free()
            wait_seconds = await self._poll(count)
            if not self._stopping:
                await asyncio.sleep(wait_seconds)

    async def stop(self, running: asyncio.Task[None]) -> None:
        """Take no more, from now on.

        The queue may be handing over a job at this very moment. So the question is not torn away: it is hung up, and
        a job that was already on its way is taken as any other.
        """
        self._stopping = True
        if not self._client.hang_up(_CALL):
            running.cancel()
        await asyncio.wait((running,), timeout=_HANG_UP_SECONDS_MAX)
        running.cancel()

    async def _poll(self, count: int) -> float:
        """Ask once, and return how many seconds to wait before asking again."""
        url = self._address.take(count, is_busy=self._is_busy())
        began = asyncio.get_running_loop().time()
        try:
            reply = await self._client.send("GET", url, seconds_max=POLL_SECONDS_MAX, name=_CALL)
        except LostError as exc:
            return self._unreachable(exc, asyncio.get_running_loop().time() - began)
        self._lost.reset()
        return self._heard(reply, asyncio.get_running_loop().time() - began)

    def _heard(self, reply: Reply, took_seconds: float) -> float:
        if reply.status == 429:
            return self._limited.next_seconds(least=retry_after(reply))
        # RunPod says 400 to a worker that it is about to freeze or to stop; it goes on asking, but not at once.
        if not reply.ok:
            self._tell_once(reply.status)
            return self._refused.next_seconds()
        self._refusal = None
        self._limited.reset()
        self._refused.reset()
        jobs = self._jobs(reply)
        for job in jobs:
            self._take(job)
        if jobs or took_seconds > 1:
            self._empty.reset()
            return 0
        return self._empty.next_seconds()

    def _tell_once(self, status: int) -> None:
        if status != self._refusal:
            self._log.warning("queue.take_refused", status=status)
        self._refusal = status

    def _jobs(self, reply: Reply) -> list[Job]:
        """Return the jobs of an answer: one object, a list of them, or none."""
        try:
            found = json.loads(reply.body or b"[]")
        except (ValueError, RecursionError) as exc:
            self._log.error("queue.take_unreadable", exc)
            return []
        jobs = found if isinstance(found, list) else [found]
        good = [job for job in jobs if isinstance(job, dict) and isinstance(job.get("id"), str) and job["id"]]
        if len(good) < len(jobs):
            self._log.error("queue.job_without_id", jobs=len(jobs) - len(good))
        return good

    def _unreachable(self, exc: LostError, took_seconds: float) -> float:
        if self._stopping:
            return 0
        if took_seconds >= POLL_SECONDS_MAX:
            return 0  # nothing came for as long as we ask; that is no failure
        self._log.warning("queue.unreachable", reason=str(exc))
        return self._lost.next_seconds()
