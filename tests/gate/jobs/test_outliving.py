"""A call that waited in vain leaves a running job."""

from __future__ import annotations

import asyncio

from gate.domain.job import JobState
from tests.gate.doubles import completed, running
from tests.gate.jobs.acts import infer, submit
from tests.gate.world import World


class TestOutlivingACall:
    async def test_a_call_that_waited_in_vain_leaves_a_running_job(self, world: World) -> None:
        """It is not given up, and the caller is told where to look for its end."""
        world.gate = world.another_gate(wait_ms_max=1)
        world.script(running())
        world.provider.on_submit = lambda: world.clock.advance(seconds=1)

        answer = await infer(world)

        assert (answer.job.state, answer.outputs) == (JobState.RUNNING, None)
        assert (await world.the_job()).awaited_ms == 1_000
        assert world.provider.cancelled == []

    async def test_an_end_that_came_meanwhile_is_answered(self, world: World) -> None:
        """Its webhook was not heeded while a call was waiting."""
        world.gate = world.another_gate(wait_ms_max=1)
        world.script(running(), completed())
        world.provider.on_submit = lambda: world.clock.advance(seconds=1)

        answer = await infer(world)

        assert (answer.job.state, answer.outputs) == (JobState.SETTLED, [[0.5, 0.25]])

    async def test_one_that_ends_in_time_is_as_ever(self, world: World) -> None:
        """One commit to hold, one to settle."""
        answer = await infer(world)

        assert answer.outputs == [[0.5, 0.25]]
        assert (len(world.ledger.hand_overs), world.ledger.job_reads) == (0, [])

    async def test_joining_a_running_job_ends_with_the_wait_too(self, world: World) -> None:
        world.script(running())
        await submit(world, idempotency_key="k")
        asking = asyncio.ensure_future(infer(world, idempotency_key="k"))
        await world.ledger.job_read.wait()
        world.clock.advance(minutes=5)

        answer = await asking

        assert (answer.job.state, answer.repeated) == (JobState.RUNNING, True)
        assert len(world.provider.orders) == 1

    async def test_a_webhook_waits_a_little_for_the_call_that_waits(self, world: World) -> None:
        """The call settles its job itself."""
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(infer(world))
        await world.provider.handed_over.wait()
        job = await world.the_job()

        assert not await world.gate.jobs.ended(job.job_id)
        world.provider.let_go.set()
        await asking
        assert await world.gate.jobs.ended(job.job_id)
        assert world.provider.asked == []
