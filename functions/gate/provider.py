"""The port to a host that runs jobs on a GPU: what it is asked, and what it answers.

`gate.providers` holds its adapters, `gate.control` what the owner asks of some of them. All pass one contract suite,
`tests/contract/provider_contract.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import msgspec


class ProviderState(StrEnum):
    """Where a job stands at its provider."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """The provider does not know it any more: it outlived its time to live, or its result did."""

    @property
    def final(self) -> bool:
        """True if the provider changes nothing about it any more."""
        return self not in (ProviderState.QUEUED, ProviderState.RUNNING)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate asks a provider to do."""

    job_id: str
    body: bytes
    """A `wire.WorkBody`, encoded."""
    execution_ms_max: int
    """The provider, or the worker, stops the job after this: it bounds what the job can cost."""
    expires_at: datetime
    """Nobody waits for the answer after this."""
    webhook: str | None = None
    """An address that is told by POST when the job has ended; given to jobs that may outlive their call alone."""
    low_priority: bool = False
    """The provider starts no worker for it, where it knows how to: it waits for one that there is."""


class LifeUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a job pays of its worker's life beside the start, in milliseconds; see `wire.WorkUsage`."""

    share_ms: int
    gap_ms: int
    before_ms: int
    """What the worker's earlier jobs were told, their starts and gaps included."""


class ProviderUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider and the worker report that a job took, in milliseconds."""

    execution_ms: int
    """As the provider measures it: from the worker taking the job to its answer."""
    start_ms: int = 0
    """The worker's start, told with its first job."""
    delay_ms: int = 0
    """From handing the job over to a worker taking it. The start that the job caused, if any, is within it."""
    life: LifeUsage | None = None
    """The job's part of its worker's life; None if the worker does not measure it."""
    tokens: int = 0
    """That went through the model; 0 if the provider does not say."""


class ProviderJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as its provider sees it."""

    provider_job_id: str
    state: ProviderState
    outputs: Any = None
    usage: ProviderUsage | None = None
    """None while it runs, or when the provider does not say."""
    failure_code: str | None = None
    """A `wire.WorkFailure.code`, when the worker itself said why it failed."""
    failure_message: str | None = None
    """May be shown to the caller: it comes from our worker, and is one line."""
    tried_again: bool = False
    """A worker died with it, and it was, or will be, started once more. Each try is billed."""
    delay_ms: int | None = None
    """Of one that runs, from handing it over to a worker taking it; None if the provider does not say."""


class ProviderHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says about an endpoint."""

    ready: bool
    workers_running: int
    jobs_queued: int
    jobs_retried: int | None = None
    """How often a job was started again, since the endpoint was made; None where the provider does not say."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider can do, as data."""

    name: str
    queues: bool
    """It keeps a job when no worker is free, and `status` and `cancel` work."""
    stops_at_timeout: bool
    """It ends a job itself when its execution timeout has passed."""
    bytes_in_max: int
    bytes_out_max: int
    retention_seconds: int
    """How long a result can be asked for after the job ended."""
    wait_seconds_max: float
    """The longest that `submit` can wait."""
    drops_when_left: bool = False
    """It drops a job whose connection is closed: such a job takes nothing any more."""
    takes_names: bool = False
    """It calls a job by the order's `job_id`, so that a job can be stopped before `submit` has answered."""


class Provider(Protocol):
    """A host that runs jobs on a GPU."""

    capabilities: Capabilities

    async def submit(self, order: Order, *, wait_seconds: float) -> ProviderJob:
        """Hand a job over, and wait for its end for a while.

        Returns the job as it stands: final if it ended in time, else queued or running, to be asked for by `status`.
        Handing over the same job id again may run it again: the ledger prevents that, not the provider.

        Raises:
            ProviderUnavailableError: it was never taken.
            ProviderRejectedError: it was refused before it ran.
            ProviderTimeoutError: no answer; it may be running.
        """
        ...

    async def status(self, provider_job_id: str) -> ProviderJob:
        """Return the job as it stands. One that the provider does not know is `EXPIRED`.

        Raises:
            ProviderError: the provider cannot be asked right now.
        """
        ...

    async def cancel(self, provider_job_id: str) -> None:
        """Stop a job. One that has ended, or is unknown, is left as it is.

        Raises:
            ProviderError: the provider cannot be reached.
        """
        ...

    async def health(self) -> ProviderHealth:
        """Ask whether jobs would be taken. Costs nothing and starts no worker.

        Raises:
            ProviderError: the provider cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Close connections. Closing twice is fine."""
        ...


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What a job made before its end."""

    text: str = ""
    """The next piece of the text that it writes; the pieces together are its output."""
    progress: tuple[int, int] | None = None
    """How many of its items are done, and of how many."""


@runtime_checkable
class Streams(Protocol):
    """What a provider can do beside `Provider` if it passes on a job's parts as they are made."""

    def stream(self, order: Order, *, wait_seconds: float) -> AsyncGenerator[Part | ProviderJob, None]:
        """Hand a job over, and yield its parts as they come and, last, the job in its final state.

        An order that makes no parts yields its end alone. Where there is a queue, the job is yielded once before its
        first part, so that it can be cancelled; leaving the iteration does not. An order that has a webhook goes on
        there when the wait is over, and what is yielded last is the job as it then stands.

        Raises:
            ProviderError: as `Provider.submit`, at any point of the iteration.
        """
        ...
