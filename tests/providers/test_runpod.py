"""What goes over the wire to RunPod, and what each of its answers means."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gate import wire
from gate.errors import (
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    SettingsError,
)
from gate.provider import ProviderState, ProviderUsage
from gate.providers.runpod import RunPodProvider
from tests.makers import NOON, FakeClock
from tests.providers.hosts import API_KEY, ENDPOINT, SECRET, RunPodDouble, Sleeper, make_order

NOON_MS = int(NOON.timestamp() * 1000)


@pytest.fixture
def host() -> RunPodDouble:
    return RunPodDouble()


@pytest.fixture
def provider(host: RunPodDouble, clock: FakeClock, sleeper: Sleeper) -> RunPodProvider:
    return make_provider(host, clock, sleep=sleeper)


def make_provider(host: RunPodDouble, clock: FakeClock, **options: Any) -> RunPodProvider:
    given = {"endpoint_id": ENDPOINT, "api_key": API_KEY, "worker_secret": SECRET, "exchanges": host.exchanges}
    return RunPodProvider(clock=clock, **{**given, **options})


def answer(status: str, **fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"id": "job-1", "status": status, **fields})


@pytest.mark.parametrize(
    ("wait_seconds", "path"),
    [
        (0.0, "/run"),
        (0.999, "/run"),
        (1.0, "/runsync?wait=1000"),
        (2.5, "/runsync?wait=2500"),
        (300.0, "/runsync?wait=120000"),
    ],
)
async def test_a_wait_of_a_second_or_more_is_waited_at_runpod(
    provider: RunPodProvider, host: RunPodDouble, wait_seconds: float, path: str
) -> None:
    """And never beyond the order's expiry."""
    await provider.submit(make_order(), wait_seconds=wait_seconds)

    assert str(host.requests[0].url) == f"https://api.runpod.ai/v2/{ENDPOINT}{path}"


async def test_the_longest_wait_is_five_minutes(provider: RunPodProvider, host: RunPodDouble) -> None:
    order = make_order(expires_at=NOON + timedelta(hours=1))
    await provider.submit(order, wait_seconds=1000)

    assert host.requests[0].url.query == b"wait=300000"


async def test_the_request_is_signed_and_bounded(provider: RunPodProvider, host: RunPodDouble) -> None:
    """RunPod stops what runs too long and drops what waits too long, so the hold is a ceiling."""
    order = make_order(execution_ms_max=30_000, expires_at=NOON + timedelta(seconds=60))
    await provider.submit(order, wait_seconds=5)

    sent = json.loads(host.requests[0].content)
    signed = wire.SignedRequest.from_envelope(sent["input"])
    assert (signed.job_id, signed.body) == (order.job_id, order.body)
    assert (signed.issued_ms, signed.expires_ms) == (NOON_MS, NOON_MS + 60_000)
    wire.verify(signed, secrets=[SECRET], now_ms=NOON_MS)
    assert sent["policy"] == {"executionTimeout": 30_000, "ttl": 240_000}
    assert set(sent) == {"input", "policy"}


async def test_a_job_that_may_start_no_worker_says_so(provider: RunPodProvider, host: RunPodDouble) -> None:
    """From kill level 2 on; RunPod scales for no job of low priority."""
    await provider.submit(make_order(low_priority=True), wait_seconds=0)

    policy = json.loads(host.requests[0].content)["policy"]
    assert policy == {"executionTimeout": 30_000, "ttl": 300_000, "lowPriority": True}


async def test_the_policy_keeps_to_runpods_least_values(provider: RunPodProvider, host: RunPodDouble) -> None:
    order = make_order(execution_ms_max=100, expires_at=NOON + timedelta(seconds=2))
    await provider.submit(order, wait_seconds=0)

    assert json.loads(host.requests[0].content)["policy"] == {"executionTimeout": 5_000, "ttl": 182_000}


async def test_nothing_runs_longer_than_anybody_waits(provider: RunPodProvider, host: RunPodDouble) -> None:
    order = make_order(execution_ms_max=600_000, expires_at=NOON + timedelta(seconds=20))
    await provider.submit(order, wait_seconds=0)

    assert json.loads(host.requests[0].content)["policy"]["executionTimeout"] == 20_000


