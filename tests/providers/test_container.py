"""What goes over the wire to a container, and what each of its answers means."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from types import SimpleNamespace
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
from gate.providers.container import ContainerProvider
from tests.makers import NOON, FakeClock
from tests.providers.hosts import SECRET, URL, Sleeper, WorkerDouble, make_order

NOON_MS = int(NOON.timestamp() * 1000)
USAGE = {"execution_ms": 40, "start_ms": 2, "tokens": 7}


@pytest.fixture
def host() -> WorkerDouble:
    return WorkerDouble()


@pytest.fixture
def provider(host: WorkerDouble, clock: FakeClock, sleeper: Sleeper) -> ContainerProvider:
    return make_provider(host, clock, sleep=sleeper)


def make_provider(host: WorkerDouble, clock: FakeClock, **options: Any) -> ContainerProvider:
    given = {"url": URL, "worker_secret": SECRET, "exchanges": host.exchanges}
    return ContainerProvider(clock=clock, **{**given, **options})


def error(code: str, message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}, **fields}


async def test_the_request_is_the_body_with_its_signature(provider: ContainerProvider, host: WorkerDouble) -> None:
    order = make_order()
    await provider.submit(order, wait_seconds=0)

    request = host.requests[0]
    assert (request.method, str(request.url), request.content) == ("POST", URL, order.body)
    assert request.headers["content-type"] == "application/json"
    signed = wire.SignedRequest.from_headers(dict(request.headers), request.content)
    assert (signed.job_id, signed.issued_ms) == (order.job_id, NOON_MS)
    wire.verify(signed, secrets=[SECRET], now_ms=NOON_MS)
    assert SECRET.decode() not in repr(request.headers.raw)


async def test_an_app_of_ones_own_gets_a_plain_key(clock: FakeClock) -> None:
    host = WorkerDouble(bearer=True)
    order = make_order()
    await make_provider(host, clock, auth="bearer", worker_secret=b"short-key").close()
    await make_provider(host, clock, auth="bearer").submit(order, wait_seconds=0)

    headers = host.requests[0].headers
    assert headers["authorization"] == f"Bearer {SECRET.decode()}"
    assert headers[wire.JOB_HEADER] == order.job_id
    assert wire.SIGNATURE_HEADER not in headers


@pytest.mark.parametrize(
    ("execution_ms_max", "expires_seconds", "read_seconds"),
    [(30_000, 120, 95.0), (30_000, 20, 20.0), (5_000, 300, 70.0)],
)
async def test_the_answer_is_waited_for_as_long_as_a_start_and_a_job_may_take(
    provider: ContainerProvider, host: WorkerDouble, execution_ms_max: int, expires_seconds: int, read_seconds: float
) -> None:
    """And never beyond the order's expiry."""
    order = make_order(execution_ms_max=execution_ms_max, expires_at=NOON + timedelta(seconds=expires_seconds))
    await provider.submit(order, wait_seconds=0)

    assert host.requests[0].extensions["timeout"]["read"] == read_seconds


OUTPUTS: dict[str, tuple[Any, Any]] = {
    "twohops": ({"outputs": [1], "usage": USAGE}, [1]),
    "twohops-without-usage": ({"outputs": [1]}, [1]),
    "object": ({"label": "x"}, {"label": "x"}),
    "list": ([0.5], [0.5]),
    "text": ("hi", "hi"),
    "null": (None, None),
    "error-text": ({"error": "none"}, {"error": "none"}),
}


@pytest.mark.parametrize(("answer", "outputs"), OUTPUTS.values(), ids=OUTPUTS)
async def test_any_json_is_an_answer(
    provider: ContainerProvider, host: WorkerDouble, answer: Any, outputs: Any
) -> None:
    host.script(httpx.Response(200, content=json.dumps(answer)))

    job = await provider.submit(make_order(), wait_seconds=0)

    assert (job.state, job.outputs) == (ProviderState.COMPLETED, outputs)
    assert job.usage is not None


