"""A submitted job is started once, and answered at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gate.domain.job import JobState
from gate.errors import ConflictError, LedgerError, ProviderTimeoutError, ProviderUnavailableError, UnsupportedError
from gate.provider import ProviderState
from tests.gate.doubles import Script, completed, running
from tests.gate.jobs.acts import submit, submitted
from tests.gate.world import DAY, HELD, WEBHOOKS, World
from tests.makers import NOON


class TestSubmitting:
    async def test_it_answers_at_once_with_a_job_that_runs(self, world: World) -> None:
        world.script(running(state=ProviderState.QUEUED))

        answer = await submit(world)

        job = await world.the_job()
        assert (job.state, job.provider_job_id) == (JobState.RUNNING, "remote-1")
        assert (answer.job, answer.outputs, answer.repeated) == (job, None, False)
        assert world.provider.waits == [0]
        assert world.provider.asked == []

    async def test_the_provider_is_told_whom_to_tell(self, world: World) -> None:
        """And how long the job is worth something, which is longer than any call."""
        job = await submitted(world)

        [order] = world.provider.orders
        assert order.webhook == WEBHOOKS.address(job.job_id)
        assert order.expires_at == NOON + timedelta(hours=1)

    async def test_its_worst_case_is_held_as_a_calls_is(self, world: World) -> None:
        await submitted(world)

        assert await world.counter(*DAY, "microdollars") == HELD
        assert await world.counter("in_flight") == 1

    async def test_it_takes_one_write_more_than_a_call(self, world: World) -> None:
        """Hold, note where it runs, settle."""
        job = await submitted(world, completed())
        await world.gate.jobs.ended(job.job_id)

        assert (len(world.ledger.holds), len(world.ledger.hand_overs), len(world.ledger.settlements)) == (1, 1, 1)

    async def test_50_parallel_retries_of_one_key_run_one_job(self, world: World) -> None:
        """A plugin that was restarted again and again."""
        world.script(running())

        answers = await asyncio.gather(*(submit(world, idempotency_key="k") for _ in range(50)))

        assert len(world.provider.orders) == 1
        assert len({answer.job.job_id for answer in answers}) == 1
        assert sum(not answer.repeated for answer in answers) == 1
        assert await world.counter(*DAY, "requests") == 1

    async def test_the_same_key_with_another_payload_is_a_conflict(self, world: World) -> None:
        world.script(running())
        await submit(world, "a", idempotency_key="k")

        with pytest.raises(ConflictError):
            await submit(world, "b", idempotency_key="k")

    async def test_asking_again_after_the_end_gives_the_answer(self, world: World) -> None:
        world.script(running(), completed())
        first = await submit(world, idempotency_key="k")
        await world.gate.jobs.ended(first.job.job_id)

        again = await submit(world, idempotency_key="k")

        assert (again.outputs, again.repeated) == ([[0.5, 0.25]], True)

    async def test_one_that_was_never_taken_is_released_and_may_come_again(self, world: World) -> None:
        world.script(ProviderUnavailableError("busy"), running())
        with pytest.raises(ProviderUnavailableError):
            await submit(world, idempotency_key="k")

        answer = await submit(world, idempotency_key="k")

        assert answer.job.state is JobState.RUNNING
        assert await world.counter(*DAY, "requests") == 1

    async def test_one_that_may_have_been_taken_pays_its_hold(self, world: World) -> None:
        world.script(ProviderTimeoutError("silence"))

        with pytest.raises(ProviderTimeoutError):
            await submit(world)

        assert (await world.the_job()).settled_microdollars == HELD

    async def test_one_that_ends_at_once_is_answered_at_once(self, world: World) -> None:
        world.script(completed())

        answer = await submit(world)

        assert (answer.job.state, answer.outputs) == (JobState.SETTLED, [[0.5, 0.25]])

    async def test_a_caller_who_goes_away_has_a_running_job_all_the_same(self, world: World) -> None:
        world.script(running())
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(submit(world))
        await world.provider.handed_over.wait()
        asking.cancel()
        world.provider.let_go.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.sleep(0.05)

        assert (await world.the_job()).state is JobState.RUNNING

    async def test_one_that_cannot_be_noted_is_cancelled(self, world: World) -> None:
        """Nobody would find it again. What it used is not known, so the sweeper settles it in full."""
        world.script(running())
        world.ledger.hand_over_errors = [LedgerError("away")] * 3

        with pytest.raises(LedgerError):
            await submit(world)
        world.clock.advance(hours=1)
        await world.sweeper().sweep()

        assert world.provider.cancelled == ["remote-1"]
        assert (await world.the_job()).settled_microdollars == HELD

    async def test_a_provider_that_keeps_no_jobs_takes_none(self, world: World) -> None:
        """Before anything is held."""
        provider = Script(queues=False)
        world.gate = world.another_gate(provider=provider)

        with pytest.raises(UnsupportedError):
            await submit(world)

        assert not provider.orders
        assert await world.ledger.jobs() == []
