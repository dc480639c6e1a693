"""A request that is sent again under its key is one job, answered again and counted once."""

from __future__ import annotations

import asyncio

import pytest

from gate.domain.answer import Answer
from gate.domain.job import RESULT_BYTES_MAX, JobState
from gate.domain.request import InferRequest
from gate.errors import (
    ConflictError,
    GateError,
    InvalidRequestError,
    JobFailedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    QuotaExceededError,
)
from gate.ports import Credentials
from gate.steps import joining
from tests.gate.doubles import Step, completed, failed
from tests.gate.world import ALICE, DAY, PAYLOAD, World, set_plan


class TestAnIdempotencyKey:
    async def test_repeating_it_gives_the_same_answer_and_counts_once(self, world: World) -> None:
        """A client that lost the answer asks again, and pays nothing for it."""
        first = await world.infer(idempotency_key="k")
        second = await world.infer(idempotency_key="k")

        assert (second.outputs, second.job, second.quota) == (first.outputs, first.job, first.quota)
        assert (first.repeated, second.repeated) == (False, True)
        assert len(world.provider.orders) == 1
        assert await world.counter(*DAY, "requests") == 1

    async def test_fifty_at_once_run_one_job(self, world: World) -> None:
        """One holds, the others join it and wait for its end."""
        world.provider.let_go.clear()
        asking = [asyncio.ensure_future(world.infer(idempotency_key="k")) for _ in range(50)]
        await world.provider.handed_over.wait()
        world.provider.let_go.set()

        answers = await asyncio.gather(*asking)

        assert len(world.provider.orders) == 1
        assert sum(not answer.repeated for answer in answers) == 1
        assert {str(answer.outputs) for answer in answers} == {"[[0.5, 0.25]]"}
        assert await world.counter(*DAY, "requests") == 1

    async def test_fifty_at_once_over_two_instances_run_one_job(self, world: World) -> None:
        """The ledger decides, not the instance."""
        other, request = world.another_gate(), InferRequest(inputs=PAYLOAD, idempotency_key="k")

        await asyncio.gather(*(gate.infer(ALICE, request) for gate in [world.gate, other] * 25))

        assert len(world.provider.orders) == 1

    async def test_another_payload_under_it_is_a_conflict(self, world: World) -> None:
        """Whose answer would it be?"""
        await world.infer("one", idempotency_key="k")

        with pytest.raises(ConflictError):
            await world.infer("another", idempotency_key="k")

        assert len(world.provider.orders) == 1

    async def test_another_payload_is_a_conflict_while_the_first_runs(self, world: World) -> None:
        """At once, not after waiting for it."""
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(world.infer("one", idempotency_key="k"))
        await world.provider.handed_over.wait()

        with pytest.raises(ConflictError):
            await world.infer("another", idempotency_key="k")

        world.provider.let_go.set()
        await asking

    async def test_another_callers_same_key_is_another_job(self, world: World) -> None:
        """Nobody reads another's answer by guessing a key."""
        await world.infer(idempotency_key="k")
        world.script(completed(outputs="bob's own"))

        answer = await world.infer(credentials=Credentials(bearer="bob"), idempotency_key="k")

        assert answer.outputs == "bob's own"

    async def test_a_job_that_never_ran_may_be_tried_again_under_it(self, world: World) -> None:
        """It cost nothing, and the caller still wants an answer."""
        world.script(ProviderUnavailableError("full"), ProviderUnavailableError("full"), completed())
        for _ in range(2):
            with pytest.raises(ProviderUnavailableError):
                await world.infer(idempotency_key="k")

        answer = await world.infer(idempotency_key="k")
        again = await world.infer(idempotency_key="k")

        assert answer.outputs == again.outputs == [[0.5, 0.25]]
        assert await world.counter(*DAY, "requests") == 1
        assert len(world.provider.orders) == 3

    async def test_it_cannot_start_anew_for_ever(self, world: World) -> None:
        """And once it cannot, the caller is told what to do instead."""
        world.script(ProviderUnavailableError("full"))
        for _ in range(5):
            with pytest.raises(ProviderUnavailableError):
                await world.infer(idempotency_key="k")
        orders = len(world.provider.orders)

        with pytest.raises(ProviderUnavailableError) as refusal:
            await world.infer(idempotency_key="k")

        assert len(world.provider.orders) == orders == 5
        assert "new key" in refusal.value.public_message

    @pytest.mark.parametrize(
        ("step", "kind"),
        [
            pytest.param(failed(failure_message="CUDA"), JobFailedError, id="failed"),
            pytest.param(
                failed(failure_code="invalid-argument", failure_message="too long"), InvalidRequestError, id="input"
            ),
            pytest.param(ProviderTimeoutError("silent"), ProviderTimeoutError, id="timeout"),
        ],
    )
    async def test_a_job_that_ran_and_failed_fails_the_same_way_again(
        self, world: World, step: Step, kind: type[GateError]
    ) -> None:
        """It was paid, and running it again unasked would pay twice."""
        world.script(step)
        told = []
        for _ in range(2):
            with pytest.raises(kind) as failure:
                await world.infer(idempotency_key="k")
            told.append((failure.value.code, failure.value.public_message))

        assert told[0] == told[1]
        assert len(world.provider.orders) == 1

    async def test_an_answer_too_large_to_keep_is_given_once(self, world: World) -> None:
        """The first caller has it; who repeats it is told to use a new key."""
        world.script(completed(outputs="x" * RESULT_BYTES_MAX))
        await world.infer(idempotency_key="k")

        with pytest.raises(ConflictError, match="not kept"):
            await world.infer(idempotency_key="k")

    async def test_only_so_many_may_wait_for_it_at_once(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Joining is not counted, so it must not hold an instance's calls open without end."""
        monkeypatch.setattr(joining, "_JOINERS_MAX", 8)
        world.provider.let_go.clear()
        first = asyncio.ensure_future(world.infer(idempotency_key="k"))
        await world.provider.handed_over.wait()
        others = [asyncio.ensure_future(world.infer(idempotency_key="k")) for _ in range(20)]
        done, _ = await asyncio.wait(others, timeout=5, return_when=asyncio.FIRST_EXCEPTION)
        world.provider.let_go.set()

        told = await asyncio.gather(first, *others, return_exceptions=True)
        assert done
        assert sum(isinstance(one, ProviderUnavailableError) for one in told) == 12
        assert sum(isinstance(one, Answer) for one in told) == 9

    async def test_joining_a_job_that_does_not_end_is_bounded(self, world: World) -> None:
        """Its instance died; the one that joined is told how the job stands, as far as anybody knows."""
        world.provider.let_go.clear()
        dying = asyncio.ensure_future(world.infer(idempotency_key="k"))
        await world.provider.handed_over.wait()
        dying.cancel()
        second = asyncio.ensure_future(world.infer(idempotency_key="k"))
        await world.ledger.job_read.wait()
        world.clock.advance(seconds=120)

        answer = await second

        assert (answer.job.state, answer.outputs, answer.repeated) == (JobState.HELD, None, True)

    async def test_it_finds_its_answer_though_the_caller_has_nothing_left(self, world: World) -> None:
        """Repeating counts nothing, so no limit stands in its way."""
        await set_plan(world, requests_per_day=1)
        first = await world.infer(idempotency_key="k")
        with pytest.raises(QuotaExceededError):
            await world.infer()

        assert (await world.infer(idempotency_key="k")).outputs == first.outputs

    async def test_a_key_of_one_caller_is_not_found_by_its_job_id(self, world: World) -> None:
        """The id is a digest; a key that spells a job id names another job."""
        first = await world.infer(idempotency_key="k")

        second = await world.infer(idempotency_key=first.job.job_id)

        assert second.job.job_id != first.job.job_id
