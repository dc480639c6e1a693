"""Jobs that nobody waits for: submitted, asked for, cancelled, and told of by their provider."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from gate.domain.answer import Answer
from gate.domain.job import Job, JobState
from gate.domain.request import InferRequest
from gate.errors import ForbiddenError, JobNotFoundError, UnsupportedError
from gate.ports import Caller, Clock, Ledger
from gate.provider import Provider
from gate.steps.entry import Entry, Held, Joined
from gate.steps.following import Follower, still_stopping
from gate.steps.joining import check_same
from gate.steps.orders import Orders
from gate.steps.quotas import Quotas
from gate.steps.results import Results
from gate.steps.settling import Settling

_NOTED_PAUSES_SECONDS = (0.1, 0.3, 0.6, 1.0)
"""A job may end before the note of where it runs is written."""
_STOPPED_PAUSES_SECONDS = (0.2, 0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0, 2.0, 3.0)
"""A call that waits looks at least every ten seconds whether it shall."""


class Jobs:
    """What a caller may do with jobs beside waiting for them."""

    def __init__(
        self,
        *,
        entry: Entry,
        orders: Orders,
        provider: Provider,
        ledger: Ledger,
        settling: Settling,
        follower: Follower,
        quotas: Quotas,
        results: Results,
        clock: Clock,
    ) -> None:
        self._entry = entry
        self._orders = orders
        self._provider = provider
        self._ledger = ledger
        self._settling = settling
        self._follower = follower
        self._quotas = quotas
        self._results = results
        self._clock = clock

    async def submit(self, caller: Caller, request: InferRequest, *, size_bytes: int = 0) -> Answer:
        """Hold a job, hand it over, and answer at once with the job as it then stands.

        Its end is written into its document. The same idempotency key returns the job that there is.

        Raises:
            UnsupportedError: the provider keeps no jobs.
            GateError: it was refused, or could not be handed over.
        """
        if not self._provider.capabilities.queues:
            raise UnsupportedError(
                f"provider {self._provider.capabilities.name} keeps no jobs",
                public_message="This service runs no jobs in the background. Call `infer` and wait for its answer.",
            )
        entered = await self._entry.enter(caller, request, size_bytes=size_bytes, join=_as_it_stands)
        if isinstance(entered, Joined):
            quota = await self._quotas.of(caller.uid, entered.policy)
            return Answer(
                job=entered.job,
                outputs=outputs_of(entered.job),
                quota=quota,
                repeated=True,
                cached=entered.cached,
            )
        # A caller who goes away may come back for it.
        job = await self._settling.surely(self._hand_over(entered))
        quota = self._quotas.after(entered.admitted, None, entered.policy)
        return Answer(job=job, outputs=outputs_of(job), quota=quota)

    async def job(self, caller: Caller, job_id: str) -> Job:
        """Return a caller's job as it stands, with an address of its answer that is still good if it needs one.

        Raises:
            JobNotFoundError: there is none, or it is another's.
            ForbiddenError: the caller came with a token that does not open its model.
            GateError: it cannot be read right now.
        """
        job = await self._ledger.job(job_id)
        if job is None or job.caller != caller.uid:
            raise JobNotFoundError(f"no job {job_id[:64]!r} of {caller.uid}")
        if not caller.opens(job.model):
            raise ForbiddenError("a token of other models", public_message="This API token does not open that job.")
        return await self._results.with_link(job)

    async def cancel(self, caller: Caller, job_id: str) -> Job:
        """Stop a caller's job at its provider, and return it as it then ended. One that has ended stays as it is.

        A job that a call waits for is stopped by that call, which is told that its caller cancelled it.

        Raises:
            JobNotFoundError: there is none, or it is another's.
            ProviderUnavailableError: it is not seen to have stopped yet, or its provider cannot be reached.
            GateError: it cannot be read or settled right now.
        """
        job = await self.job(caller, job_id)
        if job.state is JobState.HELD:
            job = await self._ledger.ask_to_cancel(job, at=self._clock.now())
            job = await self._no_longer_held(job, _STOPPED_PAUSES_SECONDS)
        if job.state is JobState.HELD:
            raise still_stopping(job)
        if job.state.final:
            return job
        return await self._settling.surely(self._follower.stop(job))

    async def ended(self, job_id: str) -> bool:
        """Look after a job whose provider says that it has ended. Return whether the ledger now says so too.

        Raises:
            GateError: its provider or the ledger cannot be asked right now.
        """
        job = await self._ledger.job(job_id)
        if job is None:
            return True  # Its document has outlived its time. There is nothing to be told again.
        job = await self._no_longer_held(job, _NOTED_PAUSES_SECONDS)
        if job.state is JobState.RUNNING:
            job = await self._follower.look(job)
        return job.state.final

    async def _hand_over(self, held: Held) -> Job:
        order = self._orders.outliving(held.job, held.body)
        async with self._settling.on_error(held.job):
            seen = await self._provider.submit(order, wait_seconds=0)
        if seen.state.final:
            return await self._follower.end(held.job, seen)
        return await self._follower.note(held.job, seen, due_at=order.expires_at, awaited_ms=0)

    async def _no_longer_held(self, job: Job, pauses_seconds: Iterable[float]) -> Job:
        """Wait a little for a held job to become a running one, or to end."""
        for pause in pauses_seconds:
            if job.state is not JobState.HELD:
                break
            await asyncio.sleep(pause)
            job = await self._ledger.job(job.job_id) or job
        return job


def outputs_of(job: Job) -> Any:
    """Return the outputs that are kept in a job's own document; None if there are none."""
    return None if job.result is None else msgspec.json.decode(job.result)


async def _as_it_stands(job: Job, payload_digest: str) -> Job:
    check_same(job, payload_digest)
    return job
