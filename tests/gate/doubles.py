"""Stand-ins for what lies outside the gate: a provider that follows a script, a verifier that believes the bearer."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from gate.domain.job import HandOver, Job, Settlement
from gate.domain.meter import Move
from gate.domain.plan import Cohort
from gate.errors import LedgerError, UnauthenticatedError
from gate.ledgers.sqlite import SqliteLedger
from gate.log import EventLog
from gate.ports import Admitted, Caller, Credentials, Denied, Documents, Repeated
from gate.provider import Capabilities, Order, ProviderHealth, ProviderJob, ProviderState, ProviderUsage
from tests.makers import FakeClock

Step = ProviderJob | Exception


def completed(**changes: Any) -> ProviderJob:
    """A job that went well: 1.2 s of execution after a start of 0.8 s."""
    fields: dict[str, Any] = {
        "provider_job_id": "remote-1",
        "state": ProviderState.COMPLETED,
        "outputs": [[0.5, 0.25]],
        "usage": ProviderUsage(execution_ms=1_200, start_ms=800),
    }
    return ProviderJob(**{**fields, **changes})


def running(**changes: Any) -> ProviderJob:
    return completed(**{"state": ProviderState.RUNNING, "outputs": None, "usage": None, **changes})


def failed(**changes: Any) -> ProviderJob:
    return completed(**{"state": ProviderState.FAILED, "outputs": None, **changes})


class Script:
    """A `Provider` that takes each next step of its script, for `submit` and `status` alike; the last one repeats."""

    def __init__(
        self, *steps: Step, cancel: Exception | None = None, wait_seconds_max: float = 90.0, queues: bool = True
    ) -> None:
        self.steps = list(steps or (completed(),))
        self.orders: list[Order] = []
        self.waits: list[float] = []
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.handed_over = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()
        self._cancel = cancel
        self.on_submit: Callable[[], None] = lambda: None
        self.capabilities = Capabilities(
            name="script",
            queues=queues,
            stops_at_timeout=True,
            bytes_in_max=10_000_000,
            bytes_out_max=10_000_000,
            retention_seconds=60,
            wait_seconds_max=wait_seconds_max,
        )

    async def submit(self, order: Order, *, wait_seconds: float) -> ProviderJob:
        self.orders.append(order)
        self.waits.append(wait_seconds)
        self.handed_over.set()
        await self.let_go.wait()
        self.on_submit()
        return self._next()

    async def status(self, provider_job_id: str) -> ProviderJob:
        self.asked.append(provider_job_id)
        return self._next()

    async def cancel(self, provider_job_id: str) -> None:
        self.cancelled.append(provider_job_id)
        if self._cancel:
            raise self._cancel

    async def health(self) -> ProviderHealth:
        return ProviderHealth(ready=True, workers_running=1, jobs_queued=0)

    async def close(self) -> None:
        pass

    def _next(self) -> ProviderJob:
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return step


class BelievingVerifier:
    """A `CallerVerifier` that takes the bearer, or what follows its `token-of-`, for the uid."""

    async def verify(self, credentials: Credentials) -> Caller:
        if credentials.bearer is None:
            raise UnauthenticatedError("no bearer")
        uid = credentials.bearer.removeprefix("token-of-")
        anonymous = uid.startswith("anonymous")
        return Caller(uid=uid, cohort=Cohort.ANONYMOUS if anonymous else Cohort.VERIFIED)


class WatchedLedger(SqliteLedger):
    """A SQLite ledger that remembers what was asked of it, and fails when it is told to."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.holds: list[Job] = []
        self.settlements: list[Settlement] = []
        self.job_reads: list[str] = []
        self.job_read = asyncio.Event()
        self.hold_errors: list[Exception] = []
        self.settle_errors: list[Exception] = []
        self.hand_overs: list[HandOver] = []
        self.hand_over_errors: list[Exception] = []

    async def hold(
        self, job: Job, moves: Sequence[Move], *, require: Sequence[str] = ()
    ) -> Admitted | Denied | Repeated:
        self.holds.append(job)
        if self.hold_errors:
            raise self.hold_errors.pop(0)
        return await super().hold(job, moves, require=require)

    async def settle(self, job: Job, settlement: Settlement, *, at: datetime) -> Job:
        self.settlements.append(settlement)
        if self.settle_errors:
            raise self.settle_errors.pop(0)
        return await super().settle(job, settlement, at=at)

    async def hand_over(self, job: Job, handover: HandOver) -> Job:
        self.hand_overs.append(handover)
        if self.hand_over_errors:
            raise self.hand_over_errors.pop(0)
        return await super().hand_over(job, handover)

    async def job(self, job_id: str) -> Job | None:
        self.job_reads.append(job_id)
        self.job_read.set()
        return await super().job(job_id)


class WatchedDocuments:
    """A `Documents` in memory that counts its reads, can be held up, and fails when it is told to."""

    def __init__(self, documents: Mapping[str, dict[str, Any]] | None = None) -> None:
        self.documents = {path: dict(document) for path, document in (documents or {}).items()}
        self.reads: list[str] = []
        self.writes: list[str] = []
        self.failing = False
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def read(self, path: str) -> dict[str, Any] | None:
        self.reads.append(path)
        document = self.documents.get(path)
        await self.let_go.wait()
        if self.failing:
            raise LedgerError("the store is away")
        return document

    async def write(self, path: str, document: Mapping[str, Any]) -> None:
        self.writes.append(path)
        self.documents[path] = dict(document)

    async def swap(self, path: str, *, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
        if self.documents.get(path) != old:
            return False
        await self.write(path, new)
        return True

    async def collection(self, name: str) -> dict[str, dict[str, Any]]:
        under = f"{name}/"
        return {path.removeprefix(under): doc for path, doc in self.documents.items() if path.startswith(under)}


class WatchedLog(EventLog):
    """An event log whose lines can be read back."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(self.text)

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return all lines, or those of one event."""
        lines = [json.loads(line) for line in self.text.getvalue().splitlines()]
        return [line for line in lines if event is None or line["message"] == event]


class StrideSleep:
    """Sleeps by moving the clock, and remembers how long each sleep was."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._clock.advance(seconds=seconds)
        await asyncio.sleep(0)


async def fill(store: Documents, documents: Mapping[str, dict[str, Any]]) -> None:
    """Write documents by path."""
    for path, document in documents.items():
        await store.write(path, document)


def of_type(outcomes: Iterable[object], kind: type) -> int:
    """Count the outcomes of one kind."""
    return sum(isinstance(outcome, kind) for outcome in outcomes)
