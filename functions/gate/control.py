"""What the owner's side asks of a provider: how many workers there are, how many there may be, and what they cost.

An optional power: hop 1 answers callers without it. The kill ladder, the watchdog and the reconciliation need it, and
`gate.providers.open_control` says whether the chosen provider has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """The workers of an endpoint, and the bounds within which the provider starts and ends them."""

    workers_min: int
    """Kept running with no job at all."""
    workers_max: int
    """Never exceeded; at 0 the provider starts none, and lets those that there are end."""
    running: int = 0
    """With a job."""
    idle: int = 0
    """Ready, without one: billed all the same."""
    initializing: int = 0
    """Starting; from the container's start on they are billed."""
    throttled: int = 0
    """Waiting for a machine that the provider does not have free; not billed."""
    unhealthy: int = 0

    @property
    def alive(self) -> int:
        """How many workers cost something now, or may at any moment. 0 is what a kill has to read back."""
        return self.running + self.idle + self.initializing + self.throttled + self.unhealthy


class BillingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider billed for an endpoint in a span of time."""

    begins: datetime
    ends: datetime
    """Exclusive. Of a span that is not over, the amount still grows."""
    microdollars: int
    """All of it: workers, disks and fees."""
    fee_microdollars: int = 0
    """Of that, what is no worker's time."""
    billed_ms: int | None = None
    """Of all workers together; None where the provider does not say."""


class ProviderControl(Protocol):
    """A provider's own switches and its own bill. No call starts a worker or costs anything."""

    async def capacity(self) -> Capacity:
        """Return the workers as they are now.

        Raises:
            ProviderError: the provider cannot be asked, or does not answer what it should.
        """
        ...

    async def set_capacity(self, *, workers_min: int, workers_max: int) -> None:
        """Set the bounds. Doing it twice is doing it once.

        Workers above the new maximum end when the provider ends them, not when this returns: read `capacity` back.

        Raises:
            ProviderError: the bounds are not known to be set; call again.
        """
        ...

    async def purge_queue(self) -> int:
        """Drop all jobs that no worker has taken yet, and return how many. Running ones go on: `Provider.cancel`.

        Raises:
            ProviderError: the queue is not known to be empty; call again.
        """
        ...

    async def billing(self, *, since: datetime, until: datetime) -> Sequence[BillingRecord]:
        """Return what was billed, oldest first, in spans that cover at least the time from `since` to `until`.

        A bill is late: the last minutes of it may still be missing.

        Raises:
            ProviderError: the bill cannot be read.
        """
        ...

    async def balance_microdollars(self) -> int | None:
        """Return what is left of what was paid in advance; None where the provider has no such thing.

        Raises:
            ProviderError: it cannot be read.
        """
        ...

    async def close(self) -> None:
        """Close connections. Closing twice is fine."""
        ...
