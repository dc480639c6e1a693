"""Stands right before the real ledger: sees what is spent after each write, and what each job cost in operations."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from gate.domain.scopes import budget_account
from gate.ports import Admitted, Denied
from twohop.cloud.virtual import EPOCH
from twohop.prove.bounds import Bounds

_TODAY = ("days", f"{EPOCH:%Y-%m-%d}", "microdollars")
_REMEMBERED = 10_000


@dataclass(slots=True, kw_only=True)
class Operations:
    """What a database was asked for."""

    commits: int = 0
    reads: int = 0


@dataclass(slots=True, kw_only=True)
class JobOperations:
    """What one job's two commits came to, and what was read of it."""

    hold: int = 0
    settle: int = 0
    looks: int = 0
    """Reads of its own document while it runs."""


@dataclass(slots=True, kw_only=True)
class Request:
    """What one caller's request led to, until it was answered."""

    reads: int = 0
    job: JobOperations | None = None
    """The job that was admitted for it."""
    is_hot: bool = True
    """There was room for it on its shard at once."""


_counting: ContextVar[Operations | None] = ContextVar("what a call to the ledger sends", default=None)
_asking: ContextVar[Request | None] = ContextVar("whose request is being answered", default=None)


@contextmanager
def asking(request: Request | None) -> Iterator[None]:
    """Count what happens within as a caller's request, or as nobody's."""
    token = _asking.set(request)
    try:
        yield
    finally:
        _asking.reset(token)


def sent(*, is_commit: bool) -> None:
    """Count what went over the wire as the call's for which it did."""
    if counted := _counting.get():
        counted.commits += is_commit
        counted.reads += not is_commit


class Witness:
    """A ledger of which nothing is hidden.

    Args:
        inner: a ledger that does one thing at a time, while which nothing else happens, unless they overlap.
        budget: in micro-dollars a day.
        shards: of the budget.
        is_wired: what is sent is told to `sent`. Otherwise a write counts as one commit and all else as one read, as
            Firestore's ledger does.
        overlap: calls to the ledger may. Then its counters say nothing while they do, and bounds are kept instead.
    """

    def __init__(
        self, inner: Any, *, budget: int, shards: int, is_wired: bool = False, overlap: bool = False
    ) -> None:
        self._inner = inner
        self._budget = budget
        self._accounts = [budget_account(shard) for shard in range(shards)]
        self._is_wired = is_wired
        self._bounds = Bounds() if overlap else None
        self._free: deque[tuple[float, int]] = deque([(0.0, budget)], maxlen=_REMEMBERED)
        self._jobs: dict[str, JobOperations] = {}
        self.most_spent = 0

    def __getattr__(self, name: str) -> Any:
        """Return the ledger's method; one that is not named below reads."""
        method = getattr(self._inner, name)

        async def call(*args: Any, **options: Any) -> Any:
            with self._counted(Operations(reads=1)) as used:
                done = await method(*args, **options)
            self._count_reads(used.reads)
            return done

        return call

    async def hold(self, job: Any, *args: Any, **options: Any) -> Any:
        """See `Ledger.hold`."""
        if self._bounds:
            self._bounds.asked(job.job_id, job.held_microdollars)
            await self._look()
        with self._counted(Operations(commits=1)) as used:
            outcome = await self._inner.hold(job, *args, **options)
        mine = self._jobs.setdefault(job.job_id, JobOperations())
        mine.hold += used.commits
        if request := _asking.get():
            request.is_hot &= not isinstance(outcome, Denied)
            request.job = mine if isinstance(outcome, Admitted) else request.job
        self._count_reads(used.reads)
        if self._bounds and isinstance(outcome, Admitted):
            self._bounds.admitted(job.job_id, job.held_microdollars)
        if self._bounds and isinstance(outcome, Denied):
            self._bounds.denied(job.job_id)
        if self._bounds or not isinstance(outcome, Denied):  # Of one that was denied the counters have nothing.
            await self._look()
        return outcome

    async def settle(self, job: Any, settlement: Any, **options: Any) -> Any:
        """See `Ledger.settle`."""
        if self._bounds:
            self._bounds.settling(job.job_id, settlement.microdollars)
        with self._counted(Operations(commits=1)) as used:
            done = await self._inner.settle(job, settlement, **options)
        if self._bounds:
            self._bounds.settled(job.job_id, done.settled_microdollars)
        self._jobs.setdefault(job.job_id, JobOperations()).settle += used.commits
        self._count_reads(used.reads)
        await self._look()
        return done

    async def hand_over(self, *args: Any, **options: Any) -> Any:
        """See `Ledger.hand_over`."""
        with self._counted(Operations(commits=1)) as used:
            done = await self._inner.hand_over(*args, **options)
        self._count_reads(used.reads)
        return done

    async def job(self, job_id: str) -> Any:
        """See `Ledger.job`. Whoever waits for a job that runs looks into its document; nobody waits for that look."""
        mine = self._jobs.get(job_id)
        if mine is None or not mine.hold:
            return await self.__getattr__("job")(job_id)
        mine.looks += 1
        return await self._inner.job(job_id)

    async def rebalance(self, *args: Any, **options: Any) -> Any:
        """See `Ledger.rebalance`."""
        if request := _asking.get():
            request.is_hot = False
        return await self._inner.rebalance(*args, **options)

    async def spent(self) -> int:
        """Return what all shards together have for this day, holds included."""
        counted = [await self._inner.counters(account) for account in self._accounts]
        return sum(counters.get(_TODAY, 0) for counters in counted)

    def least_free(self, *, since: float) -> int:
        """Return how little of the budget was free at some moment since a time of the loop."""
        least = self._budget
        for at, free in reversed(self._free):
            least = min(least, free)
            if at < since:
                break
        return least

    async def _look(self) -> None:
        least, most = (self._bounds.least, self._bounds.most) if self._bounds else [await self.spent()] * 2
        self.most_spent = max(self.most_spent, least)
        self._free.append((asyncio.get_running_loop().time(), self._budget - most))

    def _count_reads(self, reads: int) -> None:
        if request := _asking.get():
            request.reads += reads

    @contextmanager
    def _counted(self, otherwise: Operations) -> Iterator[Operations]:
        """Yield what is sent within, or what it counts as where nobody sees the wire."""
        if not self._is_wired:
            yield otherwise
            return
        token = _counting.set(counted := Operations())
        try:
            yield counted
        finally:
            _counting.reset(token)
