"""The gate from a request to a settled job: counted once, paid for what it took, and never spent on in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from gate.domain.answer import Answer
from gate.domain.job import RESULT_BYTES_MAX, Job, JobState
from gate.domain.meter import Move, Remaining
from gate.domain.request import InferRequest
from gate.errors import (
    ConflictError,
    ForbiddenError,
    GateError,
    InvalidRequestError,
    JobFailedError,
    LedgerError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    QuotaExceededError,
    UnauthenticatedError,
)
from gate.ports import Admitted, Credentials, Denied, Repeated
from gate.provider import ProviderState, ProviderUsage
from gate.steps import joining
from gate.wire import WorkBody
from tests.gate.doubles import (
    Step,
    completed,
    failed,
    fill,
    of_type,
    running,
)
from tests.gate.world import ALICE, ANONYMOUS, DAY, HELD, PAYLOAD, World, set_plan
from tests.makers import NOON, make_config, make_documents


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


class TestACallerWhoGoesAway:
    async def test_while_it_is_held_pays_nothing(self, world: World) -> None:
        """It was never sent, so the hold is released as soon as it is known to stand."""
        holding, go_on, released = asyncio.Event(), asyncio.Event(), asyncio.Event()
        hold, settle = world.ledger.hold, world.ledger.settle

        async def slow_hold(*arguments: Any, **options: Any) -> Any:
            holding.set()
            await go_on.wait()
            return await hold(*arguments, **options)

        async def watched_settle(*arguments: Any, **options: Any) -> Job:
            done = await settle(*arguments, **options)
            released.set()
            return done

        world.ledger.hold = slow_hold  # type: ignore[method-assign]  # this test's ledger takes its time
        world.ledger.settle = watched_settle  # type: ignore[method-assign]  # and tells when it is done
        asking = asyncio.ensure_future(world.infer())
        await holding.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        go_on.set()
        await released.wait()

        assert (await world.the_job()).state is JobState.RELEASED
        assert await world.counter(*DAY, "requests") == 0
        assert await world.counter("in_flight") == 0
        assert world.provider.orders == []

    async def test_while_it_runs_leaves_a_hold_that_is_swept(self, world: World) -> None:
        """Whether it ran on is not known, so it pays the hold."""
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(world.infer())
        await world.provider.handed_over.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert (await world.the_job()).state is JobState.HELD
        world.clock.advance(minutes=10)

        assert await world.sweeper().sweep() == 1
        assert (await world.the_job()).settled_microdollars == HELD

    async def test_while_it_is_settled_changes_nothing_about_it(self, world: World) -> None:
        """The settlement goes on without them."""
        settling, go_on, settled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        settle = world.ledger.settle

        async def slow_settle(*arguments: Any, **options: Any) -> Job:
            settling.set()
            await go_on.wait()
            done = await settle(*arguments, **options)
            settled.set()
            return done

        world.ledger.settle = slow_settle  # type: ignore[method-assign]  # this test's ledger takes its time
        asking = asyncio.ensure_future(world.infer())
        await settling.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        go_on.set()
        await settled.wait()

        assert await world.counter(*DAY, "microdollars") == 1_127

    async def test_after_joining_does_not_take_along_who_runs_it(self, world: World) -> None:
        """The one that holds the job goes on."""
        world.provider.let_go.clear()
        first = asyncio.ensure_future(world.infer(idempotency_key="k"))
        await world.provider.handed_over.wait()
        second = asyncio.ensure_future(world.infer(idempotency_key="k"))
        await world.ledger.job_read.wait()
        second.cancel()
        world.provider.let_go.set()

        assert (await first).job.state is JobState.SETTLED


REFUSED = [
    pytest.param({"credentials": Credentials()}, UnauthenticatedError, id="nobody"),
    pytest.param({"credentials": Credentials(bearer="mallory")}, ForbiddenError, id="disabled"),
    pytest.param({"credentials": ANONYMOUS}, ForbiddenError, id="cohort-without-plan"),
    pytest.param({"model": "gpt-5"}, ForbiddenError, id="model-not-served"),
    pytest.param({"credentials": Credentials(bearer="limited")}, ForbiddenError, id="model-not-in-plan"),
    pytest.param({"inputs": "x" * 10_001}, InvalidRequestError, id="too-many-characters"),
    pytest.param({"inputs": ["x"] * 33}, InvalidRequestError, id="too-many-items"),
    pytest.param({"inputs": "x", "parameters": {"p": "y" * 100_000}}, InvalidRequestError, id="too-many-bytes"),
    pytest.param({"inputs": ""}, InvalidRequestError, id="empty-text"),
    pytest.param({"inputs": []}, InvalidRequestError, id="empty-list"),
    pytest.param({"inputs": {}}, InvalidRequestError, id="empty-object"),
    pytest.param({"inputs": "\ud800"}, InvalidRequestError, id="lone-surrogate"),
]


@pytest.mark.parametrize(("request_", "kind"), REFUSED)
async def test_what_is_refused_spends_nothing(world: World, request_: dict[str, Any], kind: type[GateError]) -> None:
    """Neither a hold nor a call: all that can be checked before is checked before."""
    documents = make_documents(config=make_config(plans={"verified": "free"}))
    documents["users/mallory"] = {"disabled": True}
    documents["users/limited"] = {"overrides": {"models": []}}
    await fill(world.ledger, documents)

    with pytest.raises(kind):
        await world.infer(**request_)

    assert (world.ledger.holds, world.provider.orders) == ([], [])


async def test_a_caller_over_a_limit_spends_nothing(world: World) -> None:
    """The provider is not asked."""
    await set_plan(world, requests_per_day=0)

    with pytest.raises(QuotaExceededError):
        await world.infer()

    assert world.provider.orders == []


async def test_racing_calls_run_exactly_as_many_as_the_plan_allows(world: World) -> None:
    """Sixty at once on a limit of five: five answers, five jobs at the provider."""
    await set_plan(world, requests_per_day=5)

    outcomes = await asyncio.gather(*(world.infer() for _ in range(60)), return_exceptions=True)

    assert of_type(outcomes, Answer) == 5
    assert of_type(outcomes, QuotaExceededError) == 55
    assert len(world.provider.orders) == 5


async def test_concurrency_comes_free_as_jobs_end(world: World) -> None:
    """One after the other they all get in."""
    await set_plan(world, concurrency=1)

    for _ in range(5):
        await world.infer()

    assert len(world.provider.orders) == 5


async def test_who_was_refused_for_a_running_job_gets_in_when_it_ends(world: World) -> None:
    """At once: the denial that was remembered is forgotten with the job."""
    await set_plan(world, concurrency=1)
    world.provider.let_go.clear()
    asking = asyncio.ensure_future(world.infer())
    await world.provider.handed_over.wait()
    with pytest.raises(QuotaExceededError):
        await world.infer()
    world.provider.let_go.set()
    await asking

    assert (await world.infer()).outputs


async def test_asking_for_the_quota_counts_nothing(world: World) -> None:
    """It is read, not used."""
    before = await world.quota()

    assert await world.quota() == before
    assert world.ledger.holds == []
    assert all(isinstance(row, Remaining) for row in before)


@pytest.mark.parametrize("credentials", [Credentials(), Credentials(bearer="mallory")], ids=["nobody", "disabled"])
async def test_the_quota_of_who_is_refused_is_not_told(world: World, credentials: Credentials) -> None:
    """The same door, the same checks."""
    await fill(world.ledger, {"users/mallory": {"disabled": True}})

    with pytest.raises((UnauthenticatedError, ForbiddenError)):
        await world.quota(credentials)


async def test_the_budget_is_no_part_of_a_callers_quota(world: World) -> None:
    """It is the owner's business."""
    assert not any(row.name.is_budget for row in await world.quota())