async def test_the_key_travels_in_its_header_alone(provider: RunPodProvider, host: RunPodDouble) -> None:
    await provider.submit(make_order(), wait_seconds=5)
    await provider.health()

    for request in host.requests:
        assert request.headers["authorization"] == f"Bearer {API_KEY}"
        assert API_KEY not in str(request.url)
        assert API_KEY.encode() not in request.content


async def test_every_request_states_its_timeouts(provider: RunPodProvider, host: RunPodDouble) -> None:
    await provider.submit(make_order(), wait_seconds=60)
    await provider.status("unknown")

    assert host.requests[0].extensions["timeout"] == {"connect": 5.0, "pool": 5.0, "write": 30.0, "read": 75.0}
    assert host.requests[1].extensions["timeout"]["read"] == 15.0


@pytest.mark.parametrize(
    ("wait_seconds", "megabytes", "fits"), [(0, 9, True), (0, 11, False), (5, 19, True), (5, 21, False)]
)
async def test_a_request_that_is_too_large_is_not_sent(
    provider: RunPodProvider, host: RunPodDouble, wait_seconds: float, megabytes: int, fits: bool
) -> None:
    order = make_order(body=wire.WorkBody(model="m", inputs="x" * megabytes * 1_000_000, parameters={}).encode())
    if fits:
        assert (await provider.submit(order, wait_seconds=wait_seconds)).state is ProviderState.COMPLETED
        return

    with pytest.raises(ProviderRejectedError):
        await provider.submit(order, wait_seconds=wait_seconds)
    assert host.requests == []


async def test_text_is_sent_as_it_is(provider: RunPodProvider, host: RunPodDouble) -> None:
    """Escaping would make it up to six times as long, and RunPod counts bytes."""
    order = make_order(body=wire.WorkBody(model="m", inputs="žluťoučký kůň 🐎", parameters={}).encode())
    await provider.submit(order, wait_seconds=0)

    assert "🐎".encode() in host.requests[0].content
    assert json.loads(host.requests[0].content)["input"]["body"].encode() == order.body


STATES = {
    "IN_QUEUE": (ProviderState.QUEUED, None),
    "IN_PROGRESS": (ProviderState.RUNNING, None),
    "RUNNING": (ProviderState.RUNNING, None),
    "A_STATE_OF_TOMORROW": (ProviderState.RUNNING, None),
    "COMPLETED": (ProviderState.COMPLETED, 150),
    "FAILED": (ProviderState.FAILED, 150),
    "TIMED_OUT": (ProviderState.FAILED, 150),
    "CANCELLED": (ProviderState.CANCELLED, 150),
}


@pytest.mark.parametrize("status", STATES)
async def test_each_state_has_its_meaning(provider: RunPodProvider, host: RunPodDouble, status: str) -> None:
    host.script(answer(status, executionTime=150, output="x", error="Traceback"))

    for job in (await provider.submit(make_order(), wait_seconds=5), await provider.status("job-1")):
        state, execution_ms = STATES[status]
        assert (job.provider_job_id, job.state) == ("job-1", state)
        assert (job.usage and job.usage.execution_ms) == execution_ms


async def test_a_job_that_runs_says_whether_it_was_tried_before_and_since_when_it_runs(
    provider: RunPodProvider, host: RunPodDouble
) -> None:
    """What it needs to be stopped in time; what RunPod does not say is not known."""
    host.script(answer("IN_PROGRESS", retries=2, delayTime=824), answer("IN_QUEUE", retries=1), answer("IN_PROGRESS"))

    seen = [await provider.status("job-1") for _ in range(3)]

    assert [(job.tried_again, job.delay_ms) for job in seen] == [(True, 824), (True, None), (False, None)]


async def test_a_job_that_ran_too_long_says_so(provider: RunPodProvider, host: RunPodDouble) -> None:
    host.script(answer("TIMED_OUT"))

    job = await provider.status("job-1")

    assert (job.failure_code, job.usage) == ("deadline-exceeded", None)
    assert job.failure_message == "The model took longer than it may."


@pytest.mark.parametrize(
    ("stated", "execution_ms"),
    [(150, 150), (150.2, 151), (0, 0), (None, None), ("150", None), (-1, None), (True, None), ([], None)],
)
async def test_an_execution_time_that_is_none_leaves_the_job_at_its_hold(
    provider: RunPodProvider, host: RunPodDouble, stated: Any, execution_ms: int | None
) -> None:
    host.script(answer("COMPLETED", executionTime=stated, output=1))

    job = await provider.status("job-1")

    assert (job.usage and job.usage.execution_ms) == execution_ms


