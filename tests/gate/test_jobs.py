"""Jobs that outlive their call: started once, told once, settled once, and nobody's business but their caller's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gate import jobs
from gate.domain.answer import Answer
from gate.domain.job import RESULT_BYTES_MAX, Job, JobState
from gate.domain.plan import Cohort
from gate.domain.request import InferRequest
from gate.errors import (
    ConflictError,
    JobCancelledError,
    JobNotFoundError,
    LedgerError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ResultStoreError,
    UnsupportedError,
)
from gate.ports import Caller
from gate.provider import Part, ProviderState
from gate.providers.scripted import Act, ScriptedProvider
from gate.steps import following, stop_watch
from gate.steps.results import Link
from tests.gate.doubles import Script, completed, failed, running
from tests.gate.world import ALICE, DAY, HELD, PAYLOAD, WEBHOOKS, World
from tests.makers import NOON

BOB = Caller(uid="bob", cohort=Cohort.VERIFIED)
TOOK = 1_154
"""7 whole seconds of GPU as `test_service` adds up, and a second of hop 1 for the webhook."""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_NOTED_PAUSES_SECONDS", (0.0, 0.001))
    monkeypatch.setattr(jobs, "_STOPPED_PAUSES_SECONDS", (0.0, *[0.01] * 50))
    monkeypatch.setattr(stop_watch, "_LOOK_SECONDS_FIRST", 0.01)
    monkeypatch.setattr(following, "_STOPPED_PAUSES_SECONDS", (0.0, 0.0))


async def submit(world: World, inputs: Any = PAYLOAD, **fields: Any) -> Answer:
    return await world.gate.jobs.submit(ALICE, InferRequest(inputs=inputs, **fields))


async def infer(world: World, **fields: Any) -> Answer:
    return await world.gate.infer(ALICE, InferRequest(inputs=PAYLOAD, **fields))


def busy(world: World) -> ScriptedProvider:
    """Give the gate a provider that takes its time, until it is told to stop."""
    provider = ScriptedProvider(otherwise=Act(parts=(Part(text="a"),) * 4, delay_seconds=60))
    provider.capabilities = replace(provider.capabilities, wait_seconds_max=0.01)
    world.gate = world.another_gate(provider=provider)
    return provider


async def handed_over(world: World, provider: ScriptedProvider) -> Job:
    """Wait until the job is at its provider, and return it."""
    async with asyncio.timeout(10):
        while not provider.orders:  # noqa: ASYNC110 - the provider sets no event
            await asyncio.sleep(0.01)
    return await world.the_job()


async def submitted(world: World, *then: Any) -> Job:
    """Submit a job that is queued; `then` is what its provider says of it afterwards."""
    world.script(running(state=ProviderState.QUEUED), *(then or (running(),)))
    return (await submit(world)).job


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


class TestCancelling:
    async def test_it_reaches_the_provider_and_settles_at_what_was_used(self, world: World) -> None:
        """The provider says 2 s."""
        job = await submitted(world, running(), completed(state=ProviderState.CANCELLED, outputs=None))

        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        assert world.provider.cancelled == ["remote-1"]
        assert (done.state, done.failure_code, done.settled_microdollars) == (JobState.SETTLED, "cancelled", TOOK)
        assert await world.counter("in_flight") == 0

    async def test_a_provider_that_does_not_say_is_paid_for_the_time_at_most(self, world: World) -> None:
        job = await submitted(world, running(), running(state=ProviderState.CANCELLED))
        world.clock.advance(seconds=3)

        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        assert done.spent is not None
        assert (done.spent.execution_ms, done.spent.start_ms) == (3_000, 0)

    async def test_a_queued_job_pays_the_start_that_it_may_have_caused(self, world: World) -> None:
        """An hour in the queue is no hour of GPU."""
        queued = running(state=ProviderState.QUEUED)
        job = await submitted(world, queued, running(state=ProviderState.CANCELLED))
        world.clock.advance(minutes=50)

        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        assert done.spent is not None
        assert (done.spent.execution_ms, done.spent.start_ms) == (0, 60_000)
        assert (done.settled_microdollars or 0) < HELD

    async def test_one_that_has_ended_is_returned_as_it_ended(self, world: World) -> None:
        job = await submitted(world, completed())
        await world.gate.jobs.ended(job.job_id)

        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        assert (done.failure_code, world.provider.cancelled) == (None, [])

    async def test_one_that_ends_in_that_moment_keeps_its_answer(self, world: World) -> None:
        job = await submitted(world, completed())

        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        assert (done.failure_code, done.result) == (None, "[[0.5,0.25]]")

    async def test_one_that_does_not_stop_yet_is_not_settled_yet(self, world: World) -> None:
        """It may go on for all that is known; its webhook or the sweeper will tell."""
        job = await submitted(world, running())

        with pytest.raises(ProviderUnavailableError):
            await world.gate.jobs.cancel(ALICE, job.job_id)
        assert (await world.the_job()).state is JobState.RUNNING

    async def test_one_that_a_call_waits_for_is_stopped_by_that_call(self, world: World) -> None:
        """The call is told so, the provider too, and what was used is paid once."""
        provider = busy(world)
        asking = asyncio.ensure_future(infer(world))
        job = await handed_over(world, provider)

        done = await world.another_gate(provider=provider).jobs.cancel(ALICE, job.job_id)

        with pytest.raises(JobCancelledError):
            await asking
        assert provider.cancelled == ["scripted-1"]
        assert (done.state, done.failure_code) == (JobState.SETTLED, "cancelled")
        assert await world.counter(*DAY, "microdollars") == done.settled_microdollars
        assert len(world.ledger.settlements) == 1
        assert await world.counter("in_flight") == 0

    async def test_those_who_joined_it_are_told_so_too(self, world: World) -> None:
        provider = busy(world)
        asking = [asyncio.ensure_future(infer(world, idempotency_key="k")) for _ in range(3)]
        job = await handed_over(world, provider)

        await world.gate.jobs.cancel(ALICE, job.job_id)

        told = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(one) for one in told] == [JobCancelledError] * 3

    async def test_a_stream_that_is_cancelled_ends_and_pays_what_it_used(self, world: World) -> None:
        provider = busy(world)

        async def listen() -> None:
            async for _ in world.gate.stream(ALICE, InferRequest(inputs=PAYLOAD)):
                pass

        asking = asyncio.ensure_future(listen())
        job = await handed_over(world, provider)
        done = await world.gate.jobs.cancel(ALICE, job.job_id)

        with pytest.raises(JobCancelledError):
            await asking
        assert provider.cancelled == ["scripted-1"]
        assert (done.state, done.failure_code) == (JobState.SETTLED, "cancelled")
        assert (done.settled_microdollars or 0) < HELD

    async def test_one_whose_call_never_looks_is_said_to_be_stopping(self, world: World) -> None:
        """Its instance may have died: the sweeper settles it, and until then nobody knows."""
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(world.infer())
        await world.provider.handed_over.wait()
        job = await world.the_job()

        with pytest.raises(ProviderUnavailableError) as stopping:
            await world.gate.jobs.cancel(ALICE, job.job_id)
        assert stopping.value.details == {"retry_after_seconds": 5}
        assert (await world.the_job()).cancel_asked_at == NOON
        world.provider.let_go.set()
        await asking

    async def test_one_that_is_handed_over_meanwhile_is_stopped_then(self, world: World) -> None:
        """The wish to cancel came while nobody knew what to call the job."""
        world.script(running(), running(), completed(state=ProviderState.CANCELLED, outputs=None))
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(submit(world))
        await world.provider.handed_over.wait()
        job = await world.the_job()
        await world.ledger.ask_to_cancel(job, at=NOON)
        world.provider.let_go.set()

        answer = await asking

        assert (answer.job.state, answer.job.failure_code) == (JobState.SETTLED, "cancelled")
        assert world.provider.cancelled == ["remote-1"]

    async def test_cancel_and_webhook_at_once_settle_once(self, world: World) -> None:
        job = await submitted(world, running(), completed(state=ProviderState.CANCELLED, outputs=None))

        await asyncio.gather(world.gate.jobs.cancel(ALICE, job.job_id), world.gate.jobs.ended(job.job_id))

        done = await world.the_job()
        assert await world.counter(*DAY, "microdollars") == done.settled_microdollars
        assert await world.counter("in_flight") == 0


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


class Shelf:
    """A result store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.is_away = False

    async def keep(self, job_id: str, content: bytes) -> Link:
        if self.is_away:
            raise ResultStoreError("away")
        self.kept[job_id] = content
        return await self.link(job_id)

    async def link(self, job_id: str) -> Link:
        return Link(url=f"https://shelf.example/{job_id}/{len(self.kept)}", expires_at=NOON + timedelta(days=6))

    async def close(self) -> None:
        pass