@pytest.mark.parametrize(
    "steps",
    [
        [completed(outputs=PAYLOAD)],
        [ProviderUnavailableError("full")],
        [ZeroDivisionError(PAYLOAD)],
        [running(), ProviderUnavailableError("blip"), failed(failure_message=PAYLOAD)],
    ],
    ids=["answered", "released", "bug", "failed"],
)
async def test_no_log_line_holds_a_token_or_a_payload(world: World, steps: list[Step]) -> None:
    """What a caller sends and is told is nobody else's."""
    token = Credentials(bearer="token-of-alice", app_check="app-check-token")
    world.script(*steps)

    await asyncio.gather(world.infer(credentials=token, idempotency_key="my-key"), return_exceptions=True)

    written = world.log.text.getvalue()
    assert "job_id" in written
    assert not any(secret in written for secret in (PAYLOAD, "token-of", "app-check", "my-key", "0.25"))


async def test_a_job_is_one_line_in_the_log_with_what_it_held_and_paid(world: World) -> None:
    """By which an owner can follow the money; one that has not ended yet is found in the ledger."""
    answer = await world.infer()

    assert [line["message"] for line in world.log.lines()] == ["job.settled"]
    [line] = world.log.lines("job.settled")
    assert (line["job_id"], line["caller"]) == (answer.job.job_id, "alice")
    assert (line["held_microdollars"], line["settled_microdollars"]) == (HELD, 1_127)
