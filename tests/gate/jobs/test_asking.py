"""A job is nobody's business but its caller's."""

from __future__ import annotations

import pytest

from gate.errors import JobNotFoundError
from tests.gate.jobs.acts import BOB, submitted
from tests.gate.world import ALICE, World


class TestAskingForOne:
    async def test_a_caller_sees_their_own_job(self, world: World) -> None:
        job = await submitted(world)

        assert await world.gate.jobs.job(ALICE, job.job_id) == job

    async def test_anothers_job_cannot_be_told_from_none(self, world: World) -> None:
        job = await submitted(world)

        for job_id in (job.job_id, "0" * 32):
            with pytest.raises(JobNotFoundError) as seen:
                await world.gate.jobs.job(BOB, job_id)
            with pytest.raises(JobNotFoundError) as stopped:
                await world.gate.jobs.cancel(BOB, job_id)
            assert seen.value.public_message == stopped.value.public_message == JobNotFoundError.default_message
        assert world.provider.cancelled == []
