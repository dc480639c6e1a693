"""From handing a job over to knowing how it ended: bounded in time, and sure of nothing it was not told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from gate.errors import (
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from gate.provider import Order, ProviderJob, ProviderState
from gate.steps.dispatch import Dispatcher
from tests.gate.doubles import Script, Step, StrideSleep, WatchedLog, completed, failed, running
from tests.makers import NOON, FakeClock, make_order


@dataclass
class Scene:
    """A dispatcher, and all that can be seen of it."""

    provider: Script
    clock: FakeClock = field(default_factory=FakeClock)
    log: WatchedLog = field(default_factory=WatchedLog)

    def __post_init__(self) -> None:
        self.sleep = StrideSleep(self.clock)
        self._dispatcher = Dispatcher(provider=self.provider, clock=self.clock, log=self.log, sleep=self.sleep)

    async def run(self, order: Order | None = None) -> ProviderJob:
        return await self._dispatcher.run(order or make_order())


def scene(*steps: Step, **options: Any) -> Scene:
    return Scene(Script(*steps, **options))


async def test_a_job_that_ends_within_the_call_is_returned_at_once() -> None:
    """The common case: one request, no polling."""
    stage = scene(completed())

    assert await stage.run() == completed()
    assert (stage.provider.asked, stage.sleep.slept) == ([], [])


@pytest.mark.parametrize("end", [completed(), failed(), running(state=ProviderState.EXPIRED)], ids=lambda j: j.state)
async def test_a_job_that_takes_longer_is_asked_for_until_it_ends(end: ProviderJob) -> None:
    """Whichever way it ends."""
    stage = scene(running(state=ProviderState.QUEUED), running(), running(), end)

    assert await stage.run() == end
    assert stage.provider.asked == ["remote-1"] * 3


async def test_asking_grows_slower_up_to_a_bound() -> None:
    """Quick jobs are seen quickly, and long ones cost few requests."""
    stage = scene(*[running()] * 12, completed())

    await stage.run()

    slept = stage.sleep.slept
    assert slept[0] == 0.25
    assert slept == sorted(slept)
    assert slept[-1] == 2.0


@pytest.mark.parametrize(
    ("wait", "wait_seconds_max", "waits"),
    [
        pytest.param(timedelta(seconds=60), 90.0, 60.0, id="the-orders-own-time"),
        pytest.param(timedelta(seconds=120), 90.0, 90.0, id="the-providers-longest"),
    ],
)
async def test_a_provider_is_asked_to_wait_no_longer_than_anybody_waits(
    wait: timedelta, wait_seconds_max: float, waits: float
) -> None:
    """Nor longer than it can."""
    stage = scene(completed(), wait_seconds_max=wait_seconds_max)

    await stage.run(make_order(wait=wait))

    assert stage.provider.waits == [waits]


async def test_an_order_that_nobody_waits_for_any_more_is_never_handed_over() -> None:
    """Holding took too long; the job did not run, so it is free."""
    stage = scene(completed())

    with pytest.raises(ProviderUnavailableError) as refusal:
        await stage.run(make_order(expires_at=NOON))

    assert stage.provider.orders == []
    assert not refusal.value.billed


async def test_a_job_that_outlives_its_order_is_stopped_and_counts_as_run() -> None:
    """Nobody waits for it, and nobody knows what it did."""
    stage = scene(running())

    with pytest.raises(ProviderTimeoutError, match="last seen running") as refusal:
        await stage.run(make_order(wait=timedelta(seconds=10)))

    assert stage.provider.cancelled == ["remote-1"]
    assert stage.clock.now() == NOON + timedelta(seconds=10)
    assert refusal.value.billed


@pytest.mark.parametrize("end", [completed(), failed()], ids=["completed", "failed"])
async def test_a_job_that_ended_while_it_was_being_stopped_is_believed(end: ProviderJob) -> None:
    """The answer came in the last moment, and it is paid by what it took."""
    stage = scene(running(), end)

    assert await give_up_at_once(stage) == end
    assert stage.provider.cancelled == ["remote-1"]


@pytest.mark.parametrize("state", [ProviderState.CANCELLED, ProviderState.EXPIRED, ProviderState.QUEUED])
async def test_a_job_that_was_stopped_counts_as_run(state: ProviderState) -> None:
    """It may have run for a while before."""
    stage = scene(running(), running(state=state))

    with pytest.raises(ProviderTimeoutError, match=state.value):
        await give_up_at_once(stage)


async def give_up_at_once(stage: Scene) -> ProviderJob:
    """Run an order whose time is up by the first look at the clock after it was handed over."""
    submit = stage.provider.submit

    async def slow_submit(order: Order, *, wait_seconds: float) -> ProviderJob:
        stage.clock.advance(seconds=wait_seconds)
        return await submit(order, wait_seconds=wait_seconds)

    stage.provider.submit = slow_submit  # type: ignore[method-assign]  # this test's provider takes its time
    return await stage.run()


async def test_a_failing_question_changes_nothing_about_the_job() -> None:
    """It runs on, so it is asked for again; and the operator can see it."""
    stage = scene(running(), ProviderUnavailableError("blip"), ProviderError("blip"), completed())

    assert (await stage.run()).state is ProviderState.COMPLETED
    assert [line["reason"] for line in stage.log.lines("provider.status_failed")] == ["blip", "blip"]


async def test_a_provider_that_goes_away_for_good_is_waited_for_only_so_long() -> None:
    """The loop ends with the order, not with the provider."""
    stage = scene(running(), ProviderUnavailableError("gone"), cancel=ProviderUnavailableError("gone"))

    with pytest.raises(ProviderTimeoutError):
        await stage.run(make_order(wait=timedelta(seconds=30)))

    assert stage.clock.now() == NOON + timedelta(seconds=30)
    assert len(stage.log.lines("provider.cancel_failed")) == 1


@pytest.mark.parametrize(
    "error", [ProviderUnavailableError("full"), ProviderRejectedError("no"), ProviderTimeoutError("silent")], ids=type
)
async def test_an_error_at_handing_over_is_told_as_it_is(error: ProviderError) -> None:
    """Handing over again might run the job twice."""
    stage = scene(error)

    with pytest.raises(type(error)):
        await stage.run()

    assert len(stage.provider.orders) == 1
