"""The worker's jobs that outlive their request: asked for, stopped, told of, and kept for a while."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from gate import wire
from tests.worker.makers import FOREIGN_SECRET, NOON_MS, SECRET, Bench, make_request
from worker.http.door import Door
from worker.http.kept import KeptJobs
from worker.http.kept_routes import KeptRoutes

HOOK = "https://hop1.example/webhook?job=a&proof=b"


class Front:
    """The routes over a bench, and a webhook that can be away."""

    def __init__(self) -> None:
        self.bench, self.door = Bench(), Door(jobs_max=4)
        self.door.open()
        self.told: list[str] = []
        self.heard = asyncio.Event()
        self.away = 0
        self.trouble: Exception = OSError()
        kept = KeptJobs(self.bench.service, self.door, tell=self._tell)
        routes = KeptRoutes(
            self.bench.service, self.door, kept, bytes_max=1_000_000, seconds_max=20, heartbeat_seconds=10
        )
        app = Starlette(routes=routes.routes())
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker")

    async def run(self, inputs: Any, *, wait_ms: int = 0, webhook: str | None = None) -> httpx.Response:
        request = make_request(inputs)
        sent = {**request.to_headers(), **({wire.WEBHOOK_HEADER: webhook} if webhook else {})}
        return await self.client.post(f"/run?wait={wait_ms}", content=request.body, headers=sent)

    async def ask(self, word: str, job_id: str, **changes: Any) -> httpx.Response:
        asking = make_request(body=word.encode(), job_id=changes.pop("signed_id", job_id), **changes)
        method = "GET" if word == "status" else "POST"
        return await self.client.request(method, f"/{word}/{job_id}", headers=asking.to_headers())

    async def ended(self, job_id: str) -> dict[str, Any]:
        for _ in range(2_000):
            told: dict[str, Any] = (await self.ask("status", job_id)).json()
            if told["status"] != "IN_PROGRESS":
                return told
            await asyncio.sleep(0.005)
        raise AssertionError("it never ended")

    async def _tell(self, url: str) -> None:
        self.told.append(url)
        self.heard.set()
        if self.away:
            self.away -= 1
            raise self.trouble


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    front = Front()
    yield front
    front.bench.engine.go_on.set()


async def test_a_job_that_ends_within_the_wait_is_answered_as_ever(front: Front) -> None:
    """And nobody is told of it once more."""
    response = await front.run("a", wait_ms=20_000, webhook=HOOK)

    assert response.status_code == 200
    assert wire.WorkResult.from_json(response.json()).outputs == "a"
    assert front.told == []


async def test_one_that_takes_longer_goes_on_and_can_be_asked_for(front: Front) -> None:
    response = await front.run("wait", wait_ms=1)
    job_id = response.json()["id"]
    asked = await front.ask("status", job_id)
    front.bench.engine.go_on.set()
    told = await front.ended(job_id)

    assert (response.status_code, response.json()["status"]) == (202, "IN_PROGRESS")
    assert asked.json() == {"id": job_id, "status": "IN_PROGRESS"}
    assert told["status"] == "COMPLETED"
    assert wire.WorkResult.from_json(told["result"]).outputs == "wait"


@pytest.mark.parametrize(
    "trouble", [OSError("refused"), http.client.BadStatusLine("rubbish")], ids=["away", "rubbish"]
)
async def test_its_end_is_told_and_told_again_until_somebody_hears(
    front: Front, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """A proxy that stumbles once must not cost the caller the end."""
    front.trouble = trouble
    monkeypatch.setattr("worker.http.kept._WEBHOOK_PAUSES_SECONDS", (0, 0, 0))
    front.away = 1

    await front.run("a", webhook=HOOK)
    async with asyncio.timeout(20):
        while len(front.told) < 2:
            front.heard.clear()
            await front.heard.wait()

    assert front.told == [HOOK, HOOK]
    assert "proof" not in front.bench.stream.getvalue()


async def test_a_failure_is_a_result(front: Front) -> None:
    response = await front.run("crash")

    told = await front.ended(response.json()["id"])

    assert told["status"] == "FAILED"
    assert told["result"]["error"]["code"] == "internal"


async def test_a_cancelled_job_says_what_it_took(front: Front) -> None:
    """Its caller pays that and no more."""
    job_id = (await front.run("wait")).json()["id"]
    await asyncio.to_thread(front.bench.engine.waiting.wait, 20)
    front.bench.clock.ms += 700

    response = await front.ask("cancel", job_id)

    assert response.json() == {"id": job_id, "status": "CANCELLED", "usage": {"execution_ms": 700}}
    assert (await front.ask("status", job_id)).json() == response.json()


async def test_cancelling_what_has_ended_leaves_it_as_it_is(front: Front) -> None:
    job_id = (await front.run("a")).json()["id"]
    ended = await front.ended(job_id)

    assert (await front.ask("cancel", job_id)).json() == ended


async def test_an_unknown_job_is_404(front: Front) -> None:
    assert (await front.ask("status", "never-seen")).status_code == 404
    assert (await front.ask("cancel", "never-seen")).status_code == 404


@pytest.mark.parametrize("word", ["status", "cancel"])
async def test_nobody_else_asks_or_stops(front: Front, word: str) -> None:
    """Neither a stranger, nor with another job's signature, nor with another question's."""
    job_id = (await front.run("wait")).json()["id"]
    other = "cancel" if word == "status" else "status"
    wrong = wire.sign(
        secret=SECRET.encode(), job_id=job_id, body=other.encode(), issued_ms=NOON_MS, expires_ms=NOON_MS + 60_000
    )
    method = "GET" if word == "status" else "POST"

    responses = [
        await front.ask(word, job_id, secret=FOREIGN_SECRET),
        await front.ask(word, job_id, signed_id="another"),
        await front.client.request(method, f"/{word}/{job_id}"),
        await front.client.request(method, f"/{word}/{job_id}", headers=wrong.to_headers()),
    ]

    assert [response.status_code for response in responses] == [401] * 4
    assert (await front.ask("status", job_id)).json()["status"] == "IN_PROGRESS"


async def test_a_result_is_kept_for_half_an_hour(front: Front) -> None:
    job_id = (await front.run("a")).json()["id"]
    await front.ended(job_id)
    front.bench.clock.ms += 29 * 60_000
    before = await front.ask("status", job_id, now_ms=front.bench.clock.now_ms())
    front.bench.clock.ms += 2 * 60_000

    after = await front.ask("status", job_id, now_ms=front.bench.clock.now_ms())

    assert (before.status_code, after.status_code) == (200, 404)


async def test_the_oldest_results_go_when_there_is_too_much(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is asked for nothing must not run out of memory."""
    monkeypatch.setattr("worker.http.kept._KEPT_BYTES_MAX", 1_100)
    first = (await front.run("x" * 500)).json()["id"]
    await front.ended(first)
    second = (await front.run("x" * 500)).json()["id"]
    await front.ended(second)

    statuses = [(await front.ask("status", job_id)).status_code for job_id in (first, second)]

    assert statuses == [404, 200]


async def test_kept_jobs_are_inside_the_door_until_they_end(front: Front) -> None:
    """A worker that stops finishes them first, and takes no more than it may."""
    ids = [(await front.run("wait")).json()["id"] for _ in range(4)]

    full = await front.run("a")
    inside = front.door.inside
    front.bench.engine.go_on.set()
    for job_id in ids:
        await front.ended(job_id)

    assert (full.status_code, inside) == (503, 4)
    assert await front.door.emptied(seconds_max=5)
