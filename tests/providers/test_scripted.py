"""The scripted provider plays what it is told, so that the gate's tests can rely on it."""

from __future__ import annotations

import pytest

from gate.errors import ProviderUnavailableError
from gate.provider import ProviderState
from gate.providers.scripted import Act, ScriptedProvider
from tests.providers.hosts import make_order


async def test_acts_are_played_in_order_and_then_the_default() -> None:
    provider = ScriptedProvider([Act(outputs="first"), Act(outputs="second")], otherwise=Act(outputs="rest"))

    played = [(await provider.submit(make_order(), wait_seconds=1)).outputs for _ in range(4)]

    assert played == ["first", "second", "rest", "rest"]
    assert len(provider.orders) == 4


async def test_a_script_may_depend_on_the_order() -> None:
    provider = ScriptedProvider(otherwise=lambda order: Act(outputs=order.job_id))
    order = make_order()

    assert (await provider.submit(order, wait_seconds=1)).outputs == order.job_id


async def test_a_job_that_outlasts_the_wait_goes_on() -> None:
    provider = ScriptedProvider([Act(outputs="late", delay_seconds=0.05)])
    job = await provider.submit(make_order(), wait_seconds=0.01)
    assert (job.state, (await provider.health()).workers_running) == (ProviderState.RUNNING, 1)

    while not job.state.final:
        job = await provider.status(job.provider_job_id)
        await provider.sleep(0.01)

    assert (job.state, job.outputs) == (ProviderState.COMPLETED, "late")


async def test_a_running_job_can_be_cancelled() -> None:
    provider = ScriptedProvider([Act(delay_seconds=60)])
    job = await provider.submit(make_order(), wait_seconds=0)
    await provider.cancel(job.provider_job_id)

    assert (await provider.status(job.provider_job_id)).state is ProviderState.CANCELLED
    assert provider.cancelled == [job.provider_job_id]


async def test_an_error_is_raised_after_its_delay() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    provider = ScriptedProvider([Act(error=ProviderUnavailableError("busy"), delay_seconds=7)], sleep=sleep)

    with pytest.raises(ProviderUnavailableError):
        await provider.submit(make_order(), wait_seconds=1)
    assert slept == [7]
