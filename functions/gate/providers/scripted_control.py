"""Switches and a bill that are plain values: no network, no account, and every way in which they can answer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from gate.control import BillingRecord, Capacity
from gate.errors import ProviderError


@dataclass(slots=True)
class ScriptedControl:
    """A `ProviderControl` for tests and demonstrations."""

    now: Capacity = field(default_factory=lambda: Capacity(workers_min=0, workers_max=3))
    """The workers and their bounds. Lowering the maximum ends none of them at once: see `ends_after_reads`."""
    ends_after_reads: int = 1
    """How often `capacity` is read, once the maximum is 0, before the workers are gone."""
    queued: int = 0
    records: list[BillingRecord] = field(default_factory=list)
    """The bill; `billing` returns what of it lies in the span that is asked for."""
    balance: int | None = None
    errors: deque[ProviderError] = field(default_factory=deque)
    """Raised by the next calls, one each."""
    calls: list[str] = field(default_factory=list)
    """What was called, in order."""

    async def capacity(self) -> Capacity:
        """See `ProviderControl.capacity`."""
        self._called("capacity")
        if self.now.workers_max == 0:
            self.ends_after_reads -= 1
            if self.ends_after_reads < 0:
                self.now = Capacity(workers_min=0, workers_max=0)
        return self.now

    async def set_capacity(self, *, workers_min: int, workers_max: int) -> None:
        """See `ProviderControl.set_capacity`."""
        self._called(f"set_capacity {workers_min} {workers_max}")
        self.now = replace(self.now, workers_min=workers_min, workers_max=workers_max)

    async def purge_queue(self) -> int:
        """See `ProviderControl.purge_queue`."""
        self._called("purge_queue")
        removed, self.queued = self.queued, 0
        return removed

    async def billing(self, *, since: datetime, until: datetime) -> list[BillingRecord]:
        """See `ProviderControl.billing`."""
        self._called("billing")
        found = [record for record in self.records if record.ends > since and record.begins < until]
        return sorted(found, key=lambda record: record.begins)

    async def balance_microdollars(self) -> int | None:
        """See `ProviderControl.balance_microdollars`."""
        self._called("balance")
        return self.balance

    async def close(self) -> None:
        """See `ProviderControl.close`."""

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.errors:
            raise self.errors.popleft()
