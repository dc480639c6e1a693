"""A job whose parts are passed on: in order, with the answer at the end, and settled once whatever ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from msgspec.structs import replace

from gate.domain.answer import Answer
from gate.domain.job import JobState
from gate.domain.request import InferRequest
from gate.errors import JobFailedError, ProviderTimeoutError, ProviderUnavailableError, QuotaExceededError
from gate.provider import Order, Part, ProviderJob, ProviderState, ProviderUsage
from gate.providers.scripted import Act, ScriptedProvider
from gate.wire import WorkBody
from tests.gate.doubles import completed
from tests.gate.world import ALICE, DAY, HELD, WEBHOOKS, World, set_plan

TEXTS = (Part(text="once "), Part(text="upon "), Part(text="a time"))
USAGE = ProviderUsage(execution_ms=1_200, start_ms=800)
OUTPUTS = [{"generated_text": "once upon a time"}]


class Watched(ScriptedProvider):
    """Says when a job is being waited for."""

    def __init__(self, act: Act) -> None:
        super().__init__(otherwise=act)
        self.began = asyncio.Event()
        self.may_end: asyncio.Event | None = None

    async def _play(self, act: Act) -> None:
        await (self.may_end.wait() if self.may_end else super()._play(act))

    async def stream(self, order: Order, *, wait_seconds: float) -> AsyncGenerator[Part | ProviderJob, None]:
        async with aclosing(super().stream(order, wait_seconds=wait_seconds)) as steps:
            async for step in steps:
                asyncio.get_running_loop().call_later(0.01, self.began.set)
                yield step


def scripted(world: World, **act: Any) -> Watched:
    """Give the world a provider that streams, and a gate in front of it."""
    fields = {"outputs": OUTPUTS, "usage": USAGE, "parts": TEXTS, **act}
    provider = Watched(Act(**fields))
    world.gate = world.another_gate(provider=provider)
    return provider


def slow(world: World) -> Watched:
    """Give the world a provider whose jobs take longer than the wait: they end when they may."""
    provider = scripted(world)
    provider.may_end = asyncio.Event()
    world.gate = world.another_gate(provider=provider, wait_ms_max=50)
    return provider


async def let_it_end(world: World, provider: Watched) -> None:
    """Let the job end, and be told by its webhook."""
    assert provider.may_end
    provider.may_end.set()
    job = await world.the_job()
    async with asyncio.timeout(10):
        while not await world.gate.jobs.ended(job.job_id):  # noqa: ASYNC110 - its end is asked for
            await asyncio.sleep(0.01)


def stream(world: World, **fields: Any) -> AsyncGenerator[Part | Answer, None]:
    return world.gate.stream(ALICE, InferRequest(**{"inputs": "once", **fields}))


async def gather(world: World, **fields: Any) -> list[Part | Answer]:
    return [step async for step in stream(world, **fields)]


async def test_the_parts_come_in_order_and_the_answer_last(world: World) -> None:
    scripted(world)

    *parts, answer = await gather(world)

    assert tuple(parts) == TEXTS
    assert isinstance(answer, Answer)
    assert answer.outputs == OUTPUTS


async def test_it_is_counted_as_the_same_call_without_a_stream_is(world: World) -> None:
    """7 whole seconds of GPU, as `service.test_answered` adds up."""
    scripted(world)

    *_, answer = await gather(world)

    assert isinstance(answer, Answer)
    assert (answer.job.state, answer.job.settled_microdollars) == (JobState.SETTLED, 1_127)
    assert answer.quota == await world.quota()
    assert await world.counter("in_flight") == 0


async def test_the_worker_is_told_that_parts_are_wanted(world: World) -> None:
    provider = scripted(world)

    await gather(world)

    [order] = provider.orders
    assert WorkBody.decode(order.body).stream


async def test_a_stream_and_a_call_of_one_key_are_one_job(world: World) -> None:
    """A client that lost its stream may ask for the whole answer."""
    provider = scripted(world)
    await gather(world, idempotency_key="k")

    [again] = await gather(world, idempotency_key="k")
    whole = await world.infer("once", idempotency_key="k")

    assert isinstance(again, Answer)
    assert again.repeated
    assert whole.outputs == again.outputs == OUTPUTS
    assert len(provider.orders) == 1


async def test_a_provider_that_cannot_stream_gives_the_answer_alone(world: World) -> None:
    world.script(completed())

    [answer] = await gather(world)

    assert isinstance(answer, Answer)
    assert answer.outputs == [[0.5, 0.25]]


async def test_a_refusal_comes_before_anything_else(world: World) -> None:
    provider = scripted(world)
    await set_plan(world, requests_per_day=0)

    with pytest.raises(QuotaExceededError):
        await gather(world)

    assert not provider.orders


async def test_one_who_leaves_stops_the_job_and_pays_what_it_used(world: World) -> None:
    """4 s since it was handed over, though the provider does not say: all of it counts as execution."""
    provider = scripted(world, delay_seconds=1_000, usage=None)
    provider.sleep = _quick_sleep
    async with aclosing(stream(world)) as steps:
        assert await anext(steps) == TEXTS[0]
        world.clock.advance(seconds=4)

    job = await world.the_job()
    assert provider.cancelled == ["scripted-1"]
    assert (job.state, job.failure_code) == (JobState.SETTLED, "cancelled")
    assert job.spent is not None
    assert (job.spent.execution_ms, job.spent.start_ms) == (4_000, 0)
    assert 0 < (job.settled_microdollars or 0) < HELD
    assert await world.counter("in_flight") == 0


async def test_one_who_is_cancelled_while_waiting_for_a_part_is_settled_too(world: World) -> None:
    """A server cancels the task of a request whose client went away."""
    provider = scripted(world, delay_seconds=1_000, parts=())
    reading = asyncio.ensure_future(gather(world))
    async with asyncio.timeout(20):
        await provider.began.wait()
    world.clock.advance(seconds=2)

    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    job = await world.the_job()
    assert (job.state, job.failure_code) == (JobState.SETTLED, "cancelled")
    assert provider.cancelled == ["scripted-1"]
    assert await world.counter("in_flight") == 0


@pytest.mark.parametrize(
    ("error", "state", "settled"),
    [
        pytest.param(ProviderUnavailableError("busy"), JobState.RELEASED, 0, id="never-taken"),
        pytest.param(ProviderTimeoutError("silence"), JobState.SETTLED, HELD, id="no-answer"),
    ],
)
async def test_a_provider_that_does_not_deliver_is_settled_as_ever(
    world: World, error: Exception, state: JobState, settled: int
) -> None:
    scripted(world, error=error)

    with pytest.raises(type(error)):
        await gather(world)

    job = await world.the_job()
    assert (job.state, job.settled_microdollars) == (state, settled)


async def test_a_worker_that_fails_after_some_parts_is_told_after_them(world: World) -> None:
    """What came is not taken back, and the job pays what it took."""
    scripted(world, state=ProviderState.FAILED, failure_code="internal")
    steps = stream(world)

    assert tuple([await anext(steps) for _ in TEXTS]) == TEXTS
    with pytest.raises(JobFailedError):
        await anext(steps)
    assert await world.counter(*DAY, "microdollars") == 1_127


async def test_a_stream_whose_wait_is_over_ends_with_the_running_job(world: World) -> None:
    """As a call does. What came is not taken back, nothing is stopped, and its end is told by its document."""
    provider = slow(world)

    *parts, answer = await gather(world)

    assert tuple(parts) == TEXTS
    assert isinstance(answer, Answer)
    assert (answer.job.state, answer.outputs) == (JobState.RUNNING, None)
    assert provider.cancelled == []
    [order] = provider.orders
    assert order.webhook == WEBHOOKS.address(answer.job.job_id)
    assert await world.counter("in_flight") == 1


async def test_its_end_is_settled_and_kept_by_its_webhook(world: World) -> None:
    provider = slow(world)
    *_, answer = await gather(world)
    assert isinstance(answer, Answer)

    await let_it_end(world, provider)

    job = await world.the_job()
    assert (job.state, json.loads(job.result or b"")) == (JobState.SETTLED, OUTPUTS)
    assert len(world.ledger.settlements) == 1
    assert await world.counter("in_flight") == 0


async def test_one_who_asks_again_with_its_key_gets_its_end(world: World) -> None:
    provider = slow(world)
    await gather(world, idempotency_key="k")
    asking = asyncio.ensure_future(gather(world, idempotency_key="k"))
    await let_it_end(world, provider)

    [again] = await asking

    assert isinstance(again, Answer)
    assert (again.outputs, again.repeated) == (OUTPUTS, True)
    assert len(provider.orders) == 1


async def test_where_no_jobs_are_kept_a_stream_whose_wait_is_over_is_given_up(world: World) -> None:
    """Nobody waits for ever, and the provider is told so."""
    provider = scripted(world, delay_seconds=1_000)
    provider.sleep = _quick_sleep
    provider.capabilities = replace(provider.capabilities, queues=False)
    world.gate = world.another_gate(provider=provider, wait_ms_max=1)

    steps = stream(world)
    await anext(steps)
    world.clock.advance(seconds=1)
    with pytest.raises(ProviderTimeoutError):
        await anext(steps)

    assert provider.cancelled == ["scripted-1"]
    job = await world.the_job()
    assert job.settled_microdollars == job.held_microdollars


async def _quick_sleep(seconds: float) -> None:
    """Sleep for ever where the script says a thousand seconds, and not at all for its parts."""
    await asyncio.sleep(3600 if seconds >= 1_000 else 0)
