"""A job that goes well: counted once, answered, and paid for what it took."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gate.domain.job import JobState
from gate.provider import ProviderState
from gate.wire import WorkBody
from tests.gate.doubles import completed, running
from tests.gate.world import DAY, HELD, World, set_plan
from tests.makers import NOON


class TestAJobThatGoesWell:
    async def test_it_is_answered_and_settled_at_what_it_took(self, world: World) -> None:
        """7 whole seconds of GPU and hop 1's operations; `test_money` adds it up. Hop 1's clock stood still."""
        answer = await world.infer()

        assert answer.outputs == [[0.5, 0.25]]
        assert (answer.job.state, answer.job.settled_microdollars) == (JobState.SETTLED, 1_127)
        assert not answer.repeated
        assert await world.the_job() == answer.job

    async def test_it_is_counted_once_for_its_caller_and_the_budget(self, world: World) -> None:
        """And the rest of its hold is free again."""
        await world.infer()

        assert await world.counter(*DAY, "requests") == 1
        assert await world.counter(*DAY, "gpu_ms") == 2_000
        assert await world.counter(*DAY, "microdollars") == 1_127
        assert await world.counter(*DAY, "microdollars", account="budget/0") == 1_127
        assert await world.counter("in_flight") == 0

    async def test_the_worker_is_sent_what_was_asked(self, world: World) -> None:
        """And how long it may take at most."""
        await world.infer(["a", "b"], parameters={"normalize": True})

        [order] = world.provider.orders
        assert WorkBody.decode(order.body) == WorkBody(
            model="all-minilm-l6-v2", inputs=["a", "b"], parameters={"normalize": True}
        )
        assert order.execution_ms_max == 30_000
        assert order.expires_at == NOON + timedelta(hours=1)

    async def test_the_worst_case_is_held_while_it_runs(self, world: World) -> None:
        """Before the provider is asked for anything."""
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(world.infer())
        await world.provider.handed_over.wait()

        assert await world.counter(*DAY, "microdollars") == HELD == 18_766
        assert await world.counter("in_flight") == 1
        assert (await world.the_job()).state is JobState.HELD

        world.provider.let_go.set()
        await asking

    async def test_the_time_it_was_waited_for_is_paid(self, world: World) -> None:
        """2 s of hop 1: 1 177 instead of 1 126."""
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(world.infer())
        await world.provider.handed_over.wait()
        world.clock.advance(seconds=2)
        world.provider.let_go.set()

        assert (await asking).job.settled_microdollars == 1_178

    async def test_a_job_that_is_queued_is_waited_for(self, world: World) -> None:
        """The caller sees nothing of it."""
        world.script(running(state=ProviderState.QUEUED), running(), completed())

        assert (await world.infer()).outputs == [[0.5, 0.25]]

    @pytest.mark.parametrize("limits", [{}, {"requests_per_minute": 60, "burst": 3}], ids=["generous", "tight"])
    async def test_what_it_says_is_left_is_what_quota_then_reads(self, world: World, limits: dict[str, int]) -> None:
        """Told from the sums of the hold, with no further read."""
        await set_plan(world, **limits)

        for _ in range(2):
            answer = await world.infer()

            assert answer.quota == await world.quota()

    async def test_what_it_says_is_left_holds_over_midnight_too(self, world: World) -> None:
        """The day that ended is not the day that is asked about."""
        world.clock.advance(hours=11, minutes=59, seconds=59)
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(world.infer())
        await world.provider.handed_over.wait()
        world.clock.advance(seconds=2)
        world.provider.let_go.set()

        assert (await asking).quota == await world.quota()

    async def test_one_without_a_key_keeps_no_answer(self, world: World) -> None:
        """Nobody can ask for it again, so the ledger need not hold what a caller was told."""
        await world.infer()

        assert (await world.the_job()).result is None

    @pytest.mark.parametrize("name", ["all-minilm-l6-v2", "ALL-MiniLM-L6-v2", None])
    async def test_its_model_may_be_named_or_left_out(self, world: World, name: str | None) -> None:
        """In whatever case."""
        assert (await world.infer(model=name)).outputs

    async def test_a_plan_may_name_its_models_as_their_makers_do(self, world: World) -> None:
        """The owner copies the name from the hub."""
        await set_plan(world, models=("all-MiniLM-L6-v2",))

        assert (await world.infer()).outputs