OUTPUTS = {
    "another's-object": ({"text": "hi"}, {"text": "hi"}),
    "another's-list": ([1, 2], [1, 2]),
    "another's-result": ({"result": "hi"}, "hi"),
    "another's-result-object": ({"result": {"score": 1}}, {"score": 1}),
    "another's-outputs": ({"outputs": 1}, {"outputs": 1}),
    "more-than-a-result": ({"result": 1, "n": 2}, {"result": 1, "n": 2}),
    "nothing": (None, None),
}


@pytest.mark.parametrize(("output", "outputs"), OUTPUTS.values(), ids=OUTPUTS)
async def test_another_ones_handler_may_answer_anything(
    provider: RunPodProvider, host: RunPodDouble, output: Any, outputs: Any
) -> None:
    host.script(answer("COMPLETED", output=output, executionTime=9))

    job = await provider.submit(make_order(), wait_seconds=5)

    assert (job.state, job.outputs, job.usage) == (ProviderState.COMPLETED, outputs, ProviderUsage(execution_ms=9))


async def test_runpods_time_is_settled_and_not_the_workers(provider: RunPodProvider, host: RunPodDouble) -> None:
    """RunPod bills by its own clock. The start is known to the worker alone."""
    result = wire.WorkResult(outputs=1, usage=wire.WorkUsage(execution_ms=3, start_ms=700))
    host.script(answer("COMPLETED", output={"result": result.to_json()}, executionTime=40))

    assert (await provider.status("job-1")).usage == ProviderUsage(execution_ms=40, start_ms=700)


NOT_A_JOB = {
    "html": httpx.Response(200, text="<html>"),
    "empty": httpx.Response(200),
    "list": httpx.Response(200, json=[]),
    "no-id": httpx.Response(200, json={"status": "COMPLETED"}),
    "id-number": httpx.Response(200, json={"id": 7, "status": "COMPLETED"}),
    "nested": httpx.Response(200, text="[" * 100_000),
}


@pytest.mark.parametrize("reply", NOT_A_JOB.values(), ids=NOT_A_JOB)
async def test_an_answer_that_is_no_job_may_have_started_one(
    provider: RunPodProvider, host: RunPodDouble, reply: httpx.Response
) -> None:
    host.script(reply)

    with pytest.raises(ProviderTimeoutError):
        await provider.submit(make_order(), wait_seconds=5)


REFUSALS: dict[int, tuple[type[ProviderError], str]] = {
    301: (ProviderRejectedError, "301"),
    400: (ProviderRejectedError, "400"),
    401: (ProviderRejectedError, "RUNPOD_API_KEY"),
    402: (ProviderRejectedError, "balance"),
    403: (ProviderRejectedError, "RUNPOD_API_KEY"),
    404: (ProviderRejectedError, "RUNPOD_ENDPOINT_ID"),
    413: (ProviderRejectedError, "larger"),
    429: (ProviderUnavailableError, "429"),
    500: (ProviderTimeoutError, "500"),
    502: (ProviderTimeoutError, "502"),
    503: (ProviderTimeoutError, "503"),
    504: (ProviderTimeoutError, "504"),
}


@pytest.mark.parametrize("status", REFUSALS)
async def test_each_refusal_says_whether_it_is_billed_and_what_to_check(
    provider: RunPodProvider, host: RunPodDouble, status: int
) -> None:
    host.script(httpx.Response(status, text=f"{API_KEY} https://{ENDPOINT}"))
    expected, word = REFUSALS[status]

    with pytest.raises(expected, match=word) as caught:
        await provider.submit(make_order(), wait_seconds=5)
    assert API_KEY not in str(caught.value)
    assert ENDPOINT not in str(caught.value)


async def test_a_busy_host_is_asked_again(provider: RunPodProvider, host: RunPodDouble, sleeper: Sleeper) -> None:
    """Nothing was taken, so nothing can run twice."""
    host.script(httpx.Response(429), httpx.Response(429), answer("IN_QUEUE"))

    job = await provider.submit(make_order(), wait_seconds=5)

    assert job.state is ProviderState.QUEUED
    assert len(host.requests) == 3
    assert 0.125 <= sleeper.pauses[0] <= 0.25 <= sleeper.pauses[1] <= 0.5


