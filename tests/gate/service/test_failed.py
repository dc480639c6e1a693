"""A job that goes wrong pays for what may have run, and for nothing that did not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gate.domain.job import Job, JobState
from gate.domain.meter import Move
from gate.errors import (
    GateError,
    InvalidRequestError,
    JobFailedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from gate.ports import Admitted, Denied, Repeated
from gate.provider import ProviderState, ProviderUsage
from tests.gate.doubles import completed, failed, running
from tests.gate.world import DAY, HELD, World


class TestAJobThatGoesWrong:
    @pytest.mark.parametrize(
        "error", [ProviderUnavailableError("full"), ProviderRejectedError("401")], ids=["full", "401"]
    )
    async def test_one_that_never_ran_is_released(self, world: World, error: Exception) -> None:
        """Its caller pays nothing, and the error is told as it is."""
        world.script(error)

        with pytest.raises(type(error)):
            await world.infer()

        job = await world.the_job()
        assert (job.state, job.settled_microdollars) == (JobState.RELEASED, 0)
        assert await world.counter(*DAY, "requests") == 0
        assert await world.counter(*DAY, "microdollars", account="budget/0") == 0
        assert await world.counter("in_flight") == 0

    async def test_one_that_may_have_run_is_settled_at_its_hold(self, world: World) -> None:
        """The owner may have to pay it."""
        world.script(ProviderTimeoutError("silent"))

        with pytest.raises(ProviderTimeoutError):
            await world.infer()

        job = await world.the_job()
        assert (job.state, job.settled_microdollars, job.failure_code) == (
            JobState.SETTLED,
            HELD,
            "deadline-exceeded",
        )

    @pytest.mark.parametrize(
        ("ended", "kind"),
        [
            pytest.param(failed(), JobFailedError, id="failed"),
            pytest.param(failed(failure_code="invalid-argument"), InvalidRequestError, id="input"),
            pytest.param(failed(failure_code="unavailable"), ProviderUnavailableError, id="try-again"),
        ],
    )
    async def test_one_that_failed_is_settled_at_what_it_took(
        self, world: World, ended: Any, kind: type[GateError]
    ) -> None:
        """The GPU ran; and the caller learns what kind of failure it was."""
        world.script(ended)

        with pytest.raises(kind):
            await world.infer()

        job = await world.the_job()
        assert (job.state, job.settled_microdollars, job.failure_code) == (JobState.SETTLED, 1_127, kind.code)

    @pytest.mark.parametrize("state", [ProviderState.CANCELLED, ProviderState.EXPIRED])
    async def test_one_that_the_provider_lost_is_settled_at_its_hold(
        self, world: World, state: ProviderState
    ) -> None:
        """Nobody knows what it took."""
        world.script(running(state=state))

        with pytest.raises(ProviderTimeoutError):
            await world.infer()

        assert (await world.the_job()).settled_microdollars == HELD

    async def test_one_whose_usage_is_not_told_is_answered_and_settled_at_its_hold(self, world: World) -> None:
        """In doubt the caller pays, but gets the answer."""
        world.script(completed(usage=None))

        answer = await world.infer()

        assert answer.outputs == [[0.5, 0.25]]
        assert answer.job.settled_microdollars == HELD
        assert answer.quota == await world.quota()

    async def test_a_bug_of_ours_settles_the_hold_and_is_not_hidden(self, world: World) -> None:
        """The job may have been sent."""
        world.script(ZeroDivisionError("a bug"))

        with pytest.raises(ZeroDivisionError):
            await world.infer()

        job = await world.the_job()
        assert (job.state, job.settled_microdollars, job.failure_code) == (JobState.SETTLED, HELD, "internal")
        assert await world.counter("in_flight") == 0

    async def test_one_that_took_more_than_its_hold_is_paid_and_reported(self, world: World) -> None:
        """The provider's execution timeout is not set; the ledger says what is, not what should be."""
        world.script(completed(usage=ProviderUsage(execution_ms=200_000)))

        answer = await world.infer()

        assert answer.job.settled_microdollars == 32_807  # 205 s x 160 000 + 6 700 n$
        assert [line["severity"] for line in world.log.lines("job.over_hold")] == ["ERROR"]

    async def test_a_hold_that_took_too_long_is_never_handed_over(self, world: World) -> None:
        """Nobody waits for its answer any more, so it is free."""
        hold = world.ledger.hold

        async def slow_hold(job: Job, moves: Sequence[Move], **options: Any) -> Admitted | Denied | Repeated:
            outcome = await hold(job, moves, **options)
            world.clock.advance(minutes=3)
            return outcome

        world.ledger.hold = slow_hold  # type: ignore[method-assign]  # this test's ledger takes its time

        with pytest.raises(ProviderUnavailableError):
            await world.infer()

        assert world.provider.orders == []
        assert (await world.the_job()).state is JobState.RELEASED
