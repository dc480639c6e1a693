"""Each promised status of the HTTP front."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gate import wire
from tests.worker.makers import FOREIGN_SECRET, NOON_MS, Bench, make_request
from worker.http.app import make_app
from worker.http.door import Door


class Front:
    """The app over a bench, and a client that speaks to it without a socket."""

    def __init__(self, *, is_open: bool = True, body_seconds_max: float = 20, **limits: Any) -> None:
        self.bench = Bench(**limits)
        self.door = Door(jobs_max=self.bench.settings.limits.jobs_max)
        if is_open:
            self.door.open()
        app = make_app(
            self.bench.service,
            self.door,
            body_bytes_max=self.bench.settings.limits.body_bytes_max,
            body_seconds_max=body_seconds_max,
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker")

    async def send(self, request: wire.SignedRequest, **changes: Any) -> httpx.Response:
        return await self.client.post("/infer", content=request.body, headers={**request.to_headers(), **changes})


def code_of(response: httpx.Response) -> str:
    failure = wire.WorkResult.from_json(response.json()).failure
    assert failure is not None
    return failure.code


async def test_200_is_outputs_and_usage() -> None:
    response = await Front().send(make_request(["a", "b"]))

    assert response.status_code == 200
    assert response.json() == {
        "outputs": ["a", "b"],
        "usage": {
            "execution_ms": 1,
            "start_ms": 1_234,
            "gap_ms": 0,
            "share_ms": 0,
            "life_ms": 1_234,
            "tokens": 7,
            "queue_ms": 0,
            "batch_items": 1,
            "memory_peak_mib": response.json()["usage"]["memory_peak_mib"],
            "phases_ms": {"boot": 1_234, "find": 0, "import": 0, "load": 0, "warm-up": 0},
        },
    }


@pytest.mark.parametrize(
    ("request_", "headers"),
    [
        pytest.param(make_request(secret=FOREIGN_SECRET), {}, id="another secret"),
        pytest.param(make_request(now_ms=NOON_MS - 10**6), {}, id="stale"),
        pytest.param(make_request(), {wire.JOB_HEADER: "other"}, id="tampered"),
        pytest.param(make_request(), {wire.EXPIRES_HEADER: "soon"}, id="unreadable"),
        pytest.param(make_request(), {wire.ISSUED_HEADER: "9" * 5_000}, id="a huge number"),
    ],
)
async def test_401_is_the_same_for_every_reason(request_: wire.SignedRequest, headers: dict[str, str]) -> None:
    """The log knows why; whoever is guessing does not."""
    front = Front()
    response = await front.send(request_, **headers)
    unsigned = await front.client.post("/infer", content=request_.body)

    assert (response.status_code, code_of(response)) == (401, "unauthenticated")
    assert unsigned.status_code == 401
    assert response.content == unsigned.content
    assert front.bench.engine.ran == []


async def test_408_is_a_body_that_does_not_come() -> None:
    """A few senders that never end would else hold all the places there are."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    front = Front(body_seconds_max=0.05, jobs_max=1)
    response = await front.client.post("/infer", content=chunks())

    assert (response.status_code, code_of(response)) == (408, "deadline-exceeded")
    assert (await front.send(make_request())).status_code == 200


async def test_409_is_a_request_that_came_before() -> None:
    front, request = Front(), make_request()
    first, second = await front.send(request), await front.send(request)

    assert (first.status_code, second.status_code) == (200, 409)
    assert code_of(second) == "already-exists"
    assert len(front.bench.engine.ran) == 1


async def test_413_is_told_by_the_length_alone() -> None:
    response = await Front(body_bytes_max=100).send(make_request("a" * 200))

    assert (response.status_code, code_of(response)) == (413, "invalid-argument")


async def test_413_ends_the_reading_of_a_body_that_does_not_say_its_length() -> None:
    """Else a stranger could fill the memory before any signature is looked at."""
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1_000):
            read += 1
            yield b"a" * 50

    response = await Front(body_bytes_max=100).client.post("/infer", content=chunks())

    assert response.status_code == 413
    assert read < 10


async def test_422_is_an_input_at_fault_with_its_usage() -> None:
    response = await Front().send(make_request(model="another"))

    assert (response.status_code, code_of(response)) == (422, "invalid-argument")
    assert response.json()["usage"]["execution_ms"] == 1


async def test_500_is_a_worker_that_failed_and_says_nothing_more() -> None:
    response = await Front().send(make_request("crash"))

    assert (response.status_code, code_of(response)) == (500, "internal")
    assert "path" not in response.text


@pytest.mark.parametrize("state", ["starting", "stopping"])
async def test_503_while_starting_and_stopping_leaves_the_request_unused(state: str) -> None:
    """The same signed request may be sent again, to this worker or another one."""
    front, request = Front(is_open=False), make_request()
    if state == "stopping":
        front.door.shut()
    response = await front.send(request)

    assert (response.status_code, code_of(response)) == (503, "unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert state in response.json()["error"]["message"]
    front.door.open()
    assert (await front.send(request)).status_code == 200


async def test_503_when_the_worker_has_as_many_jobs_as_it_takes() -> None:
    front = Front(jobs_max=1)
    running = asyncio.create_task(front.send(make_request("wait")))
    await asyncio.to_thread(front.bench.engine.waiting.wait, 20)
    refused = await front.send(make_request())
    front.bench.engine.go_on.set()

    assert refused.status_code == 503
    assert (await running).status_code == 200
    assert (await front.send(make_request())).status_code == 200


async def test_health_is_answered_while_a_job_computes() -> None:
    """A host that gets no answer kills the container, and the job with it."""
    front = Front()
    running = asyncio.create_task(front.send(make_request("wait")))
    await asyncio.to_thread(front.bench.engine.waiting.wait, 20)
    health = await asyncio.wait_for(front.client.get("/healthz"), 5)
    front.bench.engine.go_on.set()

    assert health.status_code == 200
    assert (await running).status_code == 200


async def test_readiness_follows_the_door_and_health_does_not() -> None:
    front = Front(is_open=False)
    ready, alive = await front.client.get("/readyz"), await front.client.get("/healthz")
    front.door.open()

    assert (ready.status_code, alive.status_code) == (503, 200)
    assert (await front.client.get("/readyz")).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/"])
async def test_nothing_else_is_published(path: str) -> None:
    assert (await Front().client.get(path)).status_code == 404


async def test_the_door_is_empty_once_its_jobs_are_answered() -> None:
    front = Front()
    running = asyncio.create_task(front.send(make_request("wait")))
    await asyncio.to_thread(front.bench.engine.waiting.wait, 20)
    front.door.shut()
    emptied_early = await front.door.emptied(seconds_max=0.01)
    front.bench.engine.go_on.set()

    assert not emptied_early
    assert (await running).status_code == 200
    assert await front.door.emptied(seconds_max=20)
