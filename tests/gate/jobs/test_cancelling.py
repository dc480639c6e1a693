"""A job that its caller stops ends at its provider, and is settled at what it used."""

from __future__ import annotations

import asyncio

import pytest

from gate.domain.job import JobState
from gate.domain.request import InferRequest
from gate.errors import JobCancelledError, ProviderUnavailableError
from gate.provider import ProviderState
from tests.gate.doubles import completed, running
from tests.gate.jobs.acts import TOOK, busy, handed_over, infer, submit, submitted
from tests.gate.world import ALICE, DAY, HELD, PAYLOAD, World
from tests.makers import NOON


class TestCancelling:
    async def test_it_reaches_the_provider_and_settles_at_what_was_used(self, world: World) -> None:
        """The provider says 2 s."""
        job = await submitted(world, running(), completed(state=ProviderState.CANCELLED, outputs=None))

        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        assert world.provider.cancelled == ["remote-1"]
        assert (done.state, done.failure_code, done.settled_microdollars) == (JobState.SETTLED, "cancelled", TOOK)
        assert await world.counter("in_flight") == 0

    async def test_a_provider_that_does_not_say_is_paid_for_the_time_at_most(self, world: World) -> None:
        job = await submitted(world, running(), running(state=ProviderState.CANCELLED))
        world.clock.advance(seconds=3)

        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        assert done.spent is not None
        assert (done.spent.execution_ms, done.spent.start_ms) == (3_000, 0)

    async def test_a_queued_job_pays_the_start_that_it_may_have_caused(self, world: World) -> None:
        """An hour in the queue is no hour of GPU."""
        queued = running(state=ProviderState.QUEUED)
        job = await submitted(world, queued, running(state=ProviderState.CANCELLED))
        world.clock.advance(minutes=50)

        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        assert done.spent is not None
        assert (done.spent.execution_ms, done.spent.start_ms) == (0, 60_000)
        assert (done.settled_microdollars or 0) < HELD

    async def test_one_that_has_ended_is_returned_as_it_ended(self, world: World) -> None:
        job = await submitted(world, completed())
        await world.gate.jobs.ended(job.job_id)

        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        assert (done.failure_code, world.provider.cancelled) == (None, [])

    async def test_one_that_ends_in_that_moment_keeps_its_answer(self, world: World) -> None:
        job = await submitted(world, completed())

        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        assert (done.failure_code, done.result) == (None, "[[0.5,0.25]]")

    async def test_one_that_does_not_stop_yet_is_not_settled_yet(self, world: World) -> None:
        """It may go on for all that is known; its webhook or the sweeper will tell."""
        job = await submitted(world, running())

        with pytest.raises(ProviderUnavailableError):
            await world.gate.jobs.cancel(ALICE, job.job_id)
        assert (await world.the_job()).state is JobState.RUNNING

    async def test_one_that_a_call_waits_for_is_stopped_by_that_call(self, world: World) -> None:
        """The call is told so, the provider too, and what was used is paid once."""
        provider = busy(world)
        asking = asyncio.ensure_future(infer(world))
        job = await handed_over(world, provider)

        done = await world.another_gate(provider=provider).jobs.cancel(ALICE, job.job_id)

        with pytest.raises(JobCancelledError):
            await asking
        assert provider.cancelled == ["scripted-1"]
        assert (done.state, done.failure_code) == (JobState.SETTLED, "cancelled")
        assert await world.counter(*DAY, "microdollars") == done.settled_microdollars
        assert len(world.ledger.settlements) == 1
        assert await world.counter("in_flight") == 0

    async def test_those_who_joined_it_are_told_so_too(self, world: World) -> None:
        provider = busy(world)
        asking = [asyncio.ensure_future(infer(world, idempotency_key="k")) for _ in range(3)]
        job = await handed_over(world, provider)

        await world.gate.jobs.cancel(ALICE, job.job_id)

        told = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(one) for one in told] == [JobCancelledError] * 3

    async def test_a_stream_that_is_cancelled_ends_and_pays_what_it_used(self, world: World) -> None:
        provider = busy(world)

        async def listen() -> None:
            async for _ in world.gate.stream(ALICE, InferRequest(inputs=PAYLOAD)):
                pass

        asking = asyncio.ensure_future(listen())
        job = await handed_over(world, provider)
        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        with pytest.raises(JobCancelledError):
            await asking
        assert provider.cancelled == ["scripted-1"]
        assert (done.state, done.failure_code) == (JobState.SETTLED, "cancelled")
        assert (done.settled_microdollars or 0) < HELD

    async def test_one_whose_call_never_looks_is_said_to_be_stopping(self, world: World) -> None:
        """Its instance may have died: the sweeper settles it, and until then nobody knows."""
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(world.infer())
        await world.provider.handed_over.wait()
        job = await world.the_job()

        with pytest.raises(ProviderUnavailableError) as stopping:
            await world.gate.jobs.cancel(ALICE, job.job_id)
        assert stopping.value.details == {"retry_after_seconds": 5}
        assert (await world.the_job()).cancel_asked_at == NOON
        world.provider.let_go.set()
        await asking

    async def test_one_that_is_handed_over_meanwhile_is_stopped_then(self, world: World) -> None:
        """The wish to cancel came while nobody knew what to call the job."""
        world.script(running(), running(), completed(state=ProviderState.CANCELLED, outputs=None))
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(submit(world))
        await world.provider.handed_over.wait()
        job = await world.the_job()
        await world.ledger.ask_to_cancel(job, at=NOON)
        world.provider.let_go.set()

        answer = await asking

        assert (answer.job.state, answer.job.failure_code) == (JobState.SETTLED, "cancelled")
        assert world.provider.cancelled == ["remote-1"]

    async def test_cancel_and_webhook_at_once_settle_once(self, world: World) -> None:
        job = await submitted(world, running(), completed(state=ProviderState.CANCELLED, outputs=None))

        await asyncio.gather(world.gate.jobs.cancel(ALICE, job.job_id), world.gate.jobs.ended(job.job_id))

        done = await world.the_job()
        assert await world.counter(*DAY, "microdollars") == done.settled_microdollars
        assert await world.counter("in_flight") == 0
