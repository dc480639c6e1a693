"""While the ledger is away nothing is spent, and nothing that was spent is lost."""

from __future__ import annotations

import pytest

from gate.domain.job import JobState
from gate.errors import LedgerError, ProviderUnavailableError
from tests.gate.world import DAY, HELD, World


class TestWhenTheLedgerFails:
    async def test_a_hold_that_may_not_stand_spends_nothing(self, world: World) -> None:
        """No ledger, no spending."""
        world.ledger.hold_errors = [LedgerError("away")]

        with pytest.raises(LedgerError):
            await world.infer()

        assert world.provider.orders == []

    async def test_a_settlement_is_tried_again(self, world: World) -> None:
        """It is idempotent, so a lost answer does no harm."""
        world.ledger.settle_errors = [LedgerError("blip"), LedgerError("blip")]

        answer = await world.infer()

        assert answer.job.state is JobState.SETTLED
        assert await world.counter(*DAY, "microdollars") == 1_127

    async def test_an_answer_is_given_though_it_could_not_be_settled(self, world: World) -> None:
        """It is there, and paid; the hold is left to the sweeper, and the operator can see it."""
        world.ledger.settle_errors = [LedgerError("away")] * 3

        answer = await world.infer()

        assert answer.outputs == [[0.5, 0.25]]
        assert (await world.the_job()).state is JobState.HELD
        assert len(world.log.lines("job.not_settled")) == 1

    async def test_the_sweeper_settles_what_was_left(self, world: World) -> None:
        """At the hold: too much rather than too little."""
        world.ledger.settle_errors = [LedgerError("away")] * 3
        await world.infer()
        world.clock.advance(minutes=10)

        assert await world.sweeper().sweep() == 1
        assert await world.counter(*DAY, "microdollars") == HELD
        assert await world.counter("in_flight") == 0

    async def test_a_failure_is_told_though_it_could_not_be_settled(self, world: World) -> None:
        """What the caller needs to know is the provider's error, not the ledger's."""
        world.script(ProviderUnavailableError("full"))
        world.ledger.settle_errors = [LedgerError("away")] * 3

        with pytest.raises(ProviderUnavailableError):
            await world.infer()
