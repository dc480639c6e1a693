"""Room for jobs: how many more to take now, learned from how long those before took.

A worker that takes all it can hold hoards: its jobs wait inside it while another worker idles, and while RunPod sees
no queue to scale for. A worker that takes one at a time leaves a batching engine half empty. So it takes one more
whenever all that it took were answered soon, or nearly as fast as a job alone; and fewer when they were not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from worker.clock import Clock

_COMPANY_MAX = 1.5
"""How much longer than alone a job may take in company: the price of a batch, not that of a queue."""
_SHRINK = 0.75
_LEARNING = 0.3


@dataclass(slots=True, kw_only=True, eq=False)
class Stay:
    """One job's time inside."""

    began_ms: float
    alone: bool


class Room:
    """Counts the jobs inside. It belongs to one event loop.

    Args:
        jobs_max: never more than these.
        jobs_least: as many at any time, for an engine that is known to run so many together.
        soon_ms: an answer within this is soon enough, whatever a job alone takes.
        clock: measures.
    """

    def __init__(self, *, jobs_max: int, soon_ms: float, clock: Clock, jobs_least: int = 1) -> None:
        self._jobs_max = jobs_max
        self._jobs_least = min(jobs_least, jobs_max)
        self._soon_ms = soon_ms
        self._clock = clock
        self._inside: set[Stay] = set()
        self._depth = float(self._jobs_least)
        self._alone_ms: float | None = None
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many more jobs may be taken."""
        return max(0, int(self._depth) - len(self._inside))

    async def wait_free(self) -> int:
        """Wait until at least one more may be taken, and return how many."""
        while not self.free:
            self._freed.clear()
            await self._freed.wait()
        return self.free

    def enter(self) -> Stay:
        """Count a job that was taken."""
        stay = Stay(began_ms=self._clock.monotonic_ms(), alone=not self._inside)
        for other in self._inside:
            other.alone = False
        self._inside.add(stay)
        return stay

    def leave(self, stay: Stay, *, answered: bool) -> None:
        """Let a job go. One that left already changes nothing; one that was not answered teaches nothing."""
        if stay not in self._inside:
            return
        if answered:
            self._learn(stay)
        self._inside.discard(stay)
        self._freed.set()

    def _learn(self, stay: Stay) -> None:
        took_ms = self._clock.monotonic_ms() - stay.began_ms
        if stay.alone:
            before_ms = took_ms if self._alone_ms is None else self._alone_ms
            self._alone_ms = before_ms + _LEARNING * (took_ms - before_ms)
        if took_ms > max(self._soon_ms, _COMPANY_MAX * (self._alone_ms or 0)):
            self._depth = max(float(self._jobs_least), self._depth * _SHRINK)
        elif len(self._inside) >= int(self._depth):
            self._depth = min(float(self._jobs_max), self._depth + 1)
