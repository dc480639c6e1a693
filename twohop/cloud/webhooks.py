"""Webhooks as RunPod sends them: the status, posted once and twice more when it is not taken, ten seconds apart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from twohop.cloud.cloud import Cloud
from twohop.cloud.jobs import CloudJob

_TRIES = 3
_PAUSE_SECONDS = 10.0

Post = Callable[[str, dict[str, Any]], Awaitable[bool]]
"""Posts a JSON object to an address, and says whether it was answered 200."""


class Webhooks:
    """Posts each finished job that asked for it. It may be lost, and it may come twice."""

    def __init__(self, cloud: Cloud, post: Post) -> None:
        self._cloud = cloud
        self._post = post
        self._posting: set[asyncio.Task[None]] = set()
        cloud.on_end = self._ended

    async def wait(self) -> None:
        """Wait until all that is under way is posted or given up."""
        while self._posting:
            await asyncio.wait(self._posting)

    def _ended(self, job: CloudJob) -> None:
        if job.webhook is None or self._cloud.dice.hit("webhook_lost", self._cloud.faults.webhook_lost):
            return
        times = 2 if self._cloud.dice.hit("webhook_doubled", self._cloud.faults.webhook_doubled) else 1
        for _ in range(times):
            task = asyncio.ensure_future(self._deliver(job.webhook, job.to_json()))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

    async def _deliver(self, url: str, fields: dict[str, Any]) -> None:
        for tries_left in reversed(range(_TRIES)):
            if await self._post(url, fields) or not tries_left:
                return
            await asyncio.sleep(_PAUSE_SECONDS)
