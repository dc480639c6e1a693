"""The heartbeat: tells the queue that this worker lives and which jobs it has.

It beats in the process and the event loop that do the work. RunPod's SDK beats in a process of its own, which goes on
when the worker is killed, and the job hangs until its time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from worker.log import EventLog
from worker.queue.link.address import Address
from worker.queue.link.client import Client
from worker.queue.link.errors import LostError

_REASON_CHARS_MAX = 256


class Heartbeat:
    """Pings, for as long as the engine lives.

    Args:
        client: speaks to the queue.
        address: says where.
        seconds: between two pings.
        job_ids: says which jobs this worker has.
        log: gets the first of each row of failures.
    """

    def __init__(
        self,
        *,
        client: Client,
        address: Address,
        seconds: float,
        job_ids: Callable[[], Sequence[str]],
        log: EventLog,
    ) -> None:
        self._client = client
        self._address = address
        self._seconds = seconds
        self._job_ids = job_ids
        self._log = log
        self._failed = False

    async def run(self) -> None:
        """Ping until cancelled."""
        loop = asyncio.get_running_loop()
        while self._address.ping_url:
            due = loop.time() + self._seconds
            await self._ping(self._address.ping(self._job_ids()))
            await asyncio.sleep(max(0, due - loop.time()))

    async def unhealthy(self, check: str, reason: str) -> None:
        """Say once that this worker is of no use, so that its host can tell why."""
        if self._address.ping_url:
            fields = {"status": "unhealthy", "check": check, "reason": reason[:_REASON_CHARS_MAX]}
            await self._ping(self._address.ping((), **fields))

    async def _ping(self, url: str) -> None:
        try:
            reply = await self._client.send("GET", url, seconds_max=self._seconds, name="ping")
            reason = "" if reply.ok else f"the queue said {reply.status}"
        except LostError as exc:
            reason = str(exc)
        if reason and not self._failed:
            self._log.warning("queue.ping_failed", reason=reason)
        self._failed = bool(reason)
