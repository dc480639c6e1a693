"""What every `Provider` promises. An implementation inherits the suite and brings a host to run it against."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import aclosing

import pytest

from gate.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from gate.provider import Part, Provider, ProviderJob, ProviderState, Streams
from tests.makers import NOON
from tests.providers.hosts import API_KEY, NOT_FOR_EARS, SECRET, Host, make_order

WAIT_SECONDS = 30.0
WEBHOOK = "https://hop1.example/webhook?job=a&proof=b"


def assert_tells_nothing(error: ProviderError) -> None:
    """Assert that neither a client nor the log learns where jobs go, or by which key."""
    told = f"{error.public_message} {error.details} {error} {error.args!r}"
    assert not [secret for secret in NOT_FOR_EARS if secret in told]
    assert "\n" not in told
    assert SECRET.decode() not in "".join(traceback.format_exception(error, chain=False))


class ProviderContract:
    """Fixtures give a `provider`, and the `host` that it talks to."""

    async def finish(self, provider: Provider) -> ProviderJob:
        """Hand a job over and ask for it until it has ended, as the gate does."""
        job = await provider.submit(make_order(), wait_seconds=WAIT_SECONDS)
        for _ in range(20):
            if job.state.final:
                return job
            await asyncio.sleep(0.01)
            job = await provider.status(job.provider_job_id)
        raise AssertionError("it never ended")

    @pytest.mark.parametrize(
        "outputs",
        ["a text", None, [], {}, 0, False, [[0.5, -0.25]], {"error": {"code": "x", "message": "y"}}, {"outputs": 1}],
        ids=repr,
    )
    async def test_a_finished_job_carries_its_outputs_as_they_are(
        self, provider: Provider, host: Host, outputs: object
    ) -> None:
        host.finishes(outputs)

        job = await self.finish(provider)

        assert (job.state, job.outputs, job.failure_code) == (ProviderState.COMPLETED, outputs, None)
        assert job.provider_job_id

    async def test_a_finished_job_says_what_it_took(self, provider: Provider, host: Host) -> None:
        """It is settled at this; a job that does not say pays its hold."""
        host.finishes("outputs")

        job = await self.finish(provider)

        assert job.usage is not None
        assert (job.usage.execution_ms, job.usage.start_ms) == host.took

    async def test_bad_input_is_a_failed_job_and_not_an_error(self, provider: Provider, host: Host) -> None:
        """The caller is told what is wrong with it; a retry would not help."""
        host.refuses_the_input("inputs: a text is expected")

        job = await self.finish(provider)

        assert (job.state, job.failure_code) == (ProviderState.FAILED, "invalid-argument")
        assert job.failure_message == "inputs: a text is expected"

    async def test_what_a_caller_is_told_is_one_short_line(self, provider: Provider, host: Host) -> None:
        host.refuses_the_input("inputs are wrong " + "x" * 10_000 + "\nTraceback of the worker")

        message = (await self.finish(provider)).failure_message

        assert message is not None
        assert message.startswith("inputs are wrong")
        assert "\n" not in message
        assert len(message) <= 300

    async def test_a_crash_of_the_worker_is_a_failed_job(self, provider: Provider, host: Host) -> None:
        """It ran, so it is billed, and its traceback is for nobody."""
        host.crashes()

        job = await self.finish(provider)

        assert job.state is ProviderState.FAILED
        assert "Traceback" not in repr(job)

    async def test_a_refused_key_is_a_rejection(self, provider: Provider, host: Host) -> None:
        """Nothing ran, and only the operator can help."""
        host.refuses_the_key()

        with pytest.raises(ProviderRejectedError) as caught:
            await provider.submit(make_order(), wait_seconds=WAIT_SECONDS)
        assert not caught.value.billed
        assert str(caught.value)
        assert_tells_nothing(caught.value)

    async def test_no_connection_is_not_billed(self, provider: Provider, host: Host) -> None:
        host.is_away()

        with pytest.raises(ProviderUnavailableError) as caught:
            await provider.submit(make_order(), wait_seconds=WAIT_SECONDS)
        assert not caught.value.billed
        assert_tells_nothing(caught.value)

    async def test_no_answer_is_billed(self, provider: Provider, host: Host) -> None:
        """The job may be running at this moment; in doubt its hold is settled."""
        host.never_answers()

        with pytest.raises(ProviderTimeoutError) as caught:
            await provider.submit(make_order(), wait_seconds=WAIT_SECONDS)
        assert caught.value.billed
        assert_tells_nothing(caught.value)

    async def test_an_expired_order_is_not_sent(self, provider: Provider, host: Host) -> None:
        """Nobody waits for its answer."""
        with pytest.raises(ProviderUnavailableError):
            await provider.submit(make_order(expires_at=NOON), wait_seconds=WAIT_SECONDS)

    @pytest.mark.parametrize("job_id", ["unknown", "../health", "a b?c#d", "ü"])
    async def test_a_job_that_nobody_knows_is_expired(self, provider: Provider, job_id: str) -> None:
        job = await provider.status(job_id)

        assert (job.provider_job_id, job.state, job.usage) == (job_id, ProviderState.EXPIRED, None)

    async def test_cancelling_a_job_that_nobody_knows_is_silent(self, provider: Provider) -> None:
        await provider.cancel("unknown")

    async def test_cancelling_a_job_that_has_ended_is_silent(self, provider: Provider, host: Host) -> None:
        job = await self.finish(provider)

        await provider.cancel(job.provider_job_id)
        await provider.cancel(job.provider_job_id)

    async def test_health_answers(self, provider: Provider) -> None:
        health = await provider.health()

        assert health.ready
        assert health.workers_running >= 0
        assert health.jobs_queued >= 0

    async def test_many_jobs_at_once_get_their_own_answers(self, provider: Provider, host: Host) -> None:
        jobs = await asyncio.gather(*(self.finish(provider) for _ in range(50)))

        assert all(job.state is ProviderState.COMPLETED for job in jobs)

    async def test_a_job_that_outlives_its_call_is_asked_for_until_its_end(
        self, provider: Provider, host: Host
    ) -> None:
        """Where jobs are kept; elsewhere the call waits for it."""
        host.lasts("outputs")
        order = make_order(webhook=WEBHOOK)

        job = await provider.submit(order, wait_seconds=0)
        handed_over = job
        for _ in range(50):
            if job.state.final:
                break
            await asyncio.sleep(0.01)
            job = await provider.status(job.provider_job_id)

        assert handed_over.state.final is not provider.capabilities.queues
        if provider.capabilities.takes_names:
            assert handed_over.provider_job_id == order.job_id
        assert (job.state, job.outputs) == (ProviderState.COMPLETED, "outputs")
        assert job.usage is not None
        assert (job.usage.execution_ms, job.usage.start_ms) == host.took

    async def test_a_job_that_outlives_its_call_can_be_cancelled(self, provider: Provider, host: Host) -> None:
        """Where nothing is kept, it has ended by the time at which anybody could."""
        host.lasts("outputs")
        job = await provider.submit(make_order(webhook=WEBHOOK), wait_seconds=0)

        await provider.cancel(job.provider_job_id)

        if provider.capabilities.queues:
            job = await provider.status(job.provider_job_id)
        expected = ProviderState.CANCELLED if provider.capabilities.queues else ProviderState.COMPLETED
        assert job.state is expected

    async def test_the_host_is_told_whom_to_tell(self, provider: Provider, host: Host) -> None:
        """Only one that keeps jobs has anything to tell."""
        host.lasts("outputs")
        await provider.submit(make_order(webhook=WEBHOOK), wait_seconds=0)

        assert host.webhook == (WEBHOOK if provider.capabilities.queues else None)

    async def stream(self, provider: Provider) -> list[Part | ProviderJob]:
        """Hand a job over, and gather all that its stream tells but the states before its end."""
        assert isinstance(provider, Streams)
        async with aclosing(provider.stream(make_order(), wait_seconds=WAIT_SECONDS)) as steps:
            told = [step async for step in steps]
        return [step for step in told if isinstance(step, Part) or step.state.final]

    async def test_a_stream_tells_what_is_made_and_then_the_end(self, provider: Provider, host: Host) -> None:
        """The texts together are what the model writes; how they are cut is the host's business."""
        host.streams(("once ", "upon\n", "a time\u2028"), outputs="once upon")

        *parts, end = await self.stream(provider)

        assert "".join(part.text for part in parts if isinstance(part, Part)) == "once upon\na time\u2028"
        assert isinstance(end, ProviderJob)
        assert (end.state, end.outputs) == (ProviderState.COMPLETED, "once upon")
        assert end.usage is not None
        assert (end.usage.execution_ms, end.usage.start_ms) == host.took

    async def test_a_job_that_makes_no_parts_streams_its_end(self, provider: Provider, host: Host) -> None:
        host.finishes("outputs")

        [end] = await self.stream(provider)

        assert isinstance(end, ProviderJob)
        assert (end.state, end.outputs) == (ProviderState.COMPLETED, "outputs")

    async def test_a_stream_whose_wait_is_over_leaves_its_job_to_go_on(self, provider: Provider, host: Host) -> None:
        """Where jobs are kept; elsewhere it is told to its end."""
        assert isinstance(provider, Streams)
        host.lasts("outputs")
        order = make_order(webhook=WEBHOOK)

        async with aclosing(provider.stream(order, wait_seconds=0)) as steps:
            *_, last = [step async for step in steps]

        assert isinstance(last, ProviderJob)
        assert last.state.final is not provider.capabilities.queues
        assert host.webhook == (WEBHOOK if provider.capabilities.queues else None)
        for _ in range(50):
            if last.state.final:
                break
            await asyncio.sleep(0.01)
            last = await provider.status(last.provider_job_id)
        assert (last.state, last.outputs) == (ProviderState.COMPLETED, "outputs")

    async def test_a_stream_of_bad_input_is_a_failed_job(self, provider: Provider, host: Host) -> None:
        host.refuses_the_input("inputs: a text is expected")

        [end] = await self.stream(provider)

        assert isinstance(end, ProviderJob)
        assert (end.state, end.failure_code) == (ProviderState.FAILED, "invalid-argument")

    async def test_a_stream_without_an_answer_is_billed(self, provider: Provider, host: Host) -> None:
        host.never_answers()

        with pytest.raises(ProviderTimeoutError):
            await self.stream(provider)

    async def test_a_stream_of_a_refused_key_is_a_rejection(self, provider: Provider, host: Host) -> None:
        host.refuses_the_key()

        with pytest.raises(ProviderRejectedError) as caught:
            await self.stream(provider)
        assert_tells_nothing(caught.value)

    async def test_an_expired_order_is_not_streamed(self, provider: Provider, host: Host) -> None:
        assert isinstance(provider, Streams)
        with pytest.raises(ProviderUnavailableError):
            await anext(provider.stream(make_order(expires_at=NOON), wait_seconds=WAIT_SECONDS))

    async def test_closing_twice_is_fine(self, provider: Provider) -> None:
        await self.finish(provider)

        await provider.close()
        await provider.close()

    def test_its_capabilities_are_stated(self, provider: Provider) -> None:
        stated = provider.capabilities

        assert stated.name
        assert min(stated.bytes_in_max, stated.bytes_out_max, stated.wait_seconds_max) > 0
        assert API_KEY not in repr(provider)
        assert SECRET.decode() not in repr(provider)