async def test_a_host_that_stays_busy_is_left_alone(provider: RunPodProvider, host: RunPodDouble) -> None:
    host.script(httpx.Response(429))

    with pytest.raises(ProviderUnavailableError) as caught:
        await provider.submit(make_order(), wait_seconds=5)
    assert len(host.requests) == 4
    assert caught.value.details == {"retry_after_seconds": 5.0}


async def test_retry_after_is_kept_to(provider: RunPodProvider, host: RunPodDouble, sleeper: Sleeper) -> None:
    host.script(httpx.Response(429, headers={"retry-after": "3"}), answer("IN_QUEUE"))
    await provider.submit(make_order(), wait_seconds=5)

    assert sleeper.pauses == [3.0]


async def test_a_long_retry_after_is_the_callers_to_wait(
    provider: RunPodProvider, host: RunPodDouble, sleeper: Sleeper
) -> None:
    """Holding a call open for a minute helps nobody."""
    host.script(httpx.Response(429, headers={"retry-after": "60"}))

    with pytest.raises(ProviderUnavailableError) as caught:
        await provider.submit(make_order(), wait_seconds=5)
    assert (sleeper.pauses, len(host.requests)) == ([], 1)
    assert caught.value.details == {"retry_after_seconds": 60.0}


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_what_may_have_been_taken_is_not_sent_again(
    provider: RunPodProvider, host: RunPodDouble, status: int
) -> None:
    host.script(httpx.Response(status), answer("IN_QUEUE"))

    with pytest.raises(ProviderTimeoutError):
        await provider.submit(make_order(), wait_seconds=5)
    assert len(host.requests) == 1


async def test_a_cancelled_job_is_cancelled(clock: FakeClock) -> None:
    host = RunPodDouble(polls=10)
    provider = make_provider(host, clock)
    job = await provider.submit(make_order(), wait_seconds=0)
    await provider.cancel(job.provider_job_id)

    assert (await provider.status(job.provider_job_id)).state is ProviderState.CANCELLED


@pytest.mark.parametrize("status", [400, 404, 409])
async def test_a_job_that_has_ended_cannot_be_cancelled_and_that_is_fine(
    provider: RunPodProvider, host: RunPodDouble, status: int
) -> None:
    host.script(httpx.Response(status))

    await provider.cancel("job-1")


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_what_cannot_be_asked_is_an_error(provider: RunPodProvider, host: RunPodDouble, status: int) -> None:
    """It says nothing about the job, so it must not look as if the job had ended."""
    host.script(httpx.Response(status))

    with pytest.raises(ProviderError):
        await provider.cancel("job-1")
    with pytest.raises(ProviderError):
        await provider.status("job-1")
    with pytest.raises(ProviderError):
        await provider.health()


async def test_an_answer_that_is_too_large_is_a_failed_job(provider: RunPodProvider, host: RunPodDouble) -> None:
    """It ran. Reading on would fill the memory of all other calls."""
    host.script(httpx.Response(200, content=b"x" * 20_000_001))

    submitted = await provider.submit(make_order(), wait_seconds=5)
    asked = await provider.status("job-1")

    assert {submitted.state, asked.state} == {ProviderState.FAILED}
    assert submitted.usage is None
    assert asked.failure_message == "The model's answer is too large to be delivered."


async def test_health_counts_workers_and_jobs(provider: RunPodProvider) -> None:
    health = await provider.health()

    assert (health.ready, health.workers_running, health.jobs_queued) == (True, 3, 3)


WRONG_SETTINGS = {
    "endpoint-url": {"endpoint_id": "https://api.runpod.ai/v2/abc"},
    "endpoint-path": {"endpoint_id": "abc/../def"},
    "no-endpoint": {"endpoint_id": ""},
    "no-key": {"api_key": ""},
    "key-line-break": {"api_key": API_KEY + "\n"},
    "key-not-ascii": {"api_key": "kľúč"},
    "short-secret": {"worker_secret": b"short"},
    "plain-http": {"base_url": "http://api.runpod.ai/v2"},
}


@pytest.mark.parametrize("options", WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_a_wrong_setting_is_named_and_not_repeated(
    host: RunPodDouble, clock: FakeClock, options: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError) as caught:
        make_provider(host, clock, **options)

    value = next(iter(options.values()))
    assert not value or str(value) not in str(caught.value)
    assert API_KEY not in str(caught.value)
