"""A provider that says that a job has ended is asked how, and the job is settled once."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gate.domain.job import JobState
from gate.errors import ProviderUnavailableError
from gate.provider import ProviderState
from tests.gate.doubles import completed, failed, running
from tests.gate.jobs.acts import TOOK, submitted
from tests.gate.world import DAY, HELD, World


class TestBeingTold:
    async def test_the_end_is_asked_of_the_provider_and_written_into_the_document(self, world: World) -> None:
        """What the message itself says is not even read."""
        job = await submitted(world, completed())

        assert await world.gate.jobs.ended(job.job_id)

        done = await world.the_job()
        assert world.provider.asked == ["remote-1"]
        assert (done.state, done.result, done.settled_microdollars) == (JobState.SETTLED, "[[0.5,0.25]]", TOOK)
        assert await world.counter("in_flight") == 0

    async def test_a_message_about_a_job_that_still_runs_changes_nothing(self, world: World) -> None:
        """Anybody with the address may have sent it; and the provider is asked to tell again."""
        job = await submitted(world, running())

        assert not await world.gate.jobs.ended(job.job_id)
        assert (await world.the_job()).state is JobState.RUNNING

    async def test_told_twice_is_settled_once(self, world: World) -> None:
        job = await submitted(world, completed())

        told = await asyncio.gather(*(world.gate.jobs.ended(job.job_id) for _ in range(10)))

        assert all(told)
        assert await world.counter(*DAY, "microdollars") == TOOK

    async def test_told_twice_is_logged_once(self, world: World) -> None:
        """Whoever adds up the log's lines gets what the ledger says."""
        job = await submitted(world, completed())

        await world.gate.jobs.ended(job.job_id)
        world.clock.advance(seconds=1)
        late = msgspec.structs.replace(job, version="")
        await world.gate.follower.look(late)

        assert len(world.log.lines("job.settled")) == 1

    async def test_a_failure_is_written_with_its_reason(self, world: World) -> None:
        job = await submitted(world, failed(failure_code="invalid-argument", failure_message="too long"))

        await world.gate.jobs.ended(job.job_id)

        done = await world.the_job()
        assert (done.failure_code, done.failure, done.result) == ("invalid-argument", "too long", None)

    async def test_a_job_that_its_provider_forgot_pays_its_hold(self, world: World) -> None:
        job = await submitted(world, running(state=ProviderState.EXPIRED))

        await world.gate.jobs.ended(job.job_id)

        assert (await world.the_job()).settled_microdollars == HELD

    async def test_an_unknown_job_need_not_be_told_of_again(self, world: World) -> None:
        assert await world.gate.jobs.ended("0" * 32)

    async def test_a_provider_that_cannot_be_asked_is_to_tell_again(self, world: World) -> None:
        job = await submitted(world, ProviderUnavailableError("away"), completed())

        with pytest.raises(ProviderUnavailableError):
            await world.gate.jobs.ended(job.job_id)
        assert await world.gate.jobs.ended(job.job_id)