LARGE = ["x" * RESULT_BYTES_MAX]


class TestLargeAnswers:
    @pytest.fixture
    def shelf(self, world: World) -> Shelf:
        world.results = shelf = Shelf()
        world.gate = world.another_gate()
        return shelf

    async def test_one_too_large_for_a_document_is_kept_in_the_store(self, world: World, shelf: Shelf) -> None:
        job = await submitted(world, completed(outputs=LARGE))

        await world.gate.jobs.ended(job.job_id)

        done = await world.the_job()
        assert msgspec.json.decode(shelf.kept[job.job_id]) == LARGE
        assert (done.result, done.result_url) == (None, f"https://shelf.example/{job.job_id}/1")

    async def test_while_the_store_is_away_the_job_is_not_settled(self, world: World, shelf: Shelf) -> None:
        """Settling it would lose the answer; the provider still has it."""
        job = await submitted(world, completed(outputs=LARGE))
        shelf.is_away = True
        with pytest.raises(ResultStoreError):
            await world.gate.jobs.ended(job.job_id)
        shelf.is_away = False

        assert await world.gate.jobs.ended(job.job_id)
        assert (await world.the_job()).result_url is not None

    async def test_without_a_store_the_caller_is_told(self, world: World) -> None:
        """The job ran, and is paid at what it took."""
        job = await submitted(world, completed(outputs=LARGE))

        assert await world.gate.jobs.ended(job.job_id)

        done = await world.the_job()
        assert (done.failure_code, done.settled_microdollars) == ("internal", TOOK)
        assert "too large" in (done.failure or "")

    async def test_an_expired_address_is_made_anew_for_who_asks(self, world: World, shelf: Shelf) -> None:
        job = await submitted(world, completed(outputs=LARGE))
        await world.gate.jobs.ended(job.job_id)
        shelf.kept["another"] = b""
        world.clock.advance(days=7)

        asked = await world.gate.jobs.job(ALICE, job.job_id)

        assert asked.result_url == f"https://shelf.example/{job.job_id}/2"
