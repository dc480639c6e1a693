"""The HTTP front's streams, and what it tells of itself: `/ping` and `/metrics`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gate import wire
from tests.worker.makers import MODEL, NOON_MS, SECRET, Bench, make_request
from worker.engine import Item, Work
from worker.http.app import make_app
from worker.http.door import Door
from worker.jobs.parts import Made, Parts


class SlowEngine:
    """Computes an item a batch, and the last one only when it may."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def import_libraries(self) -> None:
        pass

    def load(self) -> None:
        pass

    def warm_up(self) -> None:
        pass

    def prepare(self, body: wire.WorkBody) -> Work:
        items = [Item(length=10, payload=element) for element in body.inputs]
        return Work(items=items, finish=list)

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        if items[-1].payload == "last":
            assert self.may_end.wait(20)
        return [item.payload for item in items]


class Front:
    def __init__(self, *, metrics: bool = True, heartbeat_seconds: float = 10) -> None:
        self.engine, self.bench, self.door = SlowEngine(), Bench(loaded=False, batch_tokens_max=10), Door(jobs_max=8)
        self.bench.service.load(lambda: self.engine, began_ms=0).result(20)
        app = make_app(
            self.bench.service,
            self.door,
            body_bytes_max=1_000_000,
            heartbeat_seconds=heartbeat_seconds,
            metrics=metrics,
        )
        self.app = app
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker")

    async def send(self, request: wire.SignedRequest, path: str = "/infer") -> httpx.Response:
        return await self.client.post(path, content=request.body, headers=request.to_headers())

    async def status(self, job_id: str) -> dict[str, Any]:
        asking = make_request(body=b"status", job_id=job_id)
        response = await self.client.get(f"/status/{job_id}", headers=asking.to_headers())
        return response.json()  # type: ignore[no-any-return]


def streamed(inputs: Any) -> wire.SignedRequest:
    body = wire.WorkBody(model=MODEL, inputs=inputs, parameters={}, stream=True).encode()
    return wire.sign(
        secret=SECRET.encode(), job_id="a-stream", body=body, issued_ms=NOON_MS, expires_ms=NOON_MS + 60_000
    )


def events(text: str) -> list[tuple[str, Any]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("event: ")]
    parsed = [block.removeprefix("event: ").split("\ndata: ") for block in blocks]
    return [(name, json.loads(data)) for name, data in parsed]


async def test_a_stream_tells_how_far_the_job_is_and_ends_with_its_whole_result() -> None:
    front = Front(heartbeat_seconds=0.05)
    front.door.open()
    answering = asyncio.create_task(front.send(streamed(["a", "b", "last"])))
    await asyncio.sleep(0.3)  # long enough for a heartbeat
    front.engine.may_end.set()
    response = await answering
    told = events(response.text)

    assert response.headers["content-type"] == "text/event-stream"
    assert ": still at work" in response.text
    assert ("progress", {"done": 2, "total": 3}) in told
    assert told[-1][0] == "result"
    assert told[-1][1]["outputs"] == ["a", "b", "last"]


async def test_a_stream_whose_wait_is_over_ends_with_the_job_that_goes_on() -> None:
    """Its end can be asked for, and says all that the job has made."""
    front = Front()
    front.door.open()

    response = await front.send(streamed(["a", "b", "last"]), "/run?wait=300")
    front.engine.may_end.set()
    async with asyncio.timeout(20):
        while (told := await front.status("a-stream"))["status"] == "IN_PROGRESS":  # noqa: ASYNC110 - its end is asked for
            await asyncio.sleep(0.01)

    assert response.headers["content-type"] == "text/event-stream"
    *parts, last = events(response.text)
    assert ("progress", {"done": 2, "total": 3}) in parts
    assert last == ("kept", {"id": "a-stream", "status": "IN_PROGRESS"})
    assert (told["status"], told["result"]["outputs"]) == ("COMPLETED", ["a", "b", "last"])


async def test_a_stream_that_may_go_on_and_ends_in_time_is_as_any_other() -> None:
    front = Front()
    front.door.open()
    front.engine.may_end.set()

    response = await front.send(streamed(["a", "b", "last"]), "/run?wait=20000")

    assert events(response.text)[-1][0] == "result"