async def test_the_workers_own_usage_is_settled(provider: ContainerProvider, host: WorkerDouble) -> None:
    host.script(httpx.Response(200, json={"outputs": 1, "usage": USAGE}))

    job = await provider.submit(make_order(), wait_seconds=0)

    assert job.usage == ProviderUsage(execution_ms=40, start_ms=2, tokens=USAGE["tokens"])


async def test_without_one_the_time_it_took_is(
    provider: ContainerProvider, host: WorkerDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a ceiling. What is longer than any execution may be was the container's start."""
    ticks = itertools.chain([100.0], itertools.repeat(135.5))
    monkeypatch.setattr("gate.providers._http.time", SimpleNamespace(monotonic=lambda: next(ticks)))
    host.script(httpx.Response(200, json="hi"))

    job = await provider.submit(make_order(execution_ms_max=30_000), wait_seconds=0)

    assert job.usage == ProviderUsage(execution_ms=30_000, start_ms=5_500)


FAILURES: dict[str, tuple[httpx.Response, str, str | None]] = {
    "worker-422": (httpx.Response(422, json=error("invalid-argument", "too long")), "invalid-argument", "too long"),
    "fastapi-422": (
        httpx.Response(422, json={"detail": [{"loc": "x"}]}),
        "invalid-argument",
        "The model does not take this input.",
    ),
    "own-400": (httpx.Response(400, text="bad"), "invalid-argument", "The model does not take this input."),
    "worker-500": (httpx.Response(500, json=error("internal", "the model failed")), "internal", "the model failed"),
    "own-500": (httpx.Response(500, text="Internal Server Error"), "internal", None),
    "worker-504": (httpx.Response(504, json=error("deadline-exceeded", "too slow")), "deadline-exceeded", "too slow"),
    "worker-200": (httpx.Response(200, json=error("internal", "odd")), "internal", "odd"),
    "no-json": (httpx.Response(200, text="<html>"), "internal", "The model's answer cannot be read."),
    "no-content": (httpx.Response(204), "internal", "The model's answer cannot be read."),
    "too-large": (
        httpx.Response(200, content=b"x" * 20_000_001),
        "internal",
        "The model's answer is too large to be delivered.",
    ),
}


@pytest.mark.parametrize(("reply", "code", "message"), FAILURES.values(), ids=FAILURES)
async def test_a_failure_is_a_failed_job_with_what_it_took(
    provider: ContainerProvider, host: WorkerDouble, reply: httpx.Response, code: str, message: str | None
) -> None:
    host.script(reply)

    job = await provider.submit(make_order(), wait_seconds=0)

    assert (job.state, job.failure_code, job.failure_message) == (ProviderState.FAILED, code, message)
    assert job.usage is not None


@pytest.mark.parametrize(("usage", "execution_ms"), [(USAGE, 40), (None, 0)])
async def test_refused_input_costs_what_the_worker_says_or_nothing(
    provider: ContainerProvider, host: WorkerDouble, usage: Any, execution_ms: int
) -> None:
    """It was not run."""
    host.script(httpx.Response(422, json=error("invalid-argument", "no", usage=usage)))

    job = await provider.submit(make_order(), wait_seconds=0)

    assert job.usage is not None
    assert job.usage.execution_ms == execution_ms


UNAVAILABLE = {"error": {"code": "unavailable", "message": "starting"}, "usage": None}
BUSY = httpx.Response(503, json=UNAVAILABLE)

REFUSALS: dict[int, tuple[type[ProviderError], int]] = {
    302: (ProviderRejectedError, 1),
    401: (ProviderRejectedError, 1),
    403: (ProviderRejectedError, 1),
    404: (ProviderRejectedError, 1),
    405: (ProviderRejectedError, 1),
    409: (ProviderUnavailableError, 1),
    413: (ProviderRejectedError, 1),
    418: (ProviderRejectedError, 1),
    429: (ProviderUnavailableError, 4),
    502: (ProviderTimeoutError, 1),
    504: (ProviderTimeoutError, 1),
}


@pytest.mark.parametrize("status", REFUSALS)
async def test_each_refusal_says_whether_it_is_billed(
    provider: ContainerProvider, host: WorkerDouble, status: int
) -> None:
    """And only what was surely not taken is sent again."""
    host.script(httpx.Response(status, text=f"{URL} {SECRET.decode()}"))
    expected, tries = REFUSALS[status]

    with pytest.raises(expected, match=f"container: HTTP {status}") as caught:
        await provider.submit(make_order(), wait_seconds=0)
    assert len(host.requests) == tries
    assert "host.example" not in str(caught.value)


async def test_a_503_in_anothers_words_may_have_cost_something(
    provider: ContainerProvider, host: WorkerDouble
) -> None:
    """A proxy says it too when the container dies in the middle of a job: not sent again, and not free."""
    host.script(httpx.Response(503, text="upstream connect error: connection termination"))

    job = await provider.submit(make_order(), wait_seconds=0)

    assert (job.state, job.failure_code) == (ProviderState.FAILED, "unavailable")
    assert job.usage is not None
    assert len(host.requests) == 1


async def test_each_try_is_signed_anew(host: WorkerDouble, clock: FakeClock) -> None:
    """A worker may have remembered the first signature before it found itself busy."""
    host.script(BUSY, BUSY, httpx.Response(200, json={"outputs": 1}))
    await make_provider(host, clock, sleep=Sleeper(clock)).submit(make_order(), wait_seconds=0)

    signatures = {request.headers[wire.SIGNATURE_HEADER] for request in host.requests}
    assert len(signatures) == 3


async def test_the_hint_when_to_come_back_is_handed_on(provider: ContainerProvider, host: WorkerDouble) -> None:
    host.script(httpx.Response(503, headers={"retry-after": "20"}, json=UNAVAILABLE))

    with pytest.raises(ProviderUnavailableError) as caught:
        await provider.submit(make_order(), wait_seconds=0)
    assert caught.value.details == {"retry_after_seconds": 20.0}


async def test_a_request_that_is_too_large_is_not_sent(provider: ContainerProvider, host: WorkerDouble) -> None:
    with pytest.raises(ProviderRejectedError):
        await provider.submit(make_order(body=b"x" * 10_000_001), wait_seconds=0)
    assert host.requests == []


@pytest.mark.parametrize(
    ("status", "ready"), [(200, True), (204, True), (404, True), (405, True), (503, False), (500, False)]
)
async def test_readiness_is_asked_for_at_the_workers_own_door(
    provider: ContainerProvider, host: WorkerDouble, status: int, ready: bool
) -> None:
    """An app of one's own need not know that door."""
    host.script(httpx.Response(status))

    health = await provider.health()

    assert (health.ready, health.workers_running) == (ready, int(ready))
    assert (host.requests[0].method, host.requests[0].url.raw_path) == ("GET", b"/readyz")


WRONG_ADDRESSES = [
    "",
    "model.host.example/infer",
    "http://model.host.example/infer",
    "http://10.0.0.7/infer",
    "http://127.0.0.1.evil.example/infer",
    "http://localhost.evil.example/infer",
    "ftp://model.host.example",
    "https://",
    "https:///infer",
    "https://user:password@model.host.example/infer",
    "https://[::1/infer",
    "https://model.host.example:port/infer",
]


@pytest.mark.parametrize("url", WRONG_ADDRESSES)
def test_an_address_that_would_give_a_job_away_is_refused(host: WorkerDouble, clock: FakeClock, url: str) -> None:
    """A signed request and its text are not for every network on the way."""
    with pytest.raises(SettingsError, match="CONTAINER_URL") as caught:
        make_provider(host, clock, url=url)
    assert "example" not in str(caught.value)


@pytest.mark.parametrize(
    "url", [URL, "http://127.0.0.1:8000/infer", "http://localhost:8000/", "http://[::1]:8000/x?y=z"]
)
def test_https_and_this_machine_are_fine(host: WorkerDouble, clock: FakeClock, url: str) -> None:
    make_provider(host, clock, url=url)


@pytest.mark.parametrize(
    "options", [{"auth": "none"}, {"worker_secret": b"short"}, {"auth": "bearer", "worker_secret": b""}], ids=repr
)
def test_an_order_never_goes_out_without_proof(host: WorkerDouble, clock: FakeClock, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        make_provider(host, clock, **options)
