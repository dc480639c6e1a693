"""Each fault of the cloud, alone and certain: what the adapter makes of it, and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gate.errors import ProviderTimeoutError, ProviderUnavailableError
from gate.money import gpu_price
from gate.over_httpx import OverHttpx
from gate.provider import ProviderState
from gate.providers.runpod import RunPodProvider
from tests.makers import NOON
from tests.providers.hosts import SECRET, make_order
from twohop.cloud.app import API_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.faults import CloudFaults, Dice
from twohop.cloud.jobs import Policy
from twohop.cloud.virtual import LoopClock
from twohop.cloud.webhooks import Webhooks
from twohop.cloud.worker import LoopTimers

SECOND = 160
"""Micro-dollars of runpod/AMPERE_16."""
NONE = CloudFaults()
WEBHOOK = "https://hop1.example/webhook"


def work(_: Mapping[str, Any]) -> Work:
    return Work(execution_ms=2_000, outputs=[1])


@dataclass
class Rented:
    """A cloud with one certain fault, and hop 1's adapter for it."""

    cloud: Cloud
    provider: RunPodProvider = field(init=False)

    def __post_init__(self) -> None:
        self.provider = RunPodProvider(
            endpoint_id=ENDPOINT_ID,
            api_key=API_KEY,
            worker_secret=SECRET,
            clock=LoopClock(NOON),
            exchanges=OverHttpx(httpx.ASGITransport(app=make_cloud_app(self.cloud, epoch=NOON))),
        )


def rent(faults: CloudFaults = NONE, *, endpoint: Endpoint | None = None) -> Rented:
    return Rented(
        Cloud(
            timers=LoopTimers(),
            prices=[(0, gpu_price("runpod/AMPERE_16", on=NOON.date()))],
            work=work,
            endpoint=endpoint or Endpoint(pull_ms=2_000, start_ms=8_000, idle_ms=5_000),
            faults=faults,
        )
    )


async def test_a_job_that_comes_alone_pays_the_cold_start_and_the_idle_tail() -> None:
    """8 s start + 2 s + 5 s tail = 15 s; the download is free."""
    rented = rent()
    job = await rented.provider.submit(make_order(), wait_seconds=60)
    await asyncio.sleep(60)

    assert job.state is ProviderState.COMPLETED
    assert rented.cloud.spent_microdollars() == 15 * SECOND
    assert rented.cloud.count() == {
        "running": 0,
        "idle": 0,
        "initializing": 0,
        "throttled": 0,
        "unhealthy": 0,
    }


async def test_a_slow_start_is_billed_three_times() -> None:
    """24 s start + 2 s + 5 s tail, and its job says so."""
    rented = rent(CloudFaults(start_slow=1))
    job = await rented.provider.submit(make_order(), wait_seconds=60)
    await asyncio.sleep(60)

    assert job.usage is not None
    assert job.usage.start_ms == 24_000
    assert rented.cloud.spent_microdollars() == 31 * SECOND


async def test_a_throttled_request_was_not_taken_and_is_not_billed() -> None:
    """It is tried again for a while, and then the caller is asked to come back."""
    rented = rent(CloudFaults(throttled=1))

    with pytest.raises(ProviderUnavailableError) as caught:
        await rented.provider.submit(make_order(), wait_seconds=60)
    assert not caught.value.billed
    assert not rented.cloud.jobs
    assert not rented.cloud.spent_microdollars()


async def test_a_lost_answer_may_have_started_a_job_and_is_billed() -> None:
    """It has, here."""
    rented = rent(CloudFaults(answer_lost=1))

    with pytest.raises(ProviderTimeoutError) as caught:
        await rented.provider.submit(make_order(), wait_seconds=60)
    assert caught.value.billed
    [job] = rented.cloud.jobs.values()
    assert job.status == "COMPLETED"


async def test_a_job_whose_workers_crash_is_tried_again_and_pays_its_hold() -> None:
    """Three tries, three starts; what each took nobody tells."""
    rented = rent(CloudFaults(crashed=1))
    job = await rented.provider.submit(make_order(), wait_seconds=90)

    assert (job.state, job.usage) == (ProviderState.FAILED, None)
    assert len(rented.cloud.bill.lives) == 3
    assert (await rented.provider.health()).jobs_retried == 2


