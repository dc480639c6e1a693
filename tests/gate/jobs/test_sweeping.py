"""Jobs of whose end nobody told are asked for, and settled once."""

from __future__ import annotations

from datetime import timedelta

from gate.domain.job import JobState
from gate.errors import ProviderUnavailableError
from gate.provider import ProviderState
from tests.gate.doubles import completed, running
from tests.gate.jobs.acts import TOOK, submit, submitted
from tests.gate.world import HELD, World


class TestSweeping:
    async def test_a_job_whose_webhook_got_lost_is_asked_for(self, world: World) -> None:
        """Before its provider forgets the answer."""
        await submitted(world, completed())
        world.clock.advance(minutes=11)

        await world.sweeper().sweep()

        done = await world.the_job()
        assert (done.state, done.result) == (JobState.SETTLED, "[[0.5,0.25]]")

    async def test_one_that_still_runs_is_looked_at_again_later(self, world: World) -> None:
        await submitted(world, running(), completed())
        world.clock.advance(minutes=11)
        await world.sweeper().sweep()
        between = await world.the_job()
        await world.sweeper().sweep()
        asked_until_then = len(world.provider.asked)
        world.clock.advance(minutes=11)

        await world.sweeper().sweep()

        assert between.state is JobState.RUNNING
        assert asked_until_then == 1
        assert (await world.the_job()).state is JobState.SETTLED

    async def test_looks_become_rarer_and_not_rarer_than_ten_minutes(self, world: World) -> None:
        """Each is a write and a question; RunPod keeps an answer for half an hour."""
        await submitted(world, running())
        begun, looks = world.clock.now(), []
        for _ in range(60):
            world.clock.advance(minutes=1)
            before = len(world.provider.asked)
            await world.sweeper().look_after()
            if len(world.provider.asked) > before:
                looks.append((world.clock.now() - begun) // timedelta(minutes=1))

        assert looks == [2, 4, 8, 16, 26, 36, 46, 56, 60]

    async def test_one_that_was_tried_again_for_longer_than_is_held_is_stopped_and_pays_its_hold(
        self, world: World
    ) -> None:
        """Its tries are billed, and nobody tells what they took."""
        await submitted(world, running(tried_again=True), running(state=ProviderState.CANCELLED))
        world.clock.advance(minutes=2)

        await world.sweeper().sweep()

        done = await world.the_job()
        assert world.provider.cancelled == ["remote-1"]
        assert (done.state, done.settled_microdollars, done.failure_code) == (JobState.SETTLED, HELD, "internal")

    async def test_one_that_ends_well_while_it_is_stopped_for_its_tries_is_answered(self, world: World) -> None:
        """What came is not thrown away."""
        await submitted(world, running(tried_again=True), completed())
        world.clock.advance(minutes=2)

        await world.sweeper().sweep()

        assert (await world.the_job()).result == "[[0.5,0.25]]"

    async def test_one_whose_time_is_over_is_stopped(self, world: World) -> None:
        await submitted(world, running(), completed(state=ProviderState.CANCELLED, outputs=None))
        world.clock.advance(hours=1)

        await world.sweeper().sweep()

        assert world.provider.cancelled == ["remote-1"]
        assert (await world.the_job()).settled_microdollars == TOOK

    async def test_a_provider_that_is_away_is_waited_for_and_then_paid_in_full(self, world: World) -> None:
        """Nobody will ever know; the ledger may say too much, never too little."""
        await submitted(world, ProviderUnavailableError("away"))
        world.clock.advance(hours=1)
        await world.sweeper().sweep()
        between = await world.the_job()
        world.clock.advance(hours=1)
        await world.sweeper().sweep()

        done = await world.the_job()
        assert between.state is JobState.RUNNING
        assert (done.state, done.settled_microdollars) == (JobState.EXPIRED, HELD)
        assert await world.counter("in_flight") == 0

    async def test_one_that_cannot_be_asked_for_does_not_stop_the_others(self, world: World) -> None:
        world.script(*[running()] * 3, ProviderUnavailableError("away"), completed(), completed())
        for _ in range(3):
            await submit(world)
        world.clock.advance(minutes=11)

        await world.sweeper().sweep()

        states = sorted(job.state for job in await world.ledger.jobs())
        assert states == [JobState.RUNNING, JobState.SETTLED, JobState.SETTLED]
