"""A provider that plays a script: no network, no GPU, and every way in which a job can end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from gate.errors import ProviderError
from gate.ports import Clock
from gate.provider import Capabilities, Order, Part, ProviderHealth, ProviderJob, ProviderState, ProviderUsage
from gate.providers._http import Sleep
from gate.providers._results import left_ms

_USAGE = ProviderUsage(execution_ms=100)
_CAPABILITIES = Capabilities(
    name="scripted",
    queues=True,
    stops_at_timeout=True,
    bytes_in_max=10_000_000,
    bytes_out_max=20_000_000,
    retention_seconds=60,
    wait_seconds_max=300,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What happens to one order."""

    outputs: Any = None
    state: ProviderState = ProviderState.COMPLETED
    """The state it ends in."""
    usage: ProviderUsage | None = _USAGE
    delay_seconds: float = 0
    """How long it runs. One that outlasts the wait of `submit` goes on, and is asked for by `status`."""
    parts: tuple[Part, ...] = ()
    """What a stream tells before its end, evenly over the delay."""
    failure_code: str | None = None
    failure_message: str | None = None
    error: ProviderError | None = None
    """Raised by `submit`, after the delay."""


Script = Callable[[Order], Act]


@dataclass(slots=True)
class _Running:
    act: Act
    task: asyncio.Task[None]


@dataclass(slots=True)
class ScriptedProvider:
    """A `Provider` for tests and demonstrations.

    The acts are played in their order; from then on, and for all that is not scripted, `otherwise` is.
    """

    acts: list[Act] = field(default_factory=list)
    otherwise: Act | Script = field(default_factory=Act)
    clock: Clock | None = None
    """Refuses orders that have expired; without one, none has."""
    sleep: Sleep = asyncio.sleep
    capabilities: Capabilities = _CAPABILITIES
    orders: list[Order] = field(default_factory=list)
    """Every order that was handed over, oldest first."""
    cancelled: list[str] = field(default_factory=list)
    """Every job that was asked to be cancelled, known or not."""
    _jobs: dict[str, _Running] = field(default_factory=dict)

    async def submit(self, order: Order, *, wait_seconds: float) -> ProviderJob:
        """See `Provider.submit`."""
        if self.clock:
            left_ms(order, self.clock, "scripted")
        self.orders.append(order)
        act = self._next(order)
        if act.error:
            await self.sleep(act.delay_seconds)
            raise act.error
        job_id = f"scripted-{len(self.orders)}"
        self._jobs[job_id] = _Running(act, asyncio.create_task(self._play(act)))
        await asyncio.wait({self._jobs[job_id].task}, timeout=wait_seconds)
        return self._job(job_id)

    async def stream(self, order: Order, *, wait_seconds: float) -> AsyncGenerator[Part | ProviderJob, None]:
        """See `Streams.stream`."""
        job = await self.submit(order, wait_seconds=0)
        if not job.state.final:
            yield job
        act, task = self._jobs[job.provider_job_id].act, self._jobs[job.provider_job_id].task
        for part in act.parts:
            await self.sleep(act.delay_seconds / (len(act.parts) + 1))
            yield part
        await asyncio.wait({task}, timeout=wait_seconds if order.webhook else None)
        yield self._job(job.provider_job_id)

    async def status(self, provider_job_id: str) -> ProviderJob:
        """See `Provider.status`."""
        return self._job(provider_job_id)

    async def cancel(self, provider_job_id: str) -> None:
        """See `Provider.cancel`."""
        self.cancelled.append(provider_job_id)
        running = self._jobs.get(provider_job_id)
        if running and running.task.cancel():
            with contextlib.suppress(asyncio.CancelledError):
                await running.task

    async def health(self) -> ProviderHealth:
        """See `Provider.health`."""
        running = sum(not job.task.done() for job in self._jobs.values())
        return ProviderHealth(ready=True, workers_running=running, jobs_queued=0)

    async def close(self) -> None:
        """See `Provider.close`."""
        for job_id in list(self._jobs):
            await self.cancel(job_id)

    def _next(self, order: Order) -> Act:
        if self.acts:
            return self.acts.pop(0)
        return self.otherwise if isinstance(self.otherwise, Act) else self.otherwise(order)

    async def _play(self, act: Act) -> None:
        # A sleep of nothing still lets the others have their turn.
        await self.sleep(act.delay_seconds)

    def _job(self, job_id: str) -> ProviderJob:
        running = self._jobs.get(job_id)
        if running is None:
            return ProviderJob(provider_job_id=job_id, state=ProviderState.EXPIRED)
        if not running.task.done():
            return ProviderJob(provider_job_id=job_id, state=ProviderState.RUNNING)
        if running.task.cancelled():
            return ProviderJob(provider_job_id=job_id, state=ProviderState.CANCELLED)
        act = running.act
        return ProviderJob(
            provider_job_id=job_id,
            state=act.state,
            outputs=act.outputs,
            usage=act.usage,
            failure_code=act.failure_code,
            failure_message=act.failure_message,
        )