async def test_a_job_that_is_tried_for_ever_ends_with_its_lifetime() -> None:
    """Hop 1 gives each job one; without it the loop would be billed for a day."""
    endless = Endpoint(pull_ms=0, start_ms=1_000, retries_max=10**9)
    rented = rent(CloudFaults(crashed=1), endpoint=endless)
    job = rented.cloud.submit({}, policy=Policy(ttl_ms=120_000))
    await asyncio.sleep(110)
    tried = rented.cloud.retried
    await asyncio.sleep(60)
    spent = rented.cloud.spent_microdollars()
    await asyncio.sleep(3_600)

    assert tried > 20
    assert rented.cloud.spent_microdollars() == spent
    assert (await rented.provider.status(job.job_id)).state is ProviderState.EXPIRED


async def test_a_job_that_runs_too_long_is_stopped_at_the_timeout_of_its_order() -> None:
    """So the execution timeout that hop 1 sets is what the hold says it is."""
    rented = rent(CloudFaults(timed_out=1))
    job = await rented.provider.submit(make_order(execution_ms_max=7_000), wait_seconds=60)

    assert (job.state, job.failure_code) == (ProviderState.FAILED, "deadline-exceeded")
    assert job.usage is not None
    assert job.usage.execution_ms == 7_000


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        pytest.param(CloudFaults(usage_missing=1), [False, False, False], id="never"),
        pytest.param(CloudFaults(usage_late=1), [False, True, True], id="late"),
    ],
)
async def test_usage_may_never_come_or_come_late(faults: CloudFaults, told: list[bool]) -> None:
    """A job pays its hold where it is settled before it says what it took."""
    rented = rent(faults)
    job = rented.cloud.submit({})
    await asyncio.sleep(30)

    seen = [await rented.provider.status(job.job_id) for _ in told]

    assert [one.usage is not None and one.usage.execution_ms == 2_000 for one in seen] == told
    assert {one.state for one in seen} == {ProviderState.COMPLETED}


async def test_a_finished_job_may_be_forgotten() -> None:
    """As RunPod forgets them after half an hour."""
    rented = rent(CloudFaults(forgotten=1))
    job = rented.cloud.submit({})
    await asyncio.sleep(30)

    assert (await rented.provider.status(job.job_id)).state is ProviderState.EXPIRED


@pytest.mark.parametrize(
    ("faults", "answers", "posted_at"),
    [
        pytest.param(NONE, [True], [12], id="once"),
        pytest.param(CloudFaults(webhook_lost=1), [True], [], id="lost"),
        pytest.param(CloudFaults(webhook_doubled=1), [True, True], [12, 12], id="doubled"),
        pytest.param(NONE, [False, False, False, True], [12, 22, 32], id="not-taken"),
        pytest.param(NONE, [False, True], [12, 22], id="taken-at-last"),
    ],
)
async def test_a_webhook_comes_as_often_as_runpod_says(
    faults: CloudFaults, answers: list[bool], posted_at: list[int]
) -> None:
    """At most three times, ten seconds apart, until it is answered; or never, or twice at once."""
    rented = rent(faults)
    seen: list[tuple[int, str, str]] = []

    async def post(url: str, fields: dict[str, Any]) -> bool:
        seen.append((round(asyncio.get_running_loop().time()), url, fields["status"]))
        return answers.pop(0)

    webhooks = Webhooks(rented.cloud, post)
    rented.cloud.submit({}, webhook=WEBHOOK)
    await asyncio.sleep(120)
    await webhooks.wait()

    assert seen == [(second, WEBHOOK, "COMPLETED") for second in posted_at]


async def test_a_job_of_low_priority_starts_no_worker_and_runs_on_one_that_is_there() -> None:
    """As level 2 of the kill ladder sends them: what is billed already may be used."""
    rented = rent(endpoint=Endpoint(jobs_per_worker=2))
    job = await rented.provider.submit(make_order(low_priority=True), wait_seconds=0)
    await asyncio.sleep(60)
    assert (await rented.provider.status(job.provider_job_id)).state is ProviderState.QUEUED
    assert not rented.cloud.spent_microdollars()

    await rented.provider.submit(make_order(), wait_seconds=60)
    await asyncio.sleep(5)

    assert (await rented.provider.status(job.provider_job_id)).state is ProviderState.COMPLETED
    assert len(rented.cloud.bill.lives) == 1


async def test_one_seed_is_one_story() -> None:
    """What went wrong once can be looked at again."""

    async def story(seed: int) -> list[tuple[str, int]]:
        rented = rent(CloudFaults(crashed=0.5, timed_out=0.2))
        rented.cloud.dice = Dice(seed)
        jobs = [rented.cloud.submit({}) for _ in range(30)]
        await asyncio.sleep(3_000)
        return [(job.status, job.tries) for job in jobs]

    assert await story(7) == await story(7) != await story(8)
