"""A job that takes longer than its request's wait: it goes on, the client is told its id, and nothing runs twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import pytest

from gate.domain.job import JobState
from gate.endpoints.api import app
from tests.api.test_statuses import BODIES, HOLDING, shape_of
from tests.api.test_streams import CHAT, events_of
from tests.api.world import MODEL, ApiWorld, answer_like_the_worker, api_world, listening
from tests.gate.world import DAY

KEY = {"idempotency-key": "k"}
_Result = TypeVar("_Result")


class Slow:
    """A world whose jobs take longer than their requests' wait: they end when they may."""

    def __init__(self, world: ApiWorld) -> None:
        self.world = world
        self.may_end = asyncio.Event()
        world.scripted.sleep = self._sleep
        world.scripted.otherwise = lambda order: replace(answer_like_the_worker(order), parts=())

    async def in_vain(self, asking: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """Begin a request, and let its wait pass."""
        task = asyncio.create_task(asking)
        await self._until(lambda: self.world.scripted.orders)
        self.world.clock.advance(seconds=1)
        await self._until(lambda: self.world.ledger.hand_overs)
        return task

    async def let_it_end(self) -> None:
        """Let the job end, and be told by its webhook."""
        self.may_end.set()
        job = await self.world.the_job()
        async with asyncio.timeout(10):
            while not await self.world.gate.jobs.ended(job.job_id):  # noqa: ASYNC110 - its end is asked for
                await asyncio.sleep(0.01)

    async def _sleep(self, _: float) -> None:
        await self.may_end.wait()

    async def _until(self, has_come: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not has_come():  # noqa: ASYNC110 - neither sets an event
                await asyncio.sleep(0.01)


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[Slow]:
    async with api_world(tmp_path, wait_ms_max=50) as world:
        yield Slow(world)


@pytest.mark.parametrize("path", HOLDING)
async def test_504_names_the_job_that_goes_on(slow: Slow, path: str) -> None:
    """A client that has no key and asks again by itself would begin a second job, so it is told not to."""
    answer = await (await slow.in_vain(slow.world.http.post(path, json=BODIES[path])))

    job = await slow.world.the_job()
    assert (answer.status_code, answer.headers["x-job-id"]) == (504, job.job_id)
    assert answer.headers["x-should-retry"] == "false"
    assert job.job_id in shape_of(answer)[0]
    assert (job.state, slow.world.scripted.cancelled) == (JobState.RUNNING, [])


@pytest.mark.parametrize("path", HOLDING)
async def test_who_asks_again_with_the_key_is_answered_by_the_same_job(slow: Slow, path: str) -> None:
    def ask() -> Coroutine[Any, Any, httpx.Response]:
        return slow.world.http.post(path, json=BODIES[path], headers=KEY)

    late = await (await slow.in_vain(ask()))
    await slow.let_it_end()
    answer = await ask()

    assert (late.status_code, "x-should-retry" in late.headers) == (504, False)
    assert answer.status_code == 200
    assert len(slow.world.scripted.orders) == 1
    assert await slow.world.counter(*DAY, "microdollars") == (await slow.world.the_job()).settled_microdollars


async def test_who_has_no_key_asks_for_the_job(slow: Slow) -> None:
    """By the callable, which takes API tokens as well."""
    path = "/v1/embeddings"
    late = await (await slow.in_vain(slow.world.http.post(path, json=BODIES[path])))
    await slow.let_it_end()

    told = await slow.world.http.post("/job", json={"data": {"job_id": late.headers["x-job-id"]}})

    assert told.json()["result"]["outputs"][0] == [0.6, 0.8, 0.0]


async def test_a_stream_ends_with_an_error_that_names_the_job(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without [DONE], which would make it look whole."""
    monkeypatch.setattr(app, "_FIRST_EVENT_SECONDS", 0.01)

    answer = await (await slow.in_vain(slow.world.http.post("/v1/chat/completions", json=CHAT)))

    job = await slow.world.the_job()
    assert answer.status_code == 200
    [event] = events_of(answer.text)
    assert event["error"]["code"] == "timeout"
    assert job.job_id in event["error"]["message"]
    assert job.state is JobState.RUNNING


async def test_the_official_client_waits_on_by_itself_and_pays_once(slow: Slow) -> None:
    """Its own retries join the job that runs."""
    async with official(slow.world) as client:
        asking = await slow.in_vain(client.embeddings.create(model=MODEL, input="one", extra_headers=KEY))
        await slow.let_it_end()
        made = await asking

    assert made.data[0].embedding == pytest.approx([0.6, 0.8, 0.0])
    assert len(slow.world.scripted.orders) == 1
    assert await slow.world.counter(*DAY, "microdollars") == (await slow.world.the_job()).settled_microdollars


async def test_the_official_client_without_a_key_begins_no_second_job(slow: Slow) -> None:
    async with official(slow.world) as client:
        asking = await slow.in_vain(client.embeddings.create(model=MODEL, input="one"))
        with pytest.raises(openai.InternalServerError) as caught:
            await asking

    assert caught.value.status_code == 504
    assert caught.value.response.headers["x-job-id"] == (await slow.world.the_job()).job_id
    assert len(slow.world.scripted.orders) == 1


@asynccontextmanager
async def official(world: ApiWorld) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        listening(world) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=await world.token(), max_retries=2) as client,
    ):
        yield client
