"""Law 3: the GPU call, outside any transaction, from handing a job over to knowing how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from gate.errors import ProviderError, ProviderTimeoutError, ProviderUnavailableError
from gate.log import EventLog
from gate.ports import Clock
from gate.provider import Order, Provider, ProviderJob, ProviderState

_POLL_SECONDS_FIRST = 0.25
_POLL_SECONDS_MAX = 2.0
_POLL_GROWTH = 1.5

Sleep = Callable[[float], Awaitable[None]]


class Sight(msgspec.Struct, kw_only=True):
    """What was last seen of a job that somebody may have to stop."""

    job: ProviderJob | None = None
    known: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    """Set once its provider's name for it is known."""

    def of(self, job: ProviderJob) -> ProviderJob:
        """Note how the job stands, and return it."""
        self.job = job
        self.known.set()
        return job


class Dispatcher:
    """Runs one order at the provider and waits for its end, up to the order's expiry."""

    def __init__(self, *, provider: Provider, clock: Clock, log: EventLog, sleep: Sleep = asyncio.sleep) -> None:
        self._provider = provider
        self._clock = clock
        self._log = log
        self._sleep = sleep

    async def run(self, order: Order, *, until: datetime | None = None, sight: Sight | None = None) -> ProviderJob:
        """Return the job in a final state, or as it stands at a time before its order expires.

        Args:
            order: what is to be done.
            until: how long it is waited for, if that is shorter than the order's own time.
            sight: is told of each state in which the job is seen.

        Raises:
            ProviderError: it did not get there; `billed` says whether it may have cost something.
        """
        until = min(until or order.expires_at, order.expires_at)
        left = self._left_seconds(until)
        if left <= 0:
            raise ProviderUnavailableError("its time was over before it could be handed over")
        wait_seconds = min(left, self._provider.capabilities.wait_seconds_max)
        sight = sight or Sight()
        if self._provider.capabilities.takes_names:
            sight.of(ProviderJob(provider_job_id=order.job_id, state=ProviderState.RUNNING))
        job = sight.of(await self._provider.submit(order, wait_seconds=wait_seconds))
        pause = _POLL_SECONDS_FIRST
        while not job.state.final:
            left = self._left_seconds(until)
            if left <= 0:
                if until < order.expires_at:
                    return job
                return await self.give_up(order, job)
            await self._sleep(min(pause, left))
            pause = min(pause * _POLL_GROWTH, _POLL_SECONDS_MAX)
            job = sight.of(await self._ask(order.job_id, job))
        return job

    async def give_up(self, order: Order, job: ProviderJob) -> ProviderJob:
        """Stop a job that nobody waits for any more, and return its end if it had come by then.

        Raises:
            ProviderTimeoutError: it had not; what it took is not known.
            ProviderUnavailableError: it never left the queue, and no worker was started for it.
        """
        last = await self.stop(order.job_id, job)
        if last.state in (ProviderState.COMPLETED, ProviderState.FAILED):
            return last
        untaken = job.state is ProviderState.QUEUED and last.state is ProviderState.CANCELLED and last.usage is None
        if order.low_priority and untaken:
            raise ProviderUnavailableError("no worker had room for it, and none is started at this kill level")
        raise ProviderTimeoutError(f"not finished by its expiry; last seen {last.state.value}")

    async def stop(self, job_id: str, job: ProviderJob) -> ProviderJob:
        """Cancel a job, and return it as the provider tells it afterwards: nothing else is believed."""
        try:
            await self._provider.cancel(job.provider_job_id)
        except ProviderError as exc:
            self._log.warning("provider.cancel_failed", job_id=job_id, reason=str(exc))
        return await self._ask(job_id, job)

    def _left_seconds(self, until: datetime) -> float:
        return (until - self._clock.now()).total_seconds()

    async def _ask(self, job_id: str, job: ProviderJob) -> ProviderJob:
        """Ask how a job stands. Not being able to ask changes nothing about the job, so it is asked for again."""
        try:
            return await self._provider.status(job.provider_job_id)
        except ProviderError as exc:
            self._log.warning("provider.status_failed", job_id=job_id, reason=str(exc))
            return job