async def test_a_stream_that_makes_no_part_is_answered_with_its_own_status() -> None:
    front = Front()
    front.door.open()

    assert (await front.send(streamed(7))).status_code == 500
    alone = await front.send(streamed(["a"]))
    assert alone.headers["content-type"] == "application/json"
    assert alone.json()["outputs"] == ["a"]


async def test_whoever_does_not_ask_for_a_stream_gets_none() -> None:
    front = Front()
    front.door.open()
    response = await front.send(make_request(["a", "b", "c"]))

    assert response.headers["content-type"] == "application/json"


async def test_a_client_that_leaves_its_stream_leaves_the_door() -> None:
    front = Front()
    front.door.open()
    request, sent, gone = streamed(["a", "b", "last"]), asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not sent.is_set():
            sent.set()
            return {"type": "http.request", "body": request.body}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if b"progress" in message.get("body", b""):
            gone.set()

    headers = [(name.encode(), value.encode()) for name, value in request.to_headers().items()]
    headers.append((b"content-length", str(len(request.body)).encode()))
    scope = {"type": "http", "method": "POST", "path": "/infer", "raw_path": b"/infer", "query_string": b""}
    await asyncio.wait_for(front.app({**scope, "headers": headers}, receive, send), 20)
    front.engine.may_end.set()

    assert front.door.inside == 0


@pytest.mark.parametrize(("inputs", "status"), [(["a", "last"], 200), (["last"], 503)], ids=["streaming", "not yet"])
async def test_a_job_that_outlasts_the_stop_is_told_that_another_try_may_do(inputs: Any, status: int) -> None:
    """Else it would read as the worker's own failure, which nobody tries again."""
    front = Front()
    front.door.open()
    answering = asyncio.create_task(front.send(streamed(inputs)))
    await asyncio.sleep(0.3)  # long enough for the first part
    front.door.shut()
    front.door.give_up()
    response = await answering
    told = events(response.text)[-1][1] if status == 200 else response.json()
    front.engine.may_end.set()

    assert response.status_code == status
    assert told["error"]["code"] == "unavailable"
    assert "another try" in told["error"]["message"]
    assert front.door.inside == 0


async def test_parts_that_nobody_reads_become_one() -> None:
    parts = Parts()
    for text in ("one", " two", " žluťoučký"):
        await asyncio.to_thread(parts.part, text)
    await asyncio.to_thread(parts.progress, 1, 3)
    await asyncio.to_thread(parts.progress, 2, 3)
    await parts.came()

    assert parts.take() == Made(text="one two žluťoučký", progress=(2, 3))
    assert parts.take() == Made()


async def test_ping_says_204_while_starting_200_when_ready_and_503_when_stopping() -> None:
    front = Front()
    told = [await front.client.get("/ping")]
    for change in (front.door.open, front.door.shut):
        change()
        told.append(await front.client.get("/ping"))

    assert [response.status_code for response in told] == [204, 200, 503]


async def test_metrics_count_what_happened_and_are_what_prometheus_reads() -> None:
    front = Front()
    front.door.open()
    front.engine.may_end.set()
    for request in (make_request(["a", "b"]), make_request(["c"]), make_request(7), make_request(secret="x" * 40)):
        await front.send(request)
    text = (await front.client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    samples = {
        (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
    }

    assert samples["twohop_worker_jobs_total", "ok"] == 2
    assert samples["twohop_worker_jobs_total", "internal"] == 1
    assert samples["twohop_worker_jobs_total", "unauthenticated"] == 1
    assert samples["twohop_worker_tokens_total",] == 30
    assert samples["twohop_worker_batch_tokens_count",] == 3
    assert samples["twohop_worker_batch_items_bucket", "1.0"] == 3
    assert samples["twohop_worker_compute_seconds_count",] == 2, "one that failed took no answer's time"
    assert samples["twohop_worker_memory_peak_bytes",] > 1_000_000
    assert ("twohop_worker_start_seconds", "load") in samples


async def test_metrics_can_be_switched_off() -> None:
    assert (await Front(metrics=False).client.get("/metrics")).status_code == 404


@pytest.mark.parametrize("path", ["/ping", "/metrics"])
async def test_nothing_of_a_job_is_told_to_strangers(path: str) -> None:
    front = Front()
    front.door.open()
    front.engine.may_end.set()
    await front.send(make_request(["a secret text"], job_id="a-secret-job"))

    assert "secret" not in (await front.client.get(path)).text
